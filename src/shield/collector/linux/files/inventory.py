"""What the files in the sensitive places were like before they changed, as far as a bound allows.

It is learnt in the background: first what every file is like, then what it contains. When events were lost, the same
walk is gone again and tells what differs, so that a change is seen late rather than never.
"""

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import msgspec

from shield.collector.linux.files.facts import Facts, look
from shield.collector.linux.files.place import Folder, Places

_REST_EVERY, _REST_S = 128, 0.02
_FULL_S = 0.1
_ENTRIES_MOST = 100_000
_DIFFERENCES_MOST = 4096


class Listed(NamedTuple):
    """A directory that something sensitive can be in: its path, and the names in it that may be, directories apart."""

    path: bytes
    folder: Folder
    files: list[bytes]
    directories: list[bytes]


class Difference(NamedTuple):
    """A file that is not as it was known: `before` or `now` is None where there was or is none."""

    path: bytes
    place: str
    before: Facts | None
    now: Facts | None


class _Found(NamedTuple):
    path: bytes
    place: str
    facts: Facts


class Inventory:
    """The facts of up to `most` files by path; those that find no room are counted in `left_out`."""

    def __init__(self, places: Places, most: int) -> None:
        self.left_out = 0
        self.complete = False
        self.differences: deque[Difference] = deque()
        self._places = places
        self._most = most
        self._known: dict[bytes, Facts] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, path: bytes) -> Facts | None:
        """Return what the file was like when it was last looked at, None where that is not known."""
        return self._known.get(path)

    def record(self, path: bytes, facts: Facts) -> None:
        """Remember what a file is like now."""
        with self._lock:
            self._remember(path, facts)

    def forget(self, path: bytes) -> Facts | None:
        """Return what a file that is no longer there was like."""
        with self._lock:
            return self._known.pop(path, None)

    def add_hash(self, path: bytes, facts: Facts, sha256: str) -> None:
        """Remember what was in a file, unless it has changed since `facts` were taken."""
        now = look(path, facts.taken_ns)
        if now is None or now.changed_ns != facts.changed_ns:
            return
        with self._lock:
            if self._known.get(path) is facts:
                self._known[path] = msgspec.structs.replace(facts, sha256=sha256)

    def below(self, path: bytes) -> list[bytes]:
        """Return the known files in the directory `path` and below."""
        prefix = path + b"/"
        return [known for known in list(self._known) if known.startswith(prefix)]

    def directory_renamed(self, old: bytes, new: bytes) -> None:
        """Follow a directory, and those below it, to its new path; their files are for others to follow."""
        for path in (old, *self.below(old)):
            facts = self.get(path)
            if facts is not None and facts.is_directory:
                self.forget(path)
                self.record(new + path[len(old) :], facts)

    def learn(self, hash_file: Callable[[bytes], tuple[str, str]], limit: int, budget: int) -> Iterator[float]:
        """Fill the inventory, then hash files of at most `limit` bytes, `budget` bytes in all.

        Yields how many seconds to wait before going on.
        """
        for number, found in enumerate(self._found()):
            if found is not None:
                with self._lock:
                    if found.path not in self._known:
                        self._remember(found.path, found.facts)
            yield 0.0 if number % _REST_EVERY else _REST_S
        self.complete = True
        for path, facts in list(self._known.items()):
            if facts.is_regular and not facts.sha256 and facts.size <= min(limit, budget):
                budget -= facts.size
                sha256, _ = hash_file(path)
                if sha256:
                    self.add_hash(path, facts, sha256)
                yield 0.0

    def compare(self, tell: Callable[[], None]) -> Iterator[float]:
        """Add to `differences` what is not as it was known, and call `tell` then; yields like `learn`."""
        left = set(self._known)
        for number, found in enumerate(self._found()):
            yield 0.0 if number % _REST_EVERY else _REST_S
            if found is None:
                continue
            left.discard(found.path)
            before = self._known.get(found.path)
            if before is None and self.left_out:
                continue  # it may well be one that found no room
            if _differs(before, found.facts):
                while len(self.differences) >= _DIFFERENCES_MOST:
                    yield _FULL_S
                self.differences.append(Difference(found.path, found.place, before, found.facts))
                tell()
        for path in left:
            place = self._places.place(path)
            before = self._known.get(path)
            if place and before is not None and not before.is_directory and look(path, 0) is None:
                while len(self.differences) >= _DIFFERENCES_MOST:
                    yield _FULL_S
                self.differences.append(Difference(path, place, before, None))
                tell()
            yield 0.0

    def _remember(self, path: bytes, facts: Facts) -> None:
        if path in self._known or len(self._known) < self._most:
            self._known[path] = facts
        else:
            self.left_out += 1

    def _found(self) -> "Iterator[_Found | None]":
        """Yield what is in a sensitive place now, and None for what is not, so that others get their turn meanwhile."""
        for listed in survey(self._places):
            yield _look(listed.path, listed.folder.everything)
            for name in listed.files:
                if place := listed.folder.place(name):
                    yield _look(join(listed.path, name), place)


def _differs(before: Facts | None, now: Facts) -> bool:
    """Whether a file was changed; a directory has only its rights, as its files are looked at by themselves."""
    if now.is_directory:
        return before is not None and not before.same_rights(now)
    return before is None or before.changed_ns != now.changed_ns


def _look(path: bytes, place: str) -> _Found | None:
    facts = look(path, time.clock_gettime_ns(time.CLOCK_BOOTTIME)) if place else None
    return _Found(path, place, facts) if facts is not None else None


def survey(places: Places, start: bytes = b"/") -> Iterator[Listed]:
    """Yield every directory from `start` on that something sensitive can be in; symbolic links are not followed."""
    folder = places.folder(start)
    waiting = [(start, folder)] if folder else []
    while waiting:
        path, folder = waiting.pop()
        files, directories = _list(path, folder)
        yield Listed(path, folder, files, directories)
        for name in directories:
            below = folder.below(name)
            if below is not None:
                waiting.append((join(path, name), below))


def join(folder: bytes, name: bytes) -> bytes:
    """Return the path of `name` in the directory `folder`; `.` is the directory itself."""
    if name == b".":
        return folder
    return folder + name if folder.endswith(b"/") else folder + b"/" + name


def _list(path: bytes, folder: Folder) -> tuple[list[bytes], list[bytes]]:
    """Return the names of files, and of directories, that may matter; a directory that can't be read has none."""
    names = folder.names
    files: list[bytes] = []
    directories: list[bytes] = []
    if names is not None:
        for name in names:
            with suppress(OSError):
                is_directory = stat.S_ISDIR(os.lstat(join(path, name)).st_mode)
                (directories if is_directory else files).append(name)
        return files, directories
    with suppress(OSError), os.scandir(path) as entries:
        for entry in islice(entries, _ENTRIES_MOST):
            (directories if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    return files, directories
