"""`shield replay`: the same stages over recorded telemetry, for tests of rules and policies and for looking back."""

import os
import signal
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.progress import Progress

from shield.agent import loading, replay_workers
from shield.agent.identity import identify
from shield.agent.pipeline import Tally
from shield.agent.replay import Replay, Replayed
from shield.agent.replay_workers import Settings
from shield.agent.rulecache import RuleCache, default_folder
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.loading import load_indicators, load_policy, load_rules
from shield.cli.summary import of_ledger, of_tally, tell
from shield.collector.replay.damage import Damaged
from shield.collector.replay.detect import UnknownFormat
from shield.event import Event, Ledger, decode, encode
from shield.exporter.console import ConsoleView
from shield.scorer.score import Scorer
from shield.text import printable

_DAMAGES_SHOWN = 5
_INTERRUPTED = 128 + signal.SIGINT
STDIN = "-"


def replay(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Recorded telemetry: EVTX, JSON, audit, syslog; - for stdin."),
    ],
    rules: Annotated[
        list[str] | None, typer.Option(help="Sigma rules: a file, a folder, or the word `shipped`; repeatable.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file; the built-in policy without.")] = None,
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the events here, JSON lines; - for stdout.")
    ] = None,
    indicators: Annotated[
        list[str] | None, typer.Option(metavar="PLACE", help="Indicators: a file or a folder; repeatable.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Replay so many files at once, each as if it were alone.")
    ] = 1,
) -> None:
    """Run recorded telemetry through the rules and the policy; without --output, show what was found."""
    loading.begin()
    in_force = load_policy(policy)
    book = load_rules(rules or (), in_force)
    feed = load_indicators(indicators or (), in_force)
    scorer = Scorer(book.ruleset, in_force.policy, book.databases, [feed] if feed else [])
    settings = Settings(in_force, identify().agent_id, tuple(rules or ()), tuple(indicators or ()))
    damages = _Damages()
    if workers > 1 and len(files) > 1:
        scorer.matcher.prepare_all()
        book.keep(RuleCache(default_folder()))
        run: _InOrder | _AtOnce = _AtOnce(settings, files, min(workers, len(files)), damages)
    else:
        run = _InOrder(scorer, settings, files, damages)
    loading.end()
    view = ConsoleView(OutputConsole(), book.ruleset.advice()) if output is None else None
    with quiet_end(), _sink(output, files) as sink, _bar() as progress:
        for line in run.lines(progress):
            if sink is not None:
                sink.write(line)
            if view is not None:
                view.show(decode(line))
        if view is not None:
            view.close()
    book.keep(RuleCache(default_folder()))
    tell([f"Replayed {len(files)} file(s) under policy {in_force.label} with {len(book.ruleset)} rules."])
    tell([*of_tally(run.replayed.tally), of_ledger(run.replayed.ledger)])
    if damages.count:
        raise typer.Exit(2)


class _InOrder:
    """Replays the files one after the other, as one stream of events."""

    def __init__(self, scorer: Scorer, settings: Settings, files: Sequence[str], damages: "_Damages") -> None:
        self._files = list(zip(files, map(_open, files), strict=True))
        self._replay = Replay.begun(scorer, settings.policy, settings.agent_id, damages)

    def lines(self, progress: Progress) -> Iterator[bytes]:
        """Yield the events, each on a line."""
        for name, file in self._files:
            with file:
                for event in _read(self._replay.events(_watched(progress, file, name), name), name):
                    yield encode(event) + b"\n"

    @property
    def replayed(self) -> Replayed:
        """What was done so far."""
        return self._replay.summary()


class _AtOnce:
    """Replays several files at once, each as if it were alone."""

    def __init__(self, settings: Settings, files: Sequence[str], workers: int, damages: "_Damages") -> None:
        if STDIN in files:
            fail("-: stdin can't be shared among workers; leave --workers out")
        for name in files:
            _open(name).close()
        self._settings = settings
        self._files = files
        self._workers = workers
        self._damages = damages
        self.replayed = Replayed(Tally(), Ledger(source="replay"))

    def lines(self, progress: Progress) -> Iterator[bytes]:
        """Yield the events, each on a line."""
        bar = progress.add_task("Replaying", total=len(self._files))
        with tempfile.TemporaryDirectory(prefix="shield-replay-") as folder:
            for part in replay_workers.replayed(self._settings, self._files, self._workers, Path(folder)):
                if part.refusal:
                    fail(part.refusal)
                self._damages.add(part.damages, part.damage_count)
                yield from replay_workers.lines(part, self._settings.agent_id, self.replayed.tally.events)
                self.replayed = replay_workers.added(self.replayed, part.replayed)
                progress.advance(bar)


def _bar() -> Progress:
    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


class _Damages:
    """Tells of what is no event: the first few one by one."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, damage: Damaged) -> None:
        self.add((damage,), 1)

    def add(self, damages: Sequence[Damaged], count: int) -> None:
        """Take in `count` damages, of which the first ones are at hand."""
        for damage in damages[: max(0, _DAMAGES_SHOWN - self.count)]:
            print(printable(f"shield: {damage.place}: not an event: {damage.problem}"), file=sys.stderr)
        if self.count <= _DAMAGES_SHOWN < self.count + count:
            print("shield: more is damaged; the summary counts it", file=sys.stderr)
        self.count += count


def _read(events: Iterable[Event], name: str) -> Iterable[Event]:
    try:
        yield from events
    except UnknownFormat as error:
        fail(str(error))
    except OSError as error:
        fail(f"{name}: can't be read to its end: {error.strerror}; name a file of recorded events")


def _open(name: str) -> BinaryIO:
    if name == STDIN:
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        fail(f"{name}: can't be read: {error.strerror}; name a file of events, one JSON object a line")


def _watched(progress: Progress, file: BinaryIO, name: str) -> BinaryIO:
    """Return `file` with a progress bar for its bytes, where its length is known."""
    if name == STDIN:
        return file
    return progress.wrap_file(file, total=os.fstat(file.fileno()).st_size, description=printable(name))


@contextmanager
def _sink(output: str | None, inputs: list[str]) -> Generator[BinaryIO | None, None, None]:
    """Yield where events are written: nowhere, stdout, or a file that replaces `output` only when it is complete."""
    if output is None:
        yield None
        return
    if output == STDIN:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(output)
    if any(target.exists() and name != STDIN and target.samefile(name) for name in inputs):
        fail(f"{output}: this is one of the files to replay; choose another one for the output")
    is_stream = target.exists() and not target.is_file()  # a device or a pipe, which nothing may replace
    try:
        with target.open("wb") if is_stream else _replacing(target.resolve()) as file:
            yield file
    except OSError as error:
        fail(f"{output}: can't be written: {error.strerror}; choose a place with room that you may write to")
    except KeyboardInterrupt:
        fail(f"{output}: stopped before the end; replay again for the whole", _INTERRUPTED)


@contextmanager
def _replacing(target: Path) -> Generator[BinaryIO, None, None]:
    """Yield a file that takes the place of `target` when it is complete, and leaves nothing when it isn't."""
    partial = target.with_name(f".{target.name}.partial")
    terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb", buffering=1 << 20) as file:  # x: never through a link that somebody planted there
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
        signal.signal(signal.SIGTERM, terminated)
