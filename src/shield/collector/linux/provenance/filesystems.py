"""Which file systems answer by themselves: reading from others may wait for a network, or for a hostile program (FUSE).

A file system is known by its device number as the kernel holds it: the minor number in the lower 20 bits.
"""

import os
import re
import select
from contextlib import suppress

from shield.text import decode

_MOUNTS = "/proc/self/mountinfo"
_MINOR_BITS = 20
# Those without a block device of their own, but with nobody else to wait for (/proc/filesystems, `nodev`).
_LOCAL = frozenset({b"tmpfs", b"devtmpfs", b"ramfs", b"overlay", b"btrfs", b"zfs", b"bcachefs", b"hugetlbfs"})
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class LocalFilesystems:
    """Tells local file systems from others by this process's mounts; follows every change of those.

    They are read at the first question. Where they can't be, only what has a number of hardware is local.
    """

    def __init__(self) -> None:
        self._file = -1
        self._changed = select.poll()
        self._local: frozenset[int] = frozenset()
        self._others: frozenset[int] = frozenset()
        self._below_others: tuple[str, ...] = ()

    def local(self, device: int, path: str) -> bool:
        """Return whether all that is asked about a file is answered at once; `device` is 0 where it isn't known.

        A device without a number of hardware that isn't mounted here, such as a container's, may be anything.
        """
        if self._file < 0:
            self._open()
        elif self._changed.poll(0):
            self._read()
        known = not device or device >> _MINOR_BITS or device in self._local
        return bool(known) and device not in self._others and not path.startswith(self._below_others)

    def close(self) -> None:
        """Follow mounts no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        """Begin to follow the mounts: the kernel marks an open table of them when they change."""
        with suppress(OSError):
            self._file = os.open(_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
            self._changed.register(self._file, select.POLLPRI)
            self._read()

    def _read(self) -> None:
        """Read the mounts (proc_pid_mountinfo(5)): device and place are words 2 and 4, the type is behind the dash."""
        os.lseek(self._file, 0, os.SEEK_SET)
        with open(self._file, "rb", closefd=False) as file:
            lines = [line.partition(b" - ") for line in file]
        mounts = [(before.split(), behind.split()[0]) for before, _, behind in lines if behind]
        local = [words for words, kind in mounts if _is_local(_device(words[2]), kind)]
        others = [words for words, kind in mounts if not _is_local(_device(words[2]), kind)]
        self._local = frozenset(_device(words[2]) for words in local)
        self._others = frozenset(_device(words[2]) for words in others)
        self._below_others = tuple(_place(words[4]) for words in others)


def _is_local(device: int, kind: bytes) -> bool:
    return kind in _LOCAL or bool(device >> _MINOR_BITS and not kind.startswith(b"fuse"))


def _device(text: bytes) -> int:
    major, _, minor = text.partition(b":")
    return int(major) << _MINOR_BITS | int(minor)


def _place(escaped: bytes) -> str:
    return decode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), escaped)).rstrip("/") + "/"
