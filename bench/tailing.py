"""When a line becomes readable: a process that waits for a file to grow, reads at once, and notes the time.

It sleeps in inotify(7) between writes, so that it takes no core away; what it costs itself, from a write(2) to the time
noted, is measured by the same means (`own_delay`) and is part of every latency measured with it.
"""

import ctypes
import multiprocessing
import os
import re
import select
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

_IN_MODIFY = 0x2
_CHUNK = 1 << 20
_SECOND_NS = 1_000_000_000


class Sight(NamedTuple):
    """The file was readable up to `end` bytes, at that time (monotonic and Unix, in nanoseconds)."""

    end: int
    monotonic_ns: int
    unix_ns: int


class Tail:
    """Watches one file that exists."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.sights: list[Sight] = []

    def seen(self, mark: str) -> dict[int, tuple[Sight, bytes]]:
        """Return for each number after `mark-` when its first line was readable to its end, and that line."""
        content = self._path.read_bytes()
        ends = [sight.end for sight in self.sights]
        found: dict[int, tuple[Sight, bytes]] = {}
        for match in re.finditer(rf"{mark}-(\d+)".encode(), content):
            end = content.find(b"\n", match.end()) + 1
            at = bisect_left(ends, end)
            if end and at < len(ends) and int(match[1]) not in found:
                found[int(match[1])] = (self.sights[at], content[content.rfind(b"\n", 0, match.start()) + 1 : end])
        return found


@contextmanager
def tailing(path: Path) -> Iterator[Tail]:
    """Watch `path` within the block; its sights are there after it."""
    tail = Tail(path)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_watch, args=(path, theirs), daemon=True)
    process.start()
    ours.recv()
    try:
        yield tail
        ours.send(None)
        tail.sights = [Sight(*each) for each in ours.recv()]
    finally:
        process.kill()
        process.join()


def own_delay(folder: Path, count: int, rate: float) -> list[int]:
    """Return the nanoseconds from just before a write(2) of a line until its reader noted the time, `count` times."""
    path = folder / "lines"
    path.touch()
    wrote: list[int] = []
    with path.open("ab", buffering=0) as lines, tailing(path) as tail:
        begin = time.monotonic_ns()
        for index in range(count):
            time.sleep(max(0.0, (begin + index * _SECOND_NS / rate - time.monotonic_ns()) / _SECOND_NS))
            wrote.append(time.monotonic_ns())
            lines.write(f"line-{index}\n".encode())
        time.sleep(0.2)
    return [sight.monotonic_ns - wrote[index] for index, (sight, _) in tail.seen("line").items()]


def _watch(path: Path, parent: Connection) -> None:
    with path.open("rb", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        changes = _inotify(path)
        parent.send(None)
        sights: list[tuple[int, int, int]] = []
        while parent not in select.select([changes, parent], [], [])[0]:
            os.read(changes, 4096)
            while read := len(file.read(_CHUNK)):
                end += read
                sights.append((end, time.monotonic_ns(), time.time_ns()))
    parent.send(sights)


def _inotify(path: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(path), _IN_MODIFY) < 0:
        raise OSError(ctypes.get_errno(), f"inotify doesn't watch {path}: {os.strerror(ctypes.get_errno())}")
    return fd
