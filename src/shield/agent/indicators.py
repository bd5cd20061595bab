"""Reading the files of indicators: every format, an index in the end, and a report on what could not be used.

Run as a module (`python -m shield.agent.indicators PLACE...`) it writes the index to stdout and the report, as JSON, to
stderr: so the agent has an index built beside itself and only maps the result.
"""

import io
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from shield.agent import child
from shield.agent.places import Place, files
from shield.scorer.indicators import formats
from shield.scorer.indicators.index import Builder
from shield.scorer.indicators.indicator import SOURCE_MOST, Found, Indicator, PassedOver, Problem

SUFFIXES = (".txt", ".csv", ".tsv", ".json", ".stix", ".misp", ".list", ".lst", ".ioc", ".intel", ".ipset", ".netset")
"""What the names of indicator files in a folder end with."""

INDICATORS_MOST = 10_000_000
PROBLEMS_TOLD = 100
_LINE_MOST = 1 << 16
_JSON_MOST = 512 << 20
_HEAD = 1 << 16
_STEP = 10_000
_SALT_BYTES = 16
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

Progress = Callable[[int, int], None]
"""Told, now and then, how many bytes of how many are read."""


class NoIndicators(Exception):
    """The indicators that were asked for aren't there; the text says which."""


class Report(Struct, frozen=True):
    """What became of the entries of all files.

    `problems` counts the entries that can't be used and `told` holds the first of them, each a line. `unusable` tells
    of files of which nothing can be used. `passed_over` counts what isn't meant for detection, by reason.
    """

    files: int = 0
    loaded: int = 0
    expired: int = 0
    passed_over: dict[str, int] = {}
    problems: int = 0
    told: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


def build(places: Sequence[str], progress: Progress | None = None) -> tuple[Builder, Report]:
    """Return an index in the making, of all indicators in `places`, and the report.

    Raises NoIndicators where a place is missing. A feed that is broken today must not keep the agent from starting, so
    files that can't be used are told of in the report, and the rest is used.
    """
    try:
        found = files(places, SUFFIXES)
    except OSError as error:
        raise NoIndicators(f"{error}: there is no such file or folder; name a file of indicators or a folder") from None
    reading = _Reading(found, progress)
    for place in found:
        reading.file(place.path)
    return reading.builder, reading.report()


class _Reading:
    """Reads one file after the other into one index."""

    def __init__(self, places: Sequence[Place], progress: Progress | None) -> None:
        self.builder = Builder(os.urandom(_SALT_BYTES))
        self._files = len(places)
        self._progress = progress
        self._total = sum(_size(place.path) for place in places)
        self._done = self._loaded = self._expired = self._problems = 0
        self._passed_over: dict[str, int] = {}
        self._told: list[str] = []
        self._unusable: list[str] = []
        self._now_ns = time.time_ns()

    def file(self, path: Path) -> None:
        """Read one file; whatever is wrong with it goes into the report."""
        before = self._loaded, self._problems, sum(self._passed_over.values())
        try:
            with _open(path) as file:
                self._read(file, path)
        except OSError as error:
            self._unusable.append(f"{path}: can't be read: {error.strerror or error}; check its owner, mode and type")
            return
        self._judge(path, *before)
        self._done += _size(path)
        self._tell(0)

    def _judge(self, path: Path, loaded: int, problems: int, passed_over: int) -> None:
        """Note the file as unusable where nothing in it was of use; a list with nothing but comments is in order."""
        if self._loaded > loaded or sum(self._passed_over.values()) > passed_over:
            return
        if self._problems > problems:
            first = next((line for line in self._told if line.startswith(f"{path}:")), "")
            self._unusable.append(first or f"{path}: nothing in it can be used; correct it")
        elif not _size(path):
            self._unusable.append(f"{path}: the file is empty; fetch it again or take it out")

    def report(self) -> Report:
        """Return what became of everything so far."""
        return Report(
            files=self._files,
            loaded=self._loaded,
            expired=self._expired,
            passed_over=self._passed_over,
            problems=self._problems,
            told=tuple(self._told),
            unusable=tuple(self._unusable),
        )

    def _read(self, file: io.BufferedReader, path: Path) -> None:
        step = 0
        for found in _entries(file, path.stem[:SOURCE_MOST]):
            self._take(found, path)
            step += 1
            if step == _STEP:
                step = 0
                self._tell(file.tell())
            if self._loaded >= INDICATORS_MOST:
                told = f"there are more than {INDICATORS_MOST:,} indicators"
                self._take(Problem(f"after entry {self._loaded}", told, "keep those that matter"), path)
                return

    def _take(self, found: Found, path: Path) -> None:
        match found:
            case Indicator():
                self.builder.add(found)
                self._loaded += 1
                if 0 < found.expires_ns <= self._now_ns:
                    self._expired += 1
            case PassedOver():
                self._passed_over[found.reason] = self._passed_over.get(found.reason, 0) + 1
            case Problem():
                self._problems += 1
                if len(self._told) < PROBLEMS_TOLD:
                    self._told.append(_told(path, found))

    def _tell(self, read: int) -> None:
        if self._progress is not None:
            self._progress(min(self._done + read, self._total), self._total)


def _entries(file: io.BufferedReader, source: str) -> Iterator[Found]:
    head = file.peek(_HEAD)[:_HEAD]
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
    kind = formats.detect(head.decode(encoding, "backslashreplace"))
    if kind == "stix" or kind == "misp":
        yield from _documents(file, kind, source, encoding)
        return
    text = io.TextIOWrapper(file, encoding, errors="backslashreplace")
    try:
        yield from formats.read_lines(iter(lambda: text.readline(_LINE_MOST), ""), kind, source)
    finally:
        text.detach()


def _documents(file: BinaryIO, kind: formats.JsonFormat, source: str, encoding: str) -> Iterator[Found]:
    text = file.read(_JSON_MOST + 1)
    if len(text) > _JSON_MOST:
        yield Problem("the end", f"this is larger than {_JSON_MOST >> 20} MiB", "split it, or use CSV")
        return
    if encoding != "utf-8":
        text = text.decode(encoding, "backslashreplace").encode()
    yield from formats.read_json(text, kind, source)


def _open(path: Path) -> io.BufferedReader:
    """Open a file for reading; never wait for the other end of a pipe, never read a device."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no regular file")
    return io.BufferedReader(io.FileIO(descriptor), _HEAD)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _told(path: Path, problem: Problem) -> str:
    line = problem.place.removeprefix("line ")
    place = f"{path}:{line}" if line != problem.place else f"{path}: {problem.place}"
    return f"{place}: {problem.problem}; {problem.remedy}"


def main(places: Sequence[str]) -> int:
    """Write the index to stdout and the report to stderr; return 2 where there is no index."""
    child.give_way()
    code = 0
    try:
        builder, report = build(places)
        for part in builder.build():
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    except NoIndicators as error:
        code, report = 2, Report(unusable=(str(error),))
    except OSError as error:
        code = 2
        report = Report(unusable=(f"the index can't be written: {error.strerror}; make room for temporary files",))
    sys.stderr.buffer.write(msgspec.json.encode(report))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
