"""A log file, followed: what is appended to it is read once, through rotation, truncation and restarts.

A file is known by its content, not by its name: of each file the bytes just before the place that reading has come to
are kept. So what was not read yet is found wherever a rotation has put it: renamed, copied (logrotate's copytruncate)
or compressed. A file that was replaced or written anew with the same beginning was edited: reading goes on behind the
last line that was read, and what was read is not read again.

A writer goes on with the old file for a moment after it was renamed: it is read until it has been quiet for a minute.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from shield.collector.linux.identity.rotated import DAMAGED, is_compressed, open_regular, reach, siblings

REMEDIES = {
    "too_long": "Look at the log: a line of more than a megabyte is none that a daemon writes.",
    "torn": "Look at the log: it ends in the middle of a record.",
    "truncated": "Find out who emptied the log; let logrotate rename it, or copy it first.",
    "rewritten": "Find out who edited the log: lines may have been taken out of it.",
    "rotated_away": "Keep rotated logs (in the same directory) for longer than Shield is ever stopped.",
    "unreadable": "Look at the rotated log: it could not be decompressed.",
}
"""What to do about what `LogFile.lost` counts."""

_CHUNK = 1 << 18
_UNIT_MOST = 1 << 20
_KNOWN_BY = 512
_SEARCHED = 1 << 20
_OLD_MOST = 4
_QUIET_S = 60.0


class Position(Struct, frozen=True, array_like=True):
    """How far one file was read: all before `offset`, in bytes of its uncompressed content.

    `head` is how the file begins, `recent` what stands just before `offset`; both are at most 512 bytes.
    """

    device: int
    inode: int
    offset: int
    head: bytes
    recent: bytes


class LogFile:
    """What is appended to the file at `path`: whole lines, or records of `record_bytes` each.

    `lost` counts by reason what could not be read. Of lines that stood in a file that is gone nobody knows how many
    there were: each such file counts as one.
    """

    def __init__(self, path: Path, record_bytes: int = 0, quiet_s: float = _QUIET_S) -> None:
        self.path = path
        self.lost: Counter[str] = Counter()
        self._record_bytes = record_bytes
        self._quiet_s = quiet_s
        self._old: deque[_Tail] = deque()
        self._current: _Tail | None = None
        self._kept: tuple[Position, ...] | None = None

    @property
    def exists(self) -> bool:
        """Whether there is such a file now."""
        return self._status() is not None

    def restore(self, positions: Sequence[Position]) -> None:
        """Go on from `positions`, as an earlier `positions` gave them; call it before `open`."""
        self._kept = tuple(positions)

    def open(self) -> None:
        """Begin at the end of the file, or where an earlier run left off. Raises OSError where it may not be read."""
        if self._kept:
            self._resume(self._kept)
        elif (file := open_regular(self.path)) is not None:
            # None was kept by a run that saw no file: all there is now is new.
            self._current = _Tail(file, self._record_bytes, self._end(file) if self._kept is None else _start(file))
        self._kept = ()

    def read(self) -> list[bytes]:
        """Return the next units, oldest first, about 256 KiB at most of each file. Raises OSError."""
        self._notice()
        found: list[bytes] = []
        for tail in tuple(self._old):
            found += tail.read(self.lost)
            if not tail.at_end:
                return found
            if self._is_over(tail):
                found += tail.rest(self.lost)
                self._old.remove(tail)
                tail.close()
        if self._current is not None:
            found += self._current.read(self.lost)
        return found

    def positions(self) -> tuple[Position, ...]:
        """Return how far each file was read, that of the log's present file last."""
        return tuple(tail.position for tail in self._tails()) or self._kept or ()

    def close(self) -> None:
        """Close the files; `open` goes on from here."""
        self._kept = self.positions()
        for tail in self._tails():
            tail.close()
        self._old.clear()
        self._current = None

    def _tails(self) -> Iterator["_Tail"]:
        yield from self._old
        if self._current is not None:
            yield self._current

    def _status(self) -> os.stat_result | None:
        try:
            return self.path.stat()
        except OSError:
            return None

    def _notice(self) -> None:
        """See what became of the file since the last read."""
        status = self._status()
        if status is None:
            return  # renamed, and the new one is not made yet
        current = self._current
        if current is None:
            file = open_regular(self.path)
            self._current = _Tail(file, self._record_bytes, _start(file)) if file is not None else None
        elif (status.st_dev, status.st_ino) != (current.position.device, current.position.inode):
            # What was replaced, rather than renamed, is read to its end first.
            if not current.is_nameless() or current.is_read():
                self._replaced(current)
        elif status.st_size < current.reached or not current.is_unchanged():
            self._overwritten(current)

    def _replaced(self, old: "_Tail") -> None:
        """Turn to the new file at the path."""
        file = open_regular(self.path)
        if file is None:
            return
        # A file without a name left was not rotated but deleted; its place may have taken an edited copy of it.
        begin = self._behind(file, old.position) if old.is_nameless() else None
        self._keep_reading(old)
        self._current = _Tail(file, self._record_bytes, begin or _start(file))

    def _overwritten(self, current: "_Tail") -> None:
        """Begin the same file anew; what was not read of it is in the copy that was made before, if one was."""
        position, file = current.position, current.detach()
        copy = self._rotated(position)
        begin = None
        if copy is not None:
            self._keep_reading(copy[1])
        elif (begin := self._behind(file, position)) is None:
            self.lost["truncated"] += 1
        self._current = _Tail(file, self._record_bytes, begin or _start(file))

    def _resume(self, kept: tuple[Position, ...]) -> None:
        """Open every file that an earlier run had open, and those that came after."""
        *older, last = kept
        for position in older:
            if (found := self._rotated(position)) is not None:
                self._keep_reading(found[1])
            elif position.offset:
                self.lost["rotated_away"] += 1
        file = open_regular(self.path)
        begin = self._resumed(file, last)
        self._current = _Tail(file, self._record_bytes, begin or _start(file)) if file is not None else None

    def _resumed(self, file: BinaryIO | None, last: Position) -> Position | None:
        """Return where to go on in the log's present file; what came between is opened. None is its start."""
        if file is not None and reach(file, last.offset, last.recent, _is_same(file, last)):
            return _moved(file, last)
        if (found := self._rotated(last)) is not None:
            path, tail = found
            self._keep_reading(tail)
            for newer in map(open_regular, self._newer(path)):
                if newer is not None:
                    self._keep_reading(_Tail(newer, self._record_bytes, _start(newer)))
            return None
        begin = self._behind(file, last) if file is not None else None
        if begin is None and last.offset:
            self.lost["rotated_away"] += 1
        return begin

    def _rotated(self, position: Position) -> "tuple[Path, _Tail] | None":
        for path in siblings(self.path):
            file = open_regular(path)
            if file is None:
                continue
            if reach(file, position.offset, position.recent, _is_same(file, position)):
                return path, _Tail(file, self._record_bytes, _moved(file, position))
            file.close()
        return None

    def _newer(self, path: Path) -> list[Path]:
        """Return the rotated files that came after `path`, oldest first."""
        paths = siblings(self.path)
        younger = paths[: paths.index(path)] if path in paths else []
        return younger[::-1]

    def _behind(self, file: BinaryIO, position: Position) -> Position | None:
        """Return where to go on in an edited file: behind the last line that was read, else at its end."""
        if not position.head or os.pread(file.fileno(), len(position.head), 0) != position.head:
            return None
        if reach(file, position.offset, position.recent, True):
            return _moved(file, position)
        self.lost["rewritten"] += 1
        if self._record_bytes:
            return self._end(file)
        since = max(os.fstat(file.fileno()).st_size - _SEARCHED, 0)
        last = position.recent.rstrip(b"\n").rpartition(b"\n")[2] + b"\n"
        at = os.pread(file.fileno(), _SEARCHED, since).rfind(last) if len(last) > 1 else -1
        return _at(file, since + at + len(last)) if at >= 0 else self._end(file)

    def _end(self, file: BinaryIO) -> Position:
        """Return where the last whole unit ends."""
        size = os.fstat(file.fileno()).st_size
        if self._record_bytes:
            return _at(file, size - size % self._record_bytes)
        since = max(size - _UNIT_MOST, 0)
        return _at(file, since + os.pread(file.fileno(), _UNIT_MOST, since).rfind(b"\n") + 1)

    def _keep_reading(self, old: "_Tail") -> None:
        self._old.append(old)
        while len(self._old) > _OLD_MOST and self._old[0].at_end:
            self._old.popleft().close()

    def _is_over(self, old: "_Tail") -> bool:
        """Return whether nobody writes to a file that was rotated any more."""
        if old.is_compressed:
            return True
        status = self._status()
        return status is not None and status.st_size > 0 and old.quiet_s() >= self._quiet_s


class _Tail:
    """One open file, read forward from `position`."""

    def __init__(self, file: BinaryIO, record_bytes: int, position: Position) -> None:
        self.position = position
        self.at_end = False
        self._file = file
        self._record_bytes = record_bytes
        self._rest = b""
        self._skipping = False
        self._grew = time.monotonic()
        self.is_compressed = is_compressed(file)
        if not self.is_compressed:
            file.seek(position.offset)

    @property
    def reached(self) -> int:
        """How many bytes of the file have been looked at."""
        return self.position.offset + len(self._rest)

    def read(self, lost: Counter[str]) -> list[bytes]:
        """Return the next units. Raises OSError."""
        more = self._more(lost)
        self.at_end = not more if self.is_compressed else len(more) < _CHUNK
        if not more:
            return []
        self._grew = time.monotonic()
        data = self._rest + more
        skipped = self._skip(data) if self._skipping else 0
        units, used = self._cut(data, skipped)
        if not used and len(data) > _UNIT_MOST:
            lost["too_long"] += 1
            self._skipping, used = True, len(data)
        self._advance(data[:used])
        self._rest = data[used:]
        return units

    def _more(self, lost: Counter[str]) -> bytes:
        try:
            return self._file.read(_CHUNK)
        except DAMAGED:
            if not self.is_compressed:
                raise
            lost["unreadable"] += 1
            return b""

    def rest(self, lost: Counter[str]) -> list[bytes]:
        """Return what stands at the end of a file that is complete, without a newline."""
        rest, self._rest = self._rest, b""
        if rest and self._record_bytes:
            lost["torn"] += 1
        return [rest] if rest and not self._record_bytes and not self._skipping else []

    def is_unchanged(self) -> bool:
        """Return whether the bytes that were read last still stand where they did."""
        recent = self.position.recent
        return os.pread(self._file.fileno(), len(recent), self.position.offset - len(recent)) == recent

    def is_nameless(self) -> bool:
        """Return whether the file was deleted."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    def is_read(self) -> bool:
        """Return whether there is nothing more in the file."""
        return os.fstat(self._file.fileno()).st_size <= self.reached

    def quiet_s(self) -> float:
        """Return for how long nothing was appended, in seconds."""
        return time.monotonic() - self._grew

    def detach(self) -> BinaryIO:
        """Return the open file, which is another's to close now."""
        return self._file

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut(self, data: bytes, start: int) -> tuple[list[bytes], int]:
        """Return the whole units from `start` on, lines without their newlines, and where they end."""
        size = self._record_bytes
        if size:
            end = len(data) - (len(data) - start) % size
            return [data[at : at + size] for at in range(start, end, size)], end
        end = data.rfind(b"\n", start) + 1
        return (data[start : end - 1].split(b"\n"), end) if end else ([], start)

    def _skip(self, data: bytes) -> int:
        """Return where the line ends that is too long; all of `data` where it goes on."""
        end = data.find(b"\n") + 1
        self._skipping = end == 0
        return end or len(data)

    def _advance(self, told: bytes) -> None:
        if not told:
            return
        at = self.position
        self.position = Position(
            at.device,
            at.inode,
            at.offset + len(told),
            at.head if len(at.head) == _KNOWN_BY else (at.head + told)[:_KNOWN_BY],
            (at.recent + told[-_KNOWN_BY:])[-_KNOWN_BY:],
        )


def _start(file: BinaryIO) -> Position:
    return _at(file, 0)


def _at(file: BinaryIO, offset: int) -> Position:
    status = os.fstat(file.fileno())
    if not offset:
        return Position(status.st_dev, status.st_ino, 0, b"", b"")
    known = min(offset, _KNOWN_BY)
    head, recent = os.pread(file.fileno(), known, 0), os.pread(file.fileno(), known, offset - known)
    return Position(status.st_dev, status.st_ino, offset, head, recent)


def _moved(file: BinaryIO, position: Position) -> Position:
    """Return the same place in another file."""
    status = os.fstat(file.fileno())
    return Position(status.st_dev, status.st_ino, position.offset, position.head, position.recent)


def _is_same(file: BinaryIO, position: Position) -> bool:
    status = os.fstat(file.fileno())
    return (status.st_dev, status.st_ino) == (position.device, position.inode)
