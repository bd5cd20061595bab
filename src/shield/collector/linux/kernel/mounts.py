"""Mounts that cover the system: what hides a file or a whole folder of it behind something else, or unlocks one.

The kernel says when its table of mounts has changed, by an exceptional condition on mountinfo (proc(5)); what changed
is found by comparing the lines. The table is that of the host's own mount namespace: containers have theirs.
"""

import os
import re
import select
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from shield.collector.linux.timerfd import TimerFd
from shield.event import System
from shield.record import Observation
from shield.text import decode

PLACES = (
    *("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/sbin", "/usr"),
    *("/var/lib/dpkg", "/var/lib/rpm", "/var/log", "/var/spool/cron"),
)
"""Folders of the system: what is mounted over one of them, or below it, is told."""

# A host whose containers come and go changes its table many times a second; it is read at most this often.
_PAUSE_S = 0.5
_READ_BYTES = 1 << 16
_PROTECTIONS = frozenset(("ro", "nosuid", "nodev", "noexec"))
_ORDINARY = frozenset(
    (
        ("/proc/sys/fs/binfmt_misc", "autofs"),
        ("/proc/sys/fs/binfmt_misc", "binfmt_misc"),
        ("/proc/fs/nfsd", "nfsd"),
        ("/boot", "autofs"),
        ("/boot/efi", "autofs"),
    )
)
_DISK_POINTS = frozenset(("/boot", "/boot/efi", "/root", "/usr", "/usr/local", "/var/log"))
_FILE_BINDS_BELOW = ("/run/", "/snap/", "/var/lib/containers/", "/var/lib/docker/", "/var/lib/kubelet/")
_OCTAL = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of mountinfo. `root` is what of its file system is mounted, `point` where."""

    id: int
    root: str
    point: str
    options: str
    type: str
    source: str
    super_options: str

    @property
    def what(self) -> tuple[str, ...]:
        """What is mounted where: all but the options."""
        return self.root, self.point, self.type, self.source

    @property
    def protections(self) -> frozenset[str]:
        """What this mount forbids, of the things that matter to an attacker."""
        given = {*self.options.split(","), *self.super_options.split(",")}
        return frozenset(one for one in given if one in _PROTECTIONS or one.startswith("hidepid="))


class Change(NamedTuple):
    """A mount that was made, undone, or has other options than `before`."""

    kind: Literal["mount", "unmount", "remount"]
    mount: Mount
    before: Mount | None = None


class Mounts:
    """The mount namespace whose mountinfo this is; `own` is that of this process, for where the other may not be read.

    Another process's is shown only to root.
    """

    def __init__(self, mountinfo: Path, own: Path | None = None) -> None:
        self._choices = (mountinfo, own) if own is not None else (mountinfo,)
        self._root = mountinfo.parent / "root"
        self._file = -1
        self._timer: TimerFd | None = None
        self._lines: set[bytes] = set()
        self._read_at = 0.0

    def open(self) -> dict[int, int]:
        """Remember the mounts there are; return what to wait for, epoll events by descriptor. Raises OSError."""
        self._file, path = self._opened()
        self._root = path.parent / "root"
        self._timer = TimerFd()
        self._lines = self._table()
        return {self._file: select.EPOLLPRI, self._timer.fileno(): select.EPOLLIN}

    def look(self) -> Iterator[Observation | str]:
        """Yield the mounts that were made, changed and undone since the last look, or why one is not told.

        An epoll set inside another may swallow the condition, so this compares whatever the reason of the wake-up.
        """
        if self._timer is None:
            return
        self._timer.due()
        waited = time.monotonic() - self._read_at
        if waited < _PAUSE_S:
            self._timer.arm(_PAUSE_S - waited)
            return
        self._read_at = time.monotonic()
        before, self._lines = self._lines, self._table()
        ts_ns = time.time_ns()
        for change in changes(before - self._lines, self._lines - before):
            found = self._judged(change)
            yield found if isinstance(found, str) else Observation(ts_ns, "system_change", system=found)

    def close(self) -> None:
        """Forget the namespace; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _opened(self) -> tuple[int, Path]:
        *others, last = self._choices
        for path in others:
            with suppress(OSError):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC), path
        return os.open(last, os.O_RDONLY | os.O_CLOEXEC), last

    def _table(self) -> set[bytes]:
        os.lseek(self._file, 0, os.SEEK_SET)
        parts: list[bytes] = []
        while part := os.read(self._file, _READ_BYTES):
            parts.append(part)
        return set(b"".join(parts).splitlines())

    def _judged(self, change: Change) -> System | str:
        kind, mount, before = change
        if before is not None:
            return remounted(before, mount)
        place = next((place for place in PLACES if mount.point == place or mount.point.startswith(place + "/")), "")
        covers = place or (mount.point if kind == "mount" and self._hides_file(mount) else "")
        if not covers:
            return "ordinary_place"
        if _is_ordinary(mount):
            return "ordinary_mount"
        source = mount.source if mount.root == "/" else f"{mount.source}:{mount.root}"
        return System(kind, mount.point, source, mount.type, mount.options, covers)

    def _hides_file(self, mount: Mount) -> bool:
        """Whether a file is covered by another; namespaces are kept alive by mounting them on files, too."""
        if mount.type == "nsfs" or mount.point.startswith(_FILE_BINDS_BELOW):
            return False
        try:
            return stat.S_ISREG(os.lstat(f"{self._root}{mount.point}").st_mode)
        except OSError:
            return False


def remounted(old: Mount, new: Mount) -> System | str:
    """Return what a change of options unlocked, or why it is not told."""
    if not old.protections - new.protections:
        return "not_weaker"
    return System("remount", new.point, new.source, new.type, _options(new), old_options=_options(old))


def changes(gone: set[bytes], added: set[bytes]) -> Iterator[Change]:
    """Yield what the lines that went and those that came mean, in the order of the mounts' ids."""
    before, after = ({one.id: one for one in map(parse_mount, lines) if one} for lines in (gone, added))
    for number in sorted(before.keys() | after.keys()):
        old, new = before.get(number), after.get(number)
        if old is not None and new is not None and old.what == new.what:
            yield Change("remount", new, old)
            continue
        if old is not None:
            yield Change("unmount", old)
        if new is not None:  # the number of a mount that is gone may be given to another one
            yield Change("mount", new)


def parse_mount(line: bytes) -> Mount | None:
    """Return the mount in a line of mountinfo, None for a line in another form."""
    fields, separator, behind = line.partition(b" - ")
    first, last = fields.split(b" "), behind.split(b" ")
    if not separator or len(first) < 6 or len(last) < 3 or not first[0].isdigit():
        return None
    root, point, options, kind, source, super_options = map(_text, (*first[3:6], *last[:3]))
    return Mount(int(first[0]), root, point, options, kind, source, super_options)


def _text(field: bytes) -> str:
    """Return a field; the kernel writes blanks, tabs, line ends and backslashes in it as octal numbers."""
    return decode(_OCTAL.sub(lambda found: bytes((int(found[1], 8) & 0xFF,)), field))


def _options(mount: Mount) -> str:
    """Return a mount's own options and, of its file system's, those that protect."""
    own = mount.options.split(",")
    return ",".join([*own, *sorted(mount.protections.difference(own))])


def _is_ordinary(mount: Mount) -> bool:
    if (mount.point, mount.type) in _ORDINARY:
        return True
    whole_disk = mount.root == "/" and mount.source.startswith("/dev/") and not mount.source.startswith("/dev/loop")
    return whole_disk and mount.point in _DISK_POINTS
