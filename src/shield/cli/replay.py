"""`shield replay`: the same stages over recorded events, for tests of rules and policies and for looking back."""

import os
import signal
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.progress import Progress

from shield.agent.identity import identify
from shield.agent.pipeline import Pipeline
from shield.agent.recording import Recording
from shield.agent.replay import RecordedLosses, Replay
from shield.agent.rulecache import RuleCache, default_folder
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.loading import load_policy, load_rules
from shield.cli.summary import of_ledger, of_tally, tell
from shield.collector.replay.damage import Damaged
from shield.collector.replay.detect import UnknownFormat
from shield.event import Event, encode
from shield.exporter.console import ConsoleView
from shield.scorer.score import Scorer
from shield.text import printable

_SECOND_NS = 1_000_000_000
_DAMAGES_SHOWN = 5
_INTERRUPTED = 128 + signal.SIGINT
STDIN = "-"


def replay(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Recorded telemetry: EVTX, JSON, audit or syslog; - for stdin.")],
    rules: Annotated[
        list[str] | None, typer.Option(help="Sigma rules: a file, a folder, or the word `shipped`; repeatable.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file; the built-in policy without.")] = None,
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the events here, JSON lines; - for stdout.")
    ] = None,
) -> None:
    """Run recorded events through the rules and the policy again; without --output, show what was found."""
    in_force = load_policy(policy)
    book = load_rules(rules or (), in_force)
    opened = [_open(name) for name in files]
    window_ns = in_force.policy.story.window_seconds * _SECOND_NS
    losses = RecordedLosses(window_ns)
    pipeline = Pipeline(
        Scorer(book.ruleset, in_force.policy, book.databases), in_force, identify().agent_id, losses.gaps
    )
    damages = _Damages()
    run = Replay(Recording(damages), pipeline, losses)
    view = (
        ConsoleView(OutputConsole(), {rule.id: rule.next for rule in book.rules if rule.next})
        if output is None
        else None
    )
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with quiet_end(), _sink(output, files) as sink, bar as progress:
        for name, file in zip(files, opened, strict=True):
            source = _watched(progress, file, name)
            for event in _read(run.events(source, name), name):
                if sink is not None:
                    sink.write(encode(event) + b"\n")
                if view is not None:
                    view.show(event)
        if view is not None:
            view.close()
    book.keep(RuleCache(default_folder()))
    replayed = run.summary()
    tell([f"Replayed {len(files)} file(s) under policy {in_force.label} with {len(book.ruleset)} rules."])
    tell([*of_tally(replayed.tally), of_ledger(replayed.ledger)])
    if damages.count:
        raise typer.Exit(2)


class _Damages:
    """Tells of what is no event: the first few one by one."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, damage: Damaged) -> None:
        self.count += 1
        if self.count <= _DAMAGES_SHOWN:
            print(printable(f"shield: {damage.place}: not an event: {damage.problem}"), file=sys.stderr)
        if self.count == _DAMAGES_SHOWN + 1:
            print("shield: more is damaged; the summary counts it", file=sys.stderr)


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
