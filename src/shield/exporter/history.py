"""Reading events back: the rotated files and the current one, in the order they were written.

A line that isn't an event (torn by a crash, zeroed by a power loss, edited) is skipped and told to `report`.
"""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, NamedTuple, cast

import msgspec
from msgspec import Struct

from shield.event import Action, Category, Event, decode
from shield.exporter.rotation import rotated

LINE_LIMIT = 16 << 20
"""Bytes; no event is longer, so what is longer is damage and never held in memory whole."""

_EVENT_ID = re.compile(r"[0-9a-f][0-9a-f-]{0,35}", re.ASCII)


class Damage(NamedTuple):
    """A line that isn't an event: where it is, and why it can't be read."""

    file: Path
    line: int
    reason: str


class Entry(NamedTuple):
    """An event and the bytes it was read from, without the newline."""

    event: Event
    raw: bytes


Report = Callable[[Damage], None]


def ignore(damage: Damage) -> None:
    """Take no notice of a damaged line."""


class Filter(Struct, frozen=True):
    """Which events to show; what is left at its default lets everything pass.

    `since_ns` is included, `until_ns` isn't (Unix nanoseconds). `correlation_id` may be its beginning. `rule` is the
    id or the name of a signal's rule. `text` is looked for in every text value, without regard to case.
    """

    actions: frozenset[Action] = frozenset()
    categories: frozenset[Category] = frozenset()
    minimum_score: int = 0
    since_ns: int | None = None
    until_ns: int | None = None
    correlation_id: str = ""
    text: str = ""
    pid: int | None = None
    rule: str = ""

    def matches(self, event: Event) -> bool:
        """Return whether `event` passes all of them."""
        return (
            (not self.actions or event.action in self.actions)
            and (not self.categories or event.category in self.categories)
            and event.score >= self.minimum_score
            and (self.since_ns is None or event.ts_ns >= self.since_ns)
            and (self.until_ns is None or event.ts_ns < self.until_ns)
            and event.correlation_id.startswith(self.correlation_id)
            and (self.pid is None or (event.data.process is not None and event.data.process.pid == self.pid))
            and (not self.rule or _names_rule(event, self.rule))
            and (not self.text or _holds(msgspec.to_builtins(event), self.text.lower()))
        )


def read(path: Path, report: Report = ignore) -> Iterator[Event]:
    """Yield every event of `path` and the files rotated away from it, oldest first. Raises OSError."""
    return (entry.event for entry in entries(path, report))


def entries(path: Path, report: Report = ignore) -> Iterator[Entry]:
    """Yield what `read` does, with the bytes of each line. Raises OSError."""
    for log in _logs(path):
        yield from _decoded(log, report)


def find(path: Path, event_id_prefix: str, report: Report = ignore) -> Iterator[Entry]:
    """Yield the events whose id begins with `event_id_prefix`; only lines that hold it at all are decoded.

    Raises OSError, and ValueError when no event id begins so.
    """
    prefix = event_id_prefix.lower()
    if not _EVENT_ID.fullmatch(prefix):
        raise ValueError("an event id is made of hexadecimal digits and dashes, 36 characters at most")
    needle = b'"' + prefix.encode()
    for log in _logs(path):
        for raw in log.lines(report):
            entry = _entry(log, raw, report) if needle in raw else None
            if entry and entry.event.event_id.startswith(prefix):
                yield entry


def holding(path: Path, text: str, report: Report = ignore) -> Iterator[Entry]:
    """Yield the events in which a text value, such as an id, begins with `text`; other lines are not decoded.

    Raises OSError.
    """
    needle = msgspec.json.encode(text)[:-1]
    for log in _logs(path):
        for raw in log.lines(report):
            entry = _entry(log, raw, report) if needle in raw else None
            if entry:
                yield entry


def follow(
    path: Path,
    report: Report = ignore,
    *,
    from_start: bool = False,
    poll_seconds: float = 0.2,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Entry | None]:
    """Yield events as they are written, through rotation, and None whenever there is nothing new; never ends.

    `from_start` begins with everything there is. A `path` that doesn't exist yet is waited for. Raises OSError.
    """
    log = _oldest(path) if from_start else _end(path)
    try:
        while True:
            # Looked up before the last read: once a file has a successor, nothing is added to it.
            successor = _successor(path, log) if log else _oldest(path)
            if log:
                yield from _decoded(log, report, growing=successor is None)
            if successor:
                log = _switch(log, successor)
                continue
            yield None
            sleep(poll_seconds)
    finally:
        if log:
            log.close()


class _Log:
    """One file of events, open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self._file: IO[bytes] = path.open("rb")
        self.identity = _identity(os.fstat(self._file.fileno()))

    def lines(self, report: Report, growing: bool = False) -> Iterator[bytes]:
        """Yield the lines up to the end; in a `growing` file, a last line without an end is left for later."""
        if growing:
            self._rewind_if_cut()
        while raw := self._file.readline(LINE_LIMIT):
            if raw.endswith(b"\n"):
                self.number += 1
                yield raw[:-1]
            elif len(raw) == LINE_LIMIT:
                self.number += 1
                self._skip_line()
                report(Damage(self.path, self.number, f"is longer than {LINE_LIMIT:,} bytes"))
            elif growing:
                self._file.seek(-len(raw), os.SEEK_CUR)
                return
            else:
                self.number += 1
                yield raw

    def modified_ns(self) -> int:
        """Return when the file was last written, in Unix nanoseconds."""
        return os.fstat(self._file.fileno()).st_mtime_ns

    def close(self) -> None:
        """Give the file up."""
        self._file.close()

    def _rewind_if_cut(self) -> None:
        """Begin anew where the file has become shorter than what was read of it."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
            self.number = 0

    def _skip_line(self) -> None:
        while (raw := self._file.readline(LINE_LIMIT)) and not raw.endswith(b"\n"):
            pass


def _logs(path: Path) -> Iterator[_Log]:
    """Yield the files, oldest first, each open until the next. The current one is opened before the others are
    listed, so that a rotation meanwhile hides nothing, and shows nothing twice.
    """
    current = _opened(path)
    try:
        older = rotated(path)
        if not current and not older:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        for log in filter(None, (_opened(each.path) for each in older)):
            with closing(log):
                if current and log.identity == current.identity:
                    break
                yield log
        if current:
            yield current
    finally:
        if current:
            current.close()


def _oldest(path: Path) -> _Log | None:
    """Open the first file there is."""
    names = [each.path for each in rotated(path)] if path.parent.is_dir() else []
    return next(filter(None, map(_opened, [*names, path])), None)


def _end(path: Path) -> _Log | None:
    """Open the current file behind its last whole line."""
    log = _opened(path)
    if log:
        for _ in log.lines(ignore, growing=True):
            pass
    return log


def _successor(path: Path, log: _Log) -> _Log | None:
    """Open the file written after `log`; None while `log` is the current one or the next isn't there yet."""
    try:
        if _identity(path.stat()) == log.identity:
            return None
    except FileNotFoundError:
        return None
    while True:
        newer = _rotated_after(path, log)
        following = _opened(newer[0] if newer else path)
        if following is None and newer:
            continue  # it expired meanwhile
        if following is None or newer or not _rotated_after(path, log):
            return following
        following.close()  # another rotation came between


def _rotated_after(path: Path, log: _Log) -> list[Path]:
    """Return the rotated files newer than `log`; where it has been deleted, those last written no earlier."""
    known: list[tuple[Path, os.stat_result]] = []
    for each in rotated(path):
        with suppress(FileNotFoundError):
            known.append((each.path, each.path.stat()))
    identities = [_identity(status) for _, status in known]
    if log.identity in identities:
        return [name for name, _ in known[identities.index(log.identity) + 1 :]]
    return [name for name, status in known if status.st_mtime_ns >= log.modified_ns()]


def _switch(log: _Log | None, successor: _Log) -> _Log:
    if log:
        log.close()
    return successor


def _opened(path: Path) -> _Log | None:
    """Open a file that may have been rotated away or deleted since it was listed."""
    try:
        return _Log(path)
    except FileNotFoundError:
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _decoded(log: _Log, report: Report, growing: bool = False) -> Iterator[Entry]:
    for raw in log.lines(report, growing):
        entry = _entry(log, raw, report)
        if entry:
            yield entry


def _entry(log: _Log, raw: bytes, report: Report) -> Entry | None:
    try:
        return Entry(decode(raw), raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        report(Damage(log.path, log.number, str(error)))
        return None


def _names_rule(event: Event, rule: str) -> bool:
    return any(rule in (signal.rule_id, signal.name) for signal in (*event.signals, *event.story))


def _holds(value: object, text: str) -> bool:
    """Return whether a text value anywhere inside `value` contains `text`, which is in lower case."""
    match value:
        case str():
            return text in value.lower()
        case dict():
            return any(_holds(each, text) for each in cast("dict[str, object]", value).values())
        case list() | tuple():
            return any(_holds(each, text) for each in cast("Sequence[object]", value))
        case _:
            return False
