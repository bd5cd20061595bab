"""Which files of some folders have just been written whole: inotify(7).

A file counts when its writer closes it, or when it is renamed into its place or away. One that was only just made
holds nothing yet; a link holds all it ever will.
"""

import os
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from inotify_simple import INotify, flags  # pyright: ignore[reportMissingTypeStubs]  it has none

from shield.text import decode, encode

_FINISHED = flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE | flags.CREATE


class _Event(NamedTuple):
    wd: int
    mask: int
    cookie: int
    name: str


class _Kernel(Protocol):
    """inotify_simple.INotify, which has no types."""

    def fileno(self) -> int: ...
    def add_watch(self, path: bytes, mask: int) -> int: ...
    def read(self, timeout: int) -> list[_Event]: ...
    def close(self) -> None: ...


class WrittenFiles:
    """Watches `folders`, paths below `root`; one that is not there is watched when it comes, if its parent is."""

    def __init__(self, root: Path, folders: tuple[str, ...]) -> None:
        """Begin to watch. Raises OSError where the kernel has no watches left."""
        self._root = root
        self._wanted = folders
        self._kernel = cast("_Kernel", INotify())
        self._folders: dict[int, str] = {}
        try:
            for folder in folders:
                self._watch(folder)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return what becomes readable when something was written."""
        return self._kernel.fileno()

    def read(self) -> set[str] | None:
        """Return the paths below the root, and the folders that came; None where there were more than can be told."""
        paths: set[str] = set()
        for event in self._kernel.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                return None
            if event.mask & flags.IGNORED:
                self._folders.pop(event.wd, None)
                continue
            path = f"{self._folders.get(event.wd, '')}/{decode(os.fsencode(event.name))}"
            if path in self._wanted and event.mask & (flags.CREATE | flags.MOVED_TO):
                self._watch(path)
                paths.add(path)
            elif not event.mask & flags.CREATE or self._is_link(path):
                paths.add(path)
        return paths

    def close(self) -> None:
        """Watch no more."""
        self._kernel.close()

    def _watch(self, folder: str) -> None:
        if (self._root / folder).is_dir():
            self._folders[self._kernel.add_watch(below(self._root, folder), _FINISHED)] = folder

    def _is_link(self, path: str) -> bool:
        try:
            status = os.lstat(below(self._root, path))
        except OSError:
            return False
        return status.st_nlink > 1 or os.path.islink(below(self._root, path))


def below(root: Path, path: str) -> bytes:
    """Return a path, which may be any bytes (`shield.text`), below `root`."""
    return os.path.join(os.fsencode(root), encode(path))
