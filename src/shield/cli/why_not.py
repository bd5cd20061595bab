"""`shield why-not`: why a rule did not match an event, clause by clause."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from shield.agent.rulebook import Rulebook
from shield.agent.ruletest import watched
from shield.cli.errors import quiet_end
from shield.cli.explain import only
from shield.cli.loading import load_policy, load_rules
from shield.cli.recorded import RecordedFiles
from shield.cli.trees import one_rule, tree
from shield.event import Event
from shield.exporter.jsonl import default_path
from shield.exporter.wording import printed, some, what, when
from shield.policy.load import PolicyInForce
from shield.scorer.score import points, points_from
from shield.scorer.sigma.correlation import Correlations
from shield.scorer.sigma.correlation.chain import chain
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.explain import Explanation, explain, nearness
from shield.scorer.sigma.rule import Rule

_NEAREST = 3


def why_not(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id, name or title, or the rule's file.")],
    about: Annotated[
        str,
        typer.Argument(metavar="EVENT_ID|FILE", help="An event's id or its beginning, or a file of recorded events."),
    ],
    file: Annotated[
        Path | None, typer.Option("--events", "--file", help="The events file; the files rotated away from it too.")
    ] = None,
    rules: Annotated[
        list[str] | None, typer.Option(help="Sigma rules: a file, a folder, or the word `shipped`; repeatable.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file; the built-in policy without.")] = None,
) -> None:
    """Show why a rule did not match an event: its condition, clause by clause, and what the event has there.

    Of a file, the events that came nearest are shown.
    """
    in_force = load_policy(policy)
    is_file = rule.endswith((".yml", ".yaml")) and Path(rule).is_file()
    book = load_rules((*([rule] if is_file else []), *(rules or ())), in_force)
    found = _in_file(book, rule) if is_file else one_rule(book, rule)
    recorded = RecordedFiles([about]) if _is_path(about) else None
    events = recorded if recorded is not None else [only(file or default_path(), about).event]
    with quiet_end():
        for note in _standing(found, book, in_force):
            print(printed(note))
        if isinstance(found, Correlation):
            _tell_correlation(found, book, events)
        elif recorded is None:
            _tell(found, next(iter(events)))
        else:
            _tell_of_many(found, events)
    if recorded is not None and recorded.damaged:
        raise typer.Exit(2)


def _is_path(about: str) -> bool:
    """Return whether a file is meant: an event's id has neither a slash nor a dot."""
    return Path(about).exists() or any(character in about for character in "/\\.")


def _in_file(book: Rulebook, path: str) -> Rule | Correlation:
    """Return the rule of a file; of several the first correlation, or else the first."""
    own = [rule for rule in (*book.correlations, *book.rules) if rule.source == path]
    return own[0] if own else one_rule(book, path)


def _standing(rule: Rule | Correlation, book: Rulebook, policy: PolicyInForce) -> Iterable[str]:
    """Yield why a rule would say nothing even where it matches."""
    yield f"{rule.name}: {rule.title}" if rule.name != rule.title else rule.title
    if points((rule,), policy.policy)[rule.id] == 0:
        yield f"  it gives no signal: its points are 0 ({points_from(rule, policy.policy)})"
    if rule.id in Correlations(book.correlations, book.rules).silent:
        targets = chain(book.correlations, book.rules).targets
        names = [one.name for one in book.correlations if rule.id in targets.get(one.id, ()) and not one.generate]
        yield f"  it gives no signal of its own: {', '.join(names)} refers to it without `generate: true`"


def _tell(rule: Rule, event: Event) -> None:
    explained = explain(rule, event)
    print(printed(f"event {event.event_id}  {when(event.ts_ns)}  {what(event)}"))
    if explained.elsewhere:
        print(printed(f"not looked at: {explained.elsewhere}"))
        return
    for line in tree(explained):
        print(f"  {line}")
    print(printed("it matches" if explained.matches else f"it does not match: {explained.reason}"))


def _tell_of_many(rule: Rule, events: Iterable[Event]) -> None:
    """Tell how many events match, and of those that don't show the nearest."""
    seen = elsewhere = matches = 0
    nearest: list[tuple[float, int, Event]] = []
    other: Explanation | None = None
    for event in events:
        seen += 1
        explained = explain(rule, event, nearly=False)
        if explained.tree is None:
            elsewhere += 1
            other = other or explained
        elif explained.matches:
            matches += 1
        else:
            nearest.append((-nearness(explained.tree), seen, event))
            nearest = sorted(nearest, key=lambda entry: entry[:2])[:_NEAREST]
    for _, _, event in nearest:
        _tell(rule, event)
        print()
    failed = seen - elsewhere - matches
    print(f"{some(seen, 'event')}: {matches:,} matched, {failed:,} did not, {elsewhere:,} of another log source")
    if other is not None:
        print(printed(f"for example: {other.elsewhere}"))


def _tell_correlation(rule: Correlation, book: Rulebook, events: Iterable[Event]) -> None:
    fired, why = watched(book, [rule], events)
    print(printed(why))
    print(f"it fired {fired:,} time{'s' * (fired != 1)}" if fired else "it did not fire")
