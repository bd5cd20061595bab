"""`shield run`: watch this host until told to stop."""

import gc
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, TextIO, cast

import typer
from rich.console import Console

from shield import __version__
from shield.agent import sources
from shield.agent.configuration import Configuration, OutputSettings, SourceSettings
from shield.agent.identity import identify
from shield.agent.losses import Losses
from shield.agent.pipeline import Pipeline
from shield.agent.rulebook import Rulebook
from shield.agent.rulecache import RuleCache, default_folder
from shield.agent.watch import Parts, Summary, Watch, new_id
from shield.cli.errors import fail
from shield.cli.loading import load_configuration, load_policy, load_rules
from shield.cli.summary import of_ledger, of_tally, of_usage, tell
from shield.collector.select import Selection
from shield.collector.source import SourceUnavailable
from shield.exporter.background import NonBlockingWriter
from shield.exporter.console import ConsoleView
from shield.exporter.jsonl import JsonlWriter, OutputError, default_path
from shield.normalizer.lineage import Lineage
from shield.normalizer.process import Origin, ProcessNormalizer
from shield.policy.load import PolicyInForce
from shield.scorer.score import Scorer

_SECOND_NS = 1_000_000_000
_HOUR_S, _DAY_S = 3600, 86_400


def run(
    config: Annotated[
        Path | None, typer.Option(help="Configuration file; /etc/shield/shield.yml if it exists.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file, instead of the configured one.")] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(help="Sigma rules, instead of the configured ones: a file, a folder, or `shipped`; repeatable."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Events file, instead of the configured one.")] = None,
    duration: Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Stop after this long.")] = None,
    console: Annotated[bool, typer.Option("--console/--no-console", help="Show alerts as they come.")] = True,
    everything: Annotated[bool, typer.Option(help="Show every event, not only findings.")] = False,
) -> None:
    """Watch this host: score every process that starts, and write it down. Ctrl-C stops."""
    settings = load_configuration(config)
    in_force = load_policy(policy or (Path(settings.policy) if settings.policy else None))
    book = load_rules(rules or settings.rules, in_force)
    stop = _Stop()
    selection = _open_source(settings.source)
    try:
        writer = _open_output(settings.output, output)
        _watch(settings, in_force, book, stop, writer, selection, duration, console, everything)
    finally:
        selection.source.close()


def _watch(
    settings: Configuration,
    policy: PolicyInForce,
    book: Rulebook,
    stop: "_Stop",
    writer: JsonlWriter,
    selection: Selection,
    duration: float | None,
    console: bool,
    everything: bool,
) -> None:
    identity = identify()
    source = selection.source
    losses = Losses(
        source.name, lambda: source.count().dropped, source.remedies, policy.policy.story.window_seconds * _SECOND_NS
    )
    terminal = NonBlockingWriter(sys.stdout) if console else None
    advice = {rule.id: rule.next for rule in book.rules if rule.next}
    view = ConsoleView(Console(file=cast("TextIO", terminal)), advice, everything=everything) if terminal else None
    scorer = Scorer(book.ruleset, policy.policy, book.databases)
    scorer.prepare(identity.os)
    book.keep(RuleCache(default_folder()))
    watch = Watch(
        Parts(
            identity=identity,
            selection=selection,
            normalizer=ProcessNormalizer(Origin(identity.host, identity.os, new_id), Lineage(identity.scope)),
            pipeline=Pipeline(scorer, policy, identity.agent_id, losses.gaps),
            losses=losses,
            writer=writer,
            rules=len(book.ruleset),
            heartbeat_s=settings.heartbeat_seconds,
            view=view,
            show_all=everything,
        )
    )
    watch.remember(sources.snapshot())
    tell(_greeting(identity.host, selection, book, policy, writer.path))
    gc.freeze()  # what was loaded stays: the collector needn't walk it again and again
    summary = watch.run(lambda: stop.asked, duration)
    if view is not None and terminal is not None:
        view.close()
        terminal.finish()
    tell(_farewell(summary))


class _Stop:
    """Set by SIGINT and SIGTERM."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def _open_source(settings: SourceSettings) -> Selection:
    try:
        return sources.select(settings)
    except SourceUnavailable as refusal:
        fail(f"no source of events can be used: {refusal.reason}; {refusal.remedy}", 3)
    except ValueError as error:
        fail(str(error))


def _open_output(settings: OutputSettings, path: Path | None) -> JsonlWriter:
    try:
        return JsonlWriter(
            path or (Path(settings.path) if settings.path else default_path()),
            rotate_bytes=settings.rotate_bytes,
            rotate_seconds=settings.rotate_hours and settings.rotate_hours * _HOUR_S,
            keep_files=settings.keep_files,
            keep_seconds=settings.keep_days and settings.keep_days * _DAY_S,
            fsync=settings.fsync,
            fsync_seconds=settings.fsync_seconds,
        )
    except OutputError as error:
        fail(str(error))


def _greeting(host: str, selection: Selection, book: Rulebook, policy: PolicyInForce, path: Path) -> list[str]:
    refused = [f"  not {refusal.source}: {refusal.reason}; {refusal.remedy}" for refusal in selection.refused]
    return [
        f"Shield {__version__} watches {host} through {selection.source.name}. Alert-only: it changes nothing here.",
        *refused,
        f"  {len(book.ruleset)} rules, policy {policy.label}, events to {path}. Ctrl-C stops.",
    ]


def _farewell(summary: Summary) -> list[str]:
    lost = sum(sum(ledger.dropped.values()) for ledger in summary.ledgers)
    return [
        f"Shield stopped after watching through {summary.source}: {f'{lost:,} LOST' if lost else 'nothing lost'}.",
        *of_tally(summary.tally),
        *(of_ledger(ledger) for ledger in summary.ledgers),
        of_usage(summary.uptime_s, summary.cpu_s, summary.peak_rss_bytes),
    ]
