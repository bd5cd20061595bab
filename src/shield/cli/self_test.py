"""`shield doctor --self-test`: what happens on this host really arrives, and these rules can fire on it."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import typer
from msgspec.structs import replace
from rich.console import Console

from shield.agent.assembly import assemble, host_sources, self_test
from shield.agent.configuration import Configuration
from shield.agent.coverage import live
from shield.agent.detection import Detection
from shield.agent.feeds import Feeds
from shield.agent.identity import identify
from shield.agent.rulebook import Rulebook
from shield.agent.selftest import Outcome
from shield.agent.sources import HostSources
from shield.cli.errors import fail
from shield.cli.labelled import BAD, line, outcome
from shield.cli.loading import load_configuration, load_policy, load_rules
from shield.collector.source import SourceUnavailable
from shield.exporter.jsonl import JsonlWriter
from shield.exporter.wording import as_json, printed, some
from shield.policy.load import PolicyInForce
from shield.scorer.sigma.coverage import Idle, idle

_MOST_S, _EVERY_H = 30.0, 1.0


def tested(to_json: bool) -> None:
    """Run the self-test through a whole agent that keeps nothing, and say what came of it.

    Exits with code 1 if something did not arrive, 3 if there is nothing to test.
    """
    try:
        place = tempfile.TemporaryDirectory(prefix="shield-")
    except OSError as error:
        fail(f"the self-test needs a folder for its files: {error.strerror}; name one in TMPDIR", 3)
    with place as folder:
        _tested(to_json, Path(folder))


def _tested(to_json: bool, folder: Path) -> None:
    settings = replace(load_configuration(None), state=str(folder), self_test_hours=_EVERY_H)
    policy = load_policy(Path(settings.policy) if settings.policy else None)
    book = load_rules(settings.rules, policy)
    try:
        sources = host_sources(settings)
    except ValueError as error:
        fail(str(error))
    feeds = sources.feeds(policy.policy.story.window_ns)
    try:
        feeds.open()
    except SourceUnavailable as refusal:
        fail(f"no source of events can be used: {refusal.reason}; {refusal.remedy}", 3)
    try:
        kinds, refused = feeds.provided, tuple(str(refusal) for refusal in feeds.refused)
        outcomes = _outcomes(settings, policy, book, sources, feeds, folder)
    finally:
        feeds.close()
    unseeing = idle(book.ruleset, live(identify().os, kinds))
    if to_json:
        print(as_json({"outcomes": outcomes, "refused": refused, "rules": len(book.ruleset), "idle": unseeing}))
    else:
        _show(outcomes, refused, sources, book, unseeing)
    if any(one.failed for one in outcomes):
        raise typer.Exit(1)


def _outcomes(
    settings: Configuration, policy: PolicyInForce, book: Rulebook, sources: HostSources, feeds: Feeds, folder: Path
) -> tuple[Outcome, ...]:
    test = self_test(settings, feeds)
    if test is None:
        return ()
    writer = JsonlWriter(folder / "events.jsonl", fsync="never")
    detection = Detection(identify(), policy, book, feeds)
    watch = assemble(settings, detection, sources, feeds, writer, test=test)
    watch.remember(sources.snapshot())
    watch.run(lambda: test.finished_ns > 0, _MOST_S)
    return test.outcomes


def _show(
    outcomes: tuple[Outcome, ...],
    refused: tuple[str, ...],
    sources: HostSources,
    book: Rulebook,
    unseeing: tuple[Idle, ...],
) -> None:
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    for one in outcomes:
        outcome(console, one)
    for kind in sorted(sources.kinds - {one.kind for one in outcomes}):
        line(console, kind, "not watched", BAD)
    for refusal in refused:
        line(console, "can't use", refusal, BAD)
    total = len(book.ruleset)
    print(f"\n{total - len(unseeing):,} of {some(total, 'rule')} can fire on this host", end="")
    print("; the others:" if unseeing else "")
    for kind, count in Counter(one.kind for one in unseeing).most_common():
        print(printed(f"{count:>7,}  {kind}"))
