"""What a file is like at a moment (stat(2)): enough to say what a change changed, without its content."""

import os
import stat
from contextlib import suppress

from msgspec import Struct

_CAPABILITIES = "security.capability"


class Facts(Struct, frozen=True, gc=False):
    """A file as it was `taken_ns` after boot. `target` is where a symbolic link leads; `sha256` is hexadecimal or `""`.

    `power` names what running it gives: `setuid`, `setgid` or `capabilities`, `""` for no more than the user has.
    """

    mode: int
    owner: int
    group: int
    size: int
    inode: int
    device: int
    changed_ns: int
    taken_ns: int
    target: bytes = b""
    sha256: str = ""
    power: str = ""

    @property
    def is_regular(self) -> bool:
        """Whether it is an ordinary file, with content."""
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    def same_rights(self, other: "Facts") -> bool:
        """Whether the same people may do the same with it, and running it gives the same."""
        mine = self.mode, self.owner, self.group, self.power
        return mine == (other.mode, other.owner, other.group, other.power)


def look(path: bytes, taken_ns: int) -> Facts | None:
    """Return what the file at `path` is like now, None where there is none or it can't be seen."""
    try:
        status = os.lstat(path)
        target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else b""
    except OSError:
        return None
    return Facts(
        mode=status.st_mode,
        owner=status.st_uid,
        group=status.st_gid,
        size=status.st_size,
        inode=status.st_ino,
        device=status.st_dev,
        changed_ns=status.st_ctime_ns,
        taken_ns=taken_ns,
        target=target,
        power=power(path, status.st_mode),
    )


def power_at(path: bytes) -> str:
    """Return what running the file at `path` gives, `""` also for what can't be looked at."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return ""
    return power(path, mode)


def power(path: bytes, mode: int) -> str:
    """Return what running the file gives beyond the user's own rights (execve(2), capabilities(7)), `""` for nothing.

    A set-group-id bit without the group's right to execute meant mandatory locking once and gives nothing.
    """
    if not stat.S_ISREG(mode):
        return ""
    if mode & stat.S_ISUID:
        return "setuid"
    if mode & stat.S_ISGID and mode & stat.S_IXGRP:
        return "setgid"
    if mode & 0o111:
        with suppress(OSError):  # the file system keeps no attributes, or the file has not this one
            os.getxattr(path, _CAPABILITIES, follow_symlinks=False)
            return "capabilities"
    return ""
