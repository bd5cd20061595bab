"""`shield explain`: why an event got its verdict."""

from pathlib import Path
from typing import Annotated

import typer
from msgspec import structs

from shield.agent import rulebook
from shield.agent.rulebook import NoRules
from shield.agent.rulecache import RuleCache, default_folder
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.events import Damages, print_json, reading
from shield.cli.loading import load_configuration, load_policy
from shield.event import Event
from shield.exporter.explanation import Worth
from shield.exporter.explanation import explain as story
from shield.exporter.history import Entry, find
from shield.exporter.jsonl import default_path
from shield.exporter.wording import when
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


def _worth(event: Event, path: Path | None) -> Worth:
    """Return what the policy at hand says of the points of an event; the rules are looked at only if it decided."""
    configured = load_configuration(None)
    in_force = load_policy(path or (Path(configured.policy) if configured.policy else None))
    thresholds = in_force.policy.thresholds
    worth = Worth(in_force.label, thresholds.watch, thresholds.alert)
    if event.policy_version != in_force.label or not (event.signals or event.story):
        return worth
    try:
        book = rulebook.load(configured.rules, in_force.policy.placeholders, RuleCache(default_folder()))
    except NoRules:
        return worth
    wanted = {signal.rule_id for signal in (*event.signals, *event.story)}
    known = [rule for rule in (*book.rules, *book.correlations) if rule.id in wanted]
    return structs.replace(worth, from_where={rule.id: points_from(rule, in_force.policy) for rule in known})


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
