"""The file of the program that a process runs: opened so that it is surely that file, and what is in it.

The kernel's own link to it (/proc/PID/exe) is best: it leads there through other mount namespaces, and to files that
are deleted or never had a name. Where the process has ended, its path serves, if nothing says that another file has
taken that place meanwhile.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from msgspec import Struct

from shield.collector.linux.provenance.elf import ImageFacts, facts
from shield.event import Process
from shield.text import encode

GONE = "the program's file was gone before it was read"
UNREADABLE = "the program's file could not be read"
CHANGED = "the program's file changed while it was read"

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DELETED = b" (deleted)"
_CHUNK = 1 << 17

Identity = tuple[int, int, int, int, int]
"""One state of one file: device, inode, size, and the times of its last change, in nanoseconds (mtime, ctime)."""


class Unseen(Exception):
    """The program's file can't be had; the text, one of the above, says why."""


class Content(Struct, frozen=True, gc=False):
    """What is in a file. `hashes` are hexadecimal, by algorithm; none where the file is larger than is hashed."""

    facts: ImageFacts
    hashes: dict[str, str]


class OpenProgram(NamedTuple):
    """A program's file, opened for reading.

    `root` is where the tree that the process sees begins. `here` says that the same path leads this agent to the same
    file, so that the packages of this system are about it.
    """

    descriptor: int
    status: os.stat_result
    root: str
    here: bool

    @property
    def identity(self) -> Identity:
        """The state that the file was in when it was opened."""
        return identity_of(self.status)


def identity_of(status: os.stat_result) -> Identity:
    """Return which state of which file `status` is about."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def open_program(process: Process, started_ns: int, own_namespace: int) -> OpenProgram:
    """Open the program that `process` has run since `started_ns`, in Unix nanoseconds. Raises Unseen.

    `own_namespace` is this agent's mount namespace, as in `shield.event.Namespaces`.
    """
    reason = GONE
    for way in _ways(process, own_namespace):
        try:
            descriptor = os.open(way.link, _FLAGS if way.kernels else _FLAGS | os.O_NOFOLLOW)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except (OSError, ValueError):
            reason = UNREADABLE
            continue
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and _is_of(process, status, way, started_ns):
            here = _is_here(process, status)
            return OpenProgram(descriptor, status, "" if here else way.root, here)
        os.close(descriptor)
    raise Unseen(reason)


def read_content(
    program: OpenProgram, algorithms: Collection[str], most: int, pause: Callable[[int], None] | None = None
) -> Content:
    """Read the file once, and hash it where it has at most `most` bytes. Raises Unseen.

    `pause` is called with the number of bytes after each piece.
    """
    descriptor, size = program.descriptor, program.status.st_size
    try:
        found = facts(lambda offset, length: os.pread(descriptor, length, offset), size)
        hashes = _hashes(descriptor, size, algorithms, pause) if size <= most else {}
        if identity_of(os.fstat(descriptor)) != program.identity:
            raise Unseen(CHANGED)
    except OSError:
        raise Unseen(UNREADABLE) from None
    return Content(found, hashes)


def is_writable(path: str, program: OpenProgram) -> bool:
    """Return whether anybody may change the file, or a folder above it and so put another in its place.

    The group of a user's own name has nobody else in it. In a sticky folder such as /tmp others' files are safe, but
    not the place they stand in: it counts.
    """
    mode = program.status.st_mode
    if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and program.status.st_gid != program.status.st_uid):
        return True
    folder = path
    while folder := folder.rpartition("/")[0]:
        try:
            if os.stat(encode(program.root + folder)).st_mode & stat.S_IWOTH:
                return True
        except OSError:  # no longer there, or not ours to see
            return False
    return False


def namespace_of(pid: int | str) -> int:
    """Return the mount namespace of a process (`self` is this one), 0 where it can't be told."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0


class _Way(NamedTuple):
    """A way to a program's file; `kernels` says that it is the kernel's own link."""

    link: bytes
    root: str
    kernels: bool


def _ways(process: Process, own_namespace: int) -> Iterator[_Way]:
    """Yield the ways to the program, the surest first."""
    namespace = process.namespaces.mnt if process.namespaces is not None else 0
    root = "" if namespace == own_namespace else f"/proc/{process.pid}/root"
    yield _Way(b"/proc/%d/exe" % process.pid, root, True)
    if process.exe_memfd or process.exe_deleted or not process.exe:
        return
    if namespace in (own_namespace, 0):
        yield _Way(encode(process.exe), "", False)
    elif namespace_of(process.ppid) == namespace:  # a process that ended at once; its parent sees the same files
        root = f"/proc/{process.ppid}/root"
        yield _Way(encode(root + process.exe), root, False)


def _is_of(process: Process, status: os.stat_result, way: _Way, started_ns: int) -> bool:
    """Return whether a file is the one that the process runs: its id may be another process's by now."""
    if process.exe_inode and status.st_ino != process.exe_inode:
        return False
    if way.kernels:
        return bool(process.exe_inode) or _target(way.link) == encode(process.exe)
    # Whatever was put in this place, or written to, since the process started would have a later time of change.
    return status.st_ctime_ns <= started_ns


def _is_here(process: Process, status: os.stat_result) -> bool:
    try:
        found = os.stat(encode(process.exe))
    except (OSError, ValueError):
        return False
    return os.path.samestat(found, status)


def _target(link: bytes) -> bytes:
    try:
        return os.readlink(link).removesuffix(_DELETED)
    except OSError:
        return b""


def _hashes(
    descriptor: int, size: int, algorithms: Collection[str], pause: Callable[[int], None] | None
) -> dict[str, str]:
    hashers = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    left = size
    while chunk := os.read(descriptor, min(_CHUNK, left)):
        left -= len(chunk)
        for hasher in hashers.values():
            hasher.update(chunk)
        if pause is not None:
            pause(len(chunk))
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}
