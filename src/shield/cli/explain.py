"""`shield explain`: why an event got its verdict."""

from pathlib import Path
from typing import Annotated

import typer
from msgspec import structs

from shield.agent import configuration, rulebook
from shield.agent.configuration import Configuration
from shield.agent.rulebook import NoRules
from shield.agent.rulecache import RuleCache, default_folder
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.events import Damages, print_json, reading
from shield.cli.loading import DEFAULT_CONFIGURATION, load_policy
from shield.event import Event
from shield.exporter.explanation import Worth
from shield.exporter.explanation import explain as story
from shield.exporter.history import Entry, find
from shield.exporter.jsonl import default_path
from shield.exporter.wording import when
from shield.policy import load as policies
from shield.policy.document import DocumentError
from shield.policy.load import PolicyInForce
from shield.scorer.score import points_from

_CANDIDATES = 10


def explain(
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event's id, or the beginning of it.")],
    file: Annotated[Path | None, typer.Option(help="The events file; the files rotated away from it too.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file, instead of the configured one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the event as it was written.")] = False,
) -> None:
    """Tell the whole story of one event: every reason, its points, and what it was found in."""
    path = file or default_path()
    entry = only(path, event_id)
    with quiet_end():
        if as_json:
            print_json(entry)
        else:
            OutputConsole().print(story(entry.event, _worth(entry.event, policy)), soft_wrap=True, highlight=False)


def _worth(event: Event, path: Path | None) -> Worth | None:
    """Return what the policy at hand says of the points of an event, None where there is no policy at hand.

    The rules are looked at only where it is the policy that decided.
    """
    configured = _configured()
    in_force = load_policy(path) if path else None if configured is None else _policy_of(configured)
    if in_force is None:
        return None
    worth = Worth(in_force.label, in_force.policy.thresholds.watch, in_force.policy.thresholds.alert)
    wanted = {signal.rule_id for signal in (*event.signals, *event.story)}
    if event.policy_version != in_force.label or not wanted:
        return worth
    try:
        places = configured.rules if configured else ()
        book = rulebook.load(places, in_force.policy.placeholders, RuleCache(default_folder()))
    except NoRules:
        return worth
    known = [rule for rule in (*book.rules, *book.correlations) if rule.id in wanted]
    return structs.replace(worth, from_where={rule.id: points_from(rule, in_force.policy) for rule in known})


def _configured() -> Configuration | None:
    """Return the agent's configuration, None where it can't be read: an explanation can do without."""
    if not DEFAULT_CONFIGURATION.exists():
        return Configuration()
    try:
        return configuration.load(DEFAULT_CONFIGURATION.read_bytes(), str(DEFAULT_CONFIGURATION))
    except (OSError, DocumentError):
        return None


def _policy_of(configured: Configuration) -> PolicyInForce | None:
    if configured.policy is None:
        return policies.built_in()
    try:
        return policies.load(Path(configured.policy).read_bytes(), configured.policy)
    except (OSError, DocumentError):
        return None


def only(path: Path, event_id: str) -> Entry:
    """Return the one event whose id begins with `event_id`; where there is none, or several, the command ends."""
    damages = Damages()
    found: dict[str, Entry] = {}
    with reading(path):
        try:
            for entry in find(path, event_id, damages):
                found.setdefault(entry.event.event_id, entry)
        except ValueError as error:
            fail(f"{event_id}: {error}")
    damages.tell()
    if not found:
        fail(f"no event in {path} has an id that begins with {event_id}; `shield events` lists them", 1)
    if len(found) > 1:
        fail(f"{len(found)} events have an id that begins with {event_id}; give more of it", 1, _listed(found))
    return next(iter(found.values()))


def _listed(found: dict[str, Entry]) -> list[str]:
    events = [entry.event for entry in found.values()]
    lines = [f"{each.event_id}  {when(each.ts_ns)}  {each.action}  {each.rationale}" for each in events[:_CANDIDATES]]
    return [*lines, f"and {len(events) - _CANDIDATES} more"] if len(events) > _CANDIDATES else lines
