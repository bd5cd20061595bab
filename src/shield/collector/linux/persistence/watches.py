"""The kernel's word on what happens in the folders of all places: inotify(7).

A folder is watched by what it was opened as, not by its path, so that a link put in its way leads nowhere. Where the
kernel gives no more watches, the folder is left to the slow look at everything.
"""

import errno
import os
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Protocol, cast

from inotify_simple import INotify, flags  # pyright: ignore[reportMissingTypeStubs]  it has none

from shield.collector.linux.persistence.root import Root
from shield.collector.linux.persistence.search import Site, Wait
from shield.text import decode

CAME = flags.CREATE | flags.MOVED_TO
"""A name that was not there before."""
WENT = flags.DELETE | flags.MOVED_FROM

_GONE = flags.DELETE_SELF | flags.MOVE_SELF
_FILES = CAME | WENT | flags.CLOSE_WRITE | flags.ATTRIB | _GONE
_WAYS = CAME | _GONE
_ALWAYS = flags.ONLYDIR | flags.MASK_ADD | flags.EXCL_UNLINK


class _Event(NamedTuple):
    wd: int
    mask: int
    cookie: int
    name: str


class _Kernel(Protocol):
    """inotify_simple.INotify, which has no types."""

    def fileno(self) -> int: ...
    def add_watch(self, path: str, mask: int) -> int: ...
    def rm_watch(self, wd: int) -> None: ...
    def read(self, timeout: int) -> list[_Event]: ...
    def close(self) -> None: ...


class Touch(NamedTuple):
    """Something happened to a file of a place. `cookie` joins the two names of a rename."""

    site: Site
    mask: int
    cookie: int


class Renamed(NamedTuple):
    """A name came that was another before, whether or not it is one of a place."""

    cookie: int


class Overflow(NamedTuple):
    """The kernel's queue was full: something happened that nobody knows of."""


class _Folder:
    def __init__(self, path: str) -> None:
        self.path = path
        self.waits: dict[tuple[str, str, str], Wait] = {}
        self.mask = 0


Told = Touch | Renamed | Wait | Overflow


class Watches:
    """Watches at most `most` folders below `root`."""

    def __init__(self, root: Root, most: int) -> None:
        self.refused: set[str] = set()
        """The folders that are not watched because there are too many."""
        self._root = root
        self._most = most
        self._inotify = cast("_Kernel", INotify(nonblocking=True))
        self._folders: dict[int, _Folder] = {}
        self._descriptors: dict[str, int] = {}
        self._raw: deque[_Event] = deque()

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when something happens."""
        return self._inotify.fileno()

    def __len__(self) -> int:
        return len(self._folders)

    def add(self, wait: Wait) -> None:
        """Watch a folder for what may come there."""
        folder = self._folders.get(self._descriptors.get(wait.folder, -1)) or _Folder(wait.folder)
        user = wait.user.home if wait.user else ""
        folder.waits[wait.place.pattern, wait.names.pattern, user] = wait
        mask = _FILES if wait.files else _WAYS
        if mask & ~folder.mask:
            folder.mask |= mask
            self._watch(folder)

    def read(self) -> None:
        """Take what the kernel has; `told` gives it."""
        self._raw.extend(self._inotify.read(timeout=0))

    @property
    def waiting(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._raw)

    def told(self) -> list[Told]:
        """Return what the oldest event means, or nothing; a Wait is a way to a place that has come."""
        return list(self._interpreted(self._raw.popleft())) if self._raw else []

    def close(self) -> None:
        """Watch nothing any more."""
        self._inotify.close()

    def _watch(self, folder: _Folder) -> None:
        if len(self._folders) >= self._most:
            self.refused.add(folder.path)
            return
        try:
            with self._root.opened(folder.path) as opened:
                descriptor = self._inotify.add_watch(f"/proc/self/fd/{opened}", folder.mask | _ALWAYS)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self.refused.add(folder.path)
            return
        self.refused.discard(folder.path)
        self._folders[descriptor] = folder
        self._descriptors[folder.path] = descriptor

    def _interpreted(self, event: _Event) -> Iterator[Told]:
        if event.mask & flags.Q_OVERFLOW:
            yield Overflow()
        folder = self._folders.get(event.wd)
        if folder is None:
            return
        if event.mask & (_GONE | flags.IGNORED):
            self._forget(event, folder)
            yield from folder.waits.values()
            return
        if event.mask & flags.MOVED_TO:
            yield Renamed(event.cookie)
        name = decode(os.fsencode(event.name))
        for wait in folder.waits.values():
            if not wait.takes(name):
                continue
            if not wait.files:
                yield wait
            elif not event.mask & flags.ISDIR:
                site = Site(f"{folder.path.rstrip('/')}/{name}", wait.place, wait.user.name if wait.user else "")
                yield Touch(site, event.mask, event.cookie)
                return

    def _forget(self, event: _Event, folder: _Folder) -> None:
        self._folders.pop(event.wd, None)
        if self._descriptors.get(folder.path) == event.wd:
            del self._descriptors[folder.path]
        if event.mask & flags.MOVE_SELF:
            self._inotify.rm_watch(event.wd)
