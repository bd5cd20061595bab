"""What every package database can tell: its packages with their files, and what the content of a file should be.

Paths are bytes and absolute. A file goes by one name here: where /bin is a link to /usr/bin, its files are in /usr/bin,
whatever the database calls them.
"""

import fcntl
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

Stamp = tuple[tuple[int, int, int], ...]
"""Differs as soon as a database has changed: inode, size and time of change of its parts."""

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr/sbin", "usr/lib64")
_LOCKS = "/proc/locks"
_FLOCK = struct.Struct("hh4xqqi4x")  # struct flock where off_t has 64 bits


class Damaged(Exception):
    """A database isn't in the form that its package manager gives it; the text says what is wrong."""


class Package(NamedTuple):
    """An installed package. By `key` its database finds it again."""

    name: str
    version: str
    key: str


class Digest(NamedTuple):
    """What the content of a file should hash to, in hexadecimal; `algorithm` as hashlib calls it."""

    algorithm: str
    value: str


class Database(Protocol):
    """One package manager's database. Whatever reads it raises OSError, or Damaged."""

    name: str
    """The package manager."""
    algorithms: frozenset[str]
    """The hashes that its digests are in."""

    def stamp(self) -> Stamp:
        """Return what tells one state of the database from another."""
        ...

    def busy(self) -> bool:
        """Return whether the package manager is changing files right now."""
        ...

    def packages(self) -> Iterator[tuple[Package, Iterable[bytes]]]:
        """Yield every package with its files."""
        ...

    def digest(self, key: str, path: bytes) -> Digest | None:
        """Return what the package of that key has brought as `path`; None where nothing is known, or it may change."""
        ...


class MergedFolders:
    """The folders at the top of `root` that are links to others: /bin to /usr/bin, and its like.

    https://www.freedesktop.org/wiki/Software/systemd/TheCaseForTheUsrMerge/
    """

    def __init__(self, root: Path) -> None:
        links = dict(_links(root))
        self._real = {name: _end(links, name) for name in links}
        self._names: dict[bytes, list[bytes]] = {}
        for name, real in self._real.items():
            self._names.setdefault(real, []).append(name)
        self._prefixes = tuple(self._real)

    def real(self, path: bytes) -> bytes:
        """Return the one name of a file."""
        if path.startswith(self._prefixes):
            for name, real in self._real.items():
                if path.startswith(name):
                    return real + path[len(name) :]
        return path

    def names(self, path: bytes) -> Iterator[bytes]:
        """Yield every name of a file, the one that `real` gives first."""
        yield path
        for real, names in self._names.items():
            if path.startswith(real):
                yield from (name + path[len(real) :] for name in names)


def stamp_of(paths: Iterable[Path]) -> Stamp:
    """Return the stamp of files and folders; those that aren't there have their own."""
    return tuple(_stamp(path) for path in paths)


def locked(lock: Path) -> bool:
    """Return whether a process holds a record lock on `lock` for writing (fcntl(2), F_GETLK)."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return _FLOCK.unpack(answer)[0] != fcntl.F_UNLCK


def flocked(lock: Path) -> bool:
    """Return whether a process holds `lock` as a whole (flock(2); proc(5), /proc/locks). May take ten milliseconds.

    File systems disagree about the number of their device, so the file is known by its inode alone.
    """
    try:
        inode = str(lock.stat().st_ino).encode()
        with open(_LOCKS, "rb") as file:
            lines = [line.split() for line in file]
    except OSError:
        return False
    return any(b"WRITE" in words and any(word.endswith(b":" + inode) for word in words) for words in lines)


def _links(root: Path) -> Iterator[tuple[bytes, bytes]]:
    for folder in _MERGED:
        path = root / folder
        try:
            if stat.S_ISLNK(path.lstat().st_mode):
                target = os.path.normpath(Path("/", folder).parent / os.readlink(path))
                yield b"/%b/" % folder.encode(), os.fsencode(target) + b"/"
        except OSError:
            continue


def _end(links: dict[bytes, bytes], name: bytes) -> bytes:
    """Follow a link that may lead to another."""
    for _ in links:
        name = links.get(name, name)
    return name


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_size, found.st_mtime_ns
