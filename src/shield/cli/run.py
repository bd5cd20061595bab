"""`shield run`: watch this host until told to stop."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, TextIO, cast

import typer
from rich.console import Console

from shield import __version__
from shield.agent import loading, status
from shield.agent.assembly import assemble, host_sources, self_test, state_folder
from shield.agent.configuration import Configuration, OutputSettings
from shield.agent.detection import Detection
from shield.agent.feeds import Feeds
from shield.agent.identity import identify
from shield.agent.rulecache import RuleCache, default_folder
from shield.agent.sources import HostSources
from shield.agent.watch import Summary
from shield.cli.errors import fail
from shield.cli.loading import load_configuration, load_indicators, load_policy, load_rules, load_scanner
from shield.cli.summary import of_ledger, of_tally, of_usage, tell
from shield.collector.source import SourceUnavailable
from shield.exporter.background import NonBlockingWriter
from shield.exporter.console import ConsoleView
from shield.exporter.jsonl import JsonlWriter, OutputError, default_path

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
    loading.begin()
    settings = load_configuration(config)
    policy_file = policy or (Path(settings.policy) if settings.policy else None)
    in_force = load_policy(policy_file)
    places = rules or settings.rules
    book = load_rules(places, in_force)
    indicators = load_indicators(settings.indicators, in_force)
    scanner = load_scanner(settings.yara, in_force)
    asked = _Asked()
    sources = _sources(settings)
    feeds = sources.feeds(in_force.policy.story.window_ns)
    detection = Detection(identify(), in_force, book, feeds, indicators, scanner)
    try:
        writer = _open_output(settings.output, output)
        _remember(detection, sources, settings)
        _open(feeds)
        book.keep(RuleCache(default_folder()))
        detection.stay_current(places, policy_file, book)
        asked.renew = detection.renew
        _watch(settings, detection, asked, sources, feeds, writer, duration, console, everything)
    finally:
        feeds.close()


def _remember(detection: Detection, sources: HostSources, settings: Configuration) -> None:
    """Go on with what earlier runs have left, and keep it for later ones."""
    folder = state_folder(settings)
    if folder is not None:
        tell(f"shield: {problem}" for problem in detection.remember(folder, sources.remembered()))


def _watch(
    settings: Configuration,
    detection: Detection,
    asked: "_Asked",
    sources: HostSources,
    feeds: Feeds,
    writer: JsonlWriter,
    duration: float | None,
    console: bool,
    everything: bool,
) -> None:
    terminal = NonBlockingWriter(sys.stdout) if console else None
    out = cast("TextIO", terminal)
    view = ConsoleView(Console(file=out), detection.advice, everything=everything) if terminal else None
    watch = assemble(
        settings,
        detection,
        sources,
        feeds,
        writer,
        test=self_test(settings, feeds),
        status_file=status.default_file(),
        view=view,
        show_all=everything,
    )
    watch.remember(sources.snapshot())
    tell(_greeting(detection, feeds, writer.path))
    loading.end()
    summary = watch.run(lambda: asked.to_stop, duration)
    if view is not None and terminal is not None:
        view.close()
        terminal.finish()
    tell(_farewell(summary))


class _Asked:
    """What signals ask for: SIGINT and SIGTERM to stop, SIGHUP to `renew`, or to stop where the terminal has gone."""

    def __init__(self) -> None:
        self.to_stop = False
        self.renew: Callable[[], None] = lambda: None
        self._on_terminal = sys.stderr.isatty()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._hang_up)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.to_stop = True

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        if self._on_terminal and not sys.stderr.isatty():
            self.to_stop = True
        else:
            self.renew()


def _sources(settings: Configuration) -> HostSources:
    try:
        return host_sources(settings)
    except ValueError as error:
        fail(str(error))


def _open(feeds: Feeds) -> None:
    try:
        feeds.open()
    except SourceUnavailable as refusal:
        fail(f"no source of events can be used: {refusal.reason}; {refusal.remedy}", 3)


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


def _greeting(detection: Detection, feeds: Feeds, path: Path) -> list[str]:
    refused = [f"  not {refusal.source}: {refusal.reason}; {refusal.remedy}" for refusal in feeds.refused]
    host, pipeline = detection.identity.host, detection.pipeline
    return [
        f"Shield {__version__} watches {host} through {', '.join(feeds.names)}. Alert-only: it changes nothing here.",
        *refused,
        f"  {pipeline.scorer.rules} rules, policy {pipeline.policy.label}, events to {path}. Ctrl-C stops.",
    ]


def _farewell(summary: Summary) -> list[str]:
    lost = sum(sum(ledger.dropped.values()) for ledger in summary.ledgers)
    verdict = f"{lost:,} LOST" if lost else "nothing lost"
    return [
        f"Shield stopped after watching through {', '.join(summary.sources)}: {verdict}.",
        *of_tally(summary.tally),
        *(of_ledger(ledger) for ledger in summary.ledgers),
        of_usage(summary.uptime_s, summary.cpu_s, summary.peak_rss_bytes),
    ]
