"""Directories by the handles that fanotify gives, each with its path and what is sensitive in it; remembered.

A path holds until the directory, or one above it, is renamed. A handle is never given to another directory later.
"""

import os
from collections import OrderedDict

from shield.collector.linux.files.fanotify_call import open_handle
from shield.collector.linux.files.place import Folder, Places

_FSID_BYTES = 8
_KNOWN_MOST = 8192


class KnownFolder:
    """A directory; `inside` is what is sensitive in it, None for nothing."""

    __slots__ = ("inside", "path")

    def __init__(self, path: bytes, inside: Folder | None) -> None:
        self.path = path
        self.inside = inside


class Folders:
    """Finds directories below the marked file systems: `mounts` says where each is, by the id that fanotify gives it.

    None is kept open, so that an administrator can unmount it.
    Those without anything sensitive are forgotten first once there are too many.
    """

    def __init__(self, places: Places) -> None:
        self.mounts: dict[bytes, bytes] = {}
        self._places = places
        self._known: OrderedDict[bytes, KnownFolder] = OrderedDict()

    def find(self, handle: bytes) -> KnownFolder | None:
        """Return the directory, None where it is gone."""
        return self._known.get(handle) or self._resolve(handle)

    def renamed(self, path: bytes) -> None:
        """Forget the paths that a renaming of the directory `path` has made wrong."""
        prefix = path + b"/"
        stale = [key for key, known in self._known.items() if known.path.startswith(prefix) or known.path == path]
        for key in stale:
            del self._known[key]

    def forget(self) -> None:
        """Forget everything."""
        self._known.clear()
        self.mounts.clear()

    def _resolve(self, handle: bytes) -> KnownFolder | None:
        mount = self.mounts.get(handle[:_FSID_BYTES])
        if mount is None:
            return None
        try:
            opened = _open(mount, handle[_FSID_BYTES:])
        except OSError:
            return None
        try:
            # A directory that was removed while somebody holds it open has a path that was another's, or will be.
            if not os.fstat(opened).st_nlink:
                return None
            path = os.readlink(b"/proc/self/fd/%d" % opened)
        except OSError:
            return None
        finally:
            os.close(opened)
        found = KnownFolder(path, self._places.folder(path))
        self._known[handle] = found
        if len(self._known) > _KNOWN_MOST:
            self._forget_one()
        return found

    def _forget_one(self) -> None:
        """Forget the directory known longest, unless it is sensitive and has not been passed over before."""
        handle, oldest = self._known.popitem(last=False)
        if oldest.inside is not None:
            self._known[handle] = oldest
            self._known.popitem(last=False)


def _open(mount: bytes, handle: bytes) -> int:
    """Return a descriptor of the directory. Raises OSError where it, or the file system, is gone."""
    root = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_handle(root, handle)
    finally:
        os.close(root)
