"""Which file systems are watched as a whole: those that hold a sensitive place, and those that let programs gain power.

A mark is put on each once, wherever else it is mounted too. What can't be marked is kept with the reason.
"""

import errno
import os
import struct
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from shield.collector.linux.files.fanotify_call import (
    FAN_ATTRIB,
    FAN_CLOSE_WRITE,
    FAN_CREATE,
    FAN_DELETE,
    FAN_MARK_ADD,
    FAN_MARK_FILESYSTEM,
    FAN_MARK_FLUSH,
    FAN_MOVED_FROM,
    FAN_MOVED_TO,
    FAN_ONDIR,
    FAN_RENAME,
    mark,
)
from shield.collector.linux.kernel.mounts import Mount, parse_mount
from shield.text import decode, encode

_MOUNTINFO = Path("/proc/self/mountinfo")
_CHANGES = FAN_CREATE | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_DELETE | FAN_ONDIR
_RENAME_PAIR = FAN_MOVED_FROM | FAN_MOVED_TO
_FSID = struct.Struct("=II")
_MARKS_MOST = 64
# With a disk, or memory, of their own. Others may wait for a network, or show what another one holds.
_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "bcachefs", "zfs", "tmpfs", "vfat", "exfat"})
_REFUSALS = {
    errno.EXDEV: "it is part of a file system with several identities, such as a subvolume",
    errno.ENODEV: "it has no identity that events could name",
    errno.EOPNOTSUPP: "it gives no handles of files",
    errno.ENOSPC: "there are too many marks",
    errno.EPERM: "the kernel does not permit it",
}


class Marks:
    """The marks of the fanotify `group`. `mounts` gets, for each marked file system, where it is, by its id.

    `refused` gives the reason for each mount point that holds something sensitive and could not be marked,
    `refused_most` says that one of them is where most of it is. `halves` says that the kernel tells renamings in two.
    """

    def __init__(self, group: int, bases: Iterable[bytes], mounts: dict[bytes, bytes]) -> None:
        self.refused: dict[str, str] = {}
        self.refused_most = False
        self.halves = False
        self._group = group
        self._bases = [decode(base) for base in bases]
        self._mounts = mounts
        self._table: bytes = b""

    def renew(self) -> None:
        """Mark what is worth it, if any mount changed; a file system that was away has lost its mark.

        Raises OSError where the mounts can't be read.
        """
        table = _MOUNTINFO.read_bytes()
        if table == self._table:
            return
        self._table = table
        self.refused.clear()
        self._mounts.clear()
        mounts = [mount for line in table.splitlines() if (mount := parse_mount(line))]
        chosen = worth_marking(mounts, self._bases)
        for mount, wanted in chosen:
            self._add(mount, wanted)
        self.refused_most = any(mount.point in self.refused for mount, _ in chosen[:1])

    def flush(self) -> None:
        """Remove all marks; events that were queued before can still be read."""
        with suppress(OSError):
            mark(self._group, FAN_MARK_FLUSH | FAN_MARK_FILESYSTEM, 0, b"/")

    def _add(self, mount: Mount, wanted: bool) -> None:
        try:
            if mount.type not in (*_LOCAL, "overlay"):
                raise OSError(errno.EOPNOTSUPP, "")
            point = encode(mount.point)
            fsid = file_system_id(point)
            if fsid in self._mounts or len(self._mounts) >= _MARKS_MOST:
                return
            self._mark(point)
            self._mounts[fsid] = point
        except OSError as error:
            if wanted:
                reason = _REFUSALS.get(error.errno or 0, os.strerror(error.errno or 0))
                self.refused[mount.point] = f"{mount.type}: {reason}"

    def _mark(self, point: bytes) -> None:
        """Mark a file system; kernels before 5.17 tell the two halves of a renaming apart."""
        flags = FAN_MARK_ADD | FAN_MARK_FILESYSTEM
        if not self.halves:
            try:
                mark(self._group, flags, _CHANGES | FAN_RENAME, point)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self.halves = True
            else:
                return
        mark(self._group, flags, _CHANGES | _RENAME_PAIR, point)


def worth_marking(mounts: list[Mount], bases: Iterable[str]) -> list[tuple[Mount, bool]]:
    """Return the mounts to mark, most sensitive first, and whether they hold anything sensitive.

    Of the others, those count where a program may gain power: local, writable, and not mounted `nosuid`.
    """
    holds = Counter(found.id for base in bases if (found := holding(base, mounts)))
    rest = [mount for mount in mounts if not holds[mount.id] and _gives_power(mount)]
    held = sorted(
        (mount for mount in mounts if holds[mount.id]), key=lambda mount: (-holds[mount.id], mount.root != "/")
    )
    rest.sort(key=lambda mount: (mount.root != "/", len(mount.point)))
    return [(mount, True) for mount in held] + [(mount, False) for mount in rest]


def holding(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """Return the mount that `path` is in: the one mounted nearest to it, and last of those."""
    found: Mount | None = None
    for mount in mounts:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if inside and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def file_system_id(path: bytes) -> bytes:
    """Return the id by which events name the file system of `path` (statfs(2), f_fsid). Raises OSError."""
    number = os.statvfs(path).f_fsid
    return _FSID.pack(number & 0xFFFF_FFFF, number >> 32)


def _gives_power(mount: Mount) -> bool:
    options = mount.options.split(",")
    return mount.type in _LOCAL and "nosuid" not in options and "ro" not in options
