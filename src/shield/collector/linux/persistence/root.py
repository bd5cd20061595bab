"""The host's files below a root folder, read so that nothing in them can hurt the reader.

A path is walked folder by folder, each opened in the one before (openat(2) with O_NOFOLLOW): nobody can exchange a
folder on the way, and no link leads out of the root. A symbolic link is followed if root made it, or if whoever made it
owns what it leads to; else a user could have the agent read what only root may. Only regular files are opened. All that
is read is bounded.
"""

import errno
import hashlib
import os
import stat
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from shield.collector.linux.persistence.place import Found
from shield.text import decode, encode

NAMES_MOST = 16_384
"""So many files of one folder are looked at."""

_CONTENT_MOST = 1 << 18
_HASHED_MOST = 1 << 23
_CHUNK = 1 << 18
_LINKS_MOST = 40  # as the kernel's own limit, path_resolution(7)
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


class _Reached(NamedTuple):
    """Where a path leads: a name in an opened folder. The path is without links; `status` is of what is there."""

    folder: int
    name: bytes
    path: str
    status: os.stat_result


class Root:
    """The files below `path`. `unreadable` says of those that could not be read why."""

    def __init__(self, path: str = "/") -> None:
        self._top = path
        self._names: dict[str, list[str]] = {}
        self._folders: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}

    def forget(self) -> None:
        """Look at every folder anew from now on."""
        self._names.clear()
        self._folders.clear()

    def folder(self, path: str) -> str:
        """Return the path of a folder without links in it, `""` where there is no such folder."""
        known = self._folders.get(path)
        if known is None:
            known = self._folders[path] = self._find_folder(path)
        return known

    def names(self, path: str) -> list[str]:
        """Return what is in a folder, in order; nothing where it can't be read."""
        known = self._names.get(path)
        if known is None:
            known = self._names[path] = self._list(path)
        return known

    def find(self, path: str, user: str = "") -> Found | None:
        """Return a file with its content, None where there is none."""
        return self._look(path, user, read=True)

    def stamp(self, path: str) -> tuple[int, ...]:
        """Return what `find` would give as the file's stamp, without reading it; empty where there is none."""
        found = self._look(path, "", read=False)
        return found.stamp if found else ()

    @contextmanager
    def opened(self, path: str) -> Generator[int]:
        """Give a descriptor of a folder, which only names it (O_PATH). Raises OSError."""
        with self._reach(path) as reached:
            folder = os.open(reached.name, _STEP | os.O_DIRECTORY, dir_fd=reached.folder)
        try:
            yield folder
        finally:
            os.close(folder)

    def _find_folder(self, path: str) -> str:
        try:
            with self._reach(path) as reached:
                self.unreadable.pop(path, None)
                return reached.path if stat.S_ISDIR(reached.status.st_mode) else ""
        except OSError as error:
            self._note(path, error)
            return ""

    def _list(self, path: str) -> list[str]:
        try:
            with self._reach(path) as reached:
                folder = os.open(reached.name, _LIST, dir_fd=reached.folder)
            try:
                with os.scandir(folder) as entries:
                    names = [decode(os.fsencode(one.name)) for one in islice(entries, NAMES_MOST + 1)]
            finally:
                os.close(folder)
        except OSError as error:
            self._note(path, error)
            return []
        if len(names) > NAMES_MOST:
            self.unreadable[path] = f"it holds more than {NAMES_MOST} files; the others are not looked at"
        return sorted(names[:NAMES_MOST])

    def _look(self, path: str, user: str, read: bool) -> Found | None:
        self.unreadable.pop(path, None)
        try:
            return self._look_at(path, user, read)
        except OSError as error:
            self._note(path, error)
            return None

    def _look_at(self, path: str, user: str, read: bool) -> Found | None:
        with self._reach(path, last_link=False) as reached:
            here, target, gap = reached.status, "", ""
            if not stat.S_ISLNK(here.st_mode):
                return self._found(path, reached, _stamp(here), "", user, read)
            target = decode(os.readlink(reached.name, dir_fd=reached.folder))
        try:
            with self._reach(path) as reached:
                return self._found(path, reached, (*_stamp(here), *_stamp(reached.status)), target, user, read)
        except OSError as error:
            gap = "it leads nowhere" if error.errno in _ABSENT else f"it is not followed: {error.strerror}"
        return _described(path, here, _stamp(here), target, user, gap)

    def _found(
        self, path: str, reached: _Reached, stamp: tuple[int, ...], target: str, user: str, read: bool
    ) -> Found | None:
        status, gap = reached.status, ""
        if stat.S_ISDIR(status.st_mode) and not target:
            return None
        if not stat.S_ISREG(status.st_mode):
            return _described(path, status, stamp, target, user, "it is no regular file")
        content, digest = b"", ""
        if read:
            try:
                content, digest = _read(reached)
                gap = "" if digest else f"it is too large to be hashed ({status.st_size >> 20} MiB)"
            except OSError as error:
                self._note(path, error)
                gap = f"it can't be read: {error.strerror}"
        return _described(path, status, stamp, target, user, gap, content, digest)

    @contextmanager
    def _reach(self, path: str, last_link: bool = True) -> Generator[_Reached]:
        """Walk `path`, and give where it leads; a link at its end is followed if `last_link`. Raises OSError."""
        walk = _Walk(self._top)
        try:
            yield walk.reach(path, last_link)
        finally:
            walk.close()

    def _note(self, path: str, error: OSError) -> None:
        if error.errno not in _ABSENT:
            self.unreadable[path] = error.strerror or str(error)


class _Walk:
    """One way down from `top`, with every folder on it held open."""

    def __init__(self, top: str) -> None:
        self._folders = [os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        self._parts: list[bytes] = []
        self._makers: set[int] = set()  # of the links on the way, other than root

    def reach(self, path: str, last_link: bool) -> _Reached:
        ahead = deque(_parts(encode(path)))
        status, name, links = os.fstat(self._folders[-1]), b".", 0
        while ahead:
            name = ahead.popleft()
            if name == b"..":
                self._up()
                status, name = os.fstat(self._folders[-1]), b"."
                continue
            status = os.stat(name, dir_fd=self._folders[-1], follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode) and (ahead or last_link):
                links += 1
                if links > _LINKS_MOST:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                self._follow(name, status, ahead)
                status, name = os.fstat(self._folders[-1]), b"."
            elif ahead:
                self._down(name)
        if self._makers - {status.st_uid}:
            raise OSError(errno.EACCES, "a link of another user leads to it")
        held = self._parts if name == b"." else [*self._parts, name]
        return _Reached(self._folders[-1], name, decode(b"/" + b"/".join(held)), status)

    def close(self) -> None:
        for folder in self._folders:
            os.close(folder)

    def _follow(self, name: bytes, status: os.stat_result, ahead: deque[bytes]) -> None:
        target = os.readlink(name, dir_fd=self._folders[-1])
        if status.st_uid:
            self._makers.add(status.st_uid)
        if target.startswith(b"/"):
            while len(self._folders) > 1:
                self._up()
        ahead.extendleft(reversed(_parts(target)))

    def _down(self, name: bytes) -> None:
        self._folders.append(os.open(name, _STEP | os.O_DIRECTORY, dir_fd=self._folders[-1]))
        self._parts.append(name)

    def _up(self) -> None:
        if len(self._folders) > 1:
            os.close(self._folders.pop())
            self._parts.pop()


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def _read(reached: _Reached) -> tuple[bytes, str]:
    """Return the beginning of a regular file, and the digest of all of it, `""` where that is too much."""
    file = os.open(reached.name, _READ, dir_fd=reached.folder)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_ino != reached.status.st_ino:
            raise OSError(errno.ESTALE, "it was exchanged while it was read")
        content = b""
        digest, size = hashlib.sha256(), 0
        while size < _HASHED_MOST and (chunk := os.read(file, _CHUNK)):
            digest.update(chunk)
            size += len(chunk)
            content = content or chunk[:_CONTENT_MOST]
        return content, "" if size >= _HASHED_MOST else digest.hexdigest()
    finally:
        os.close(file)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode, status.st_uid


def _described(
    path: str,
    status: os.stat_result,
    stamp: tuple[int, ...],
    target: str,
    user: str,
    gap: str,
    content: bytes = b"",
    digest: str = "",
) -> Found:
    mode = stat.S_IMODE(status.st_mode)
    return Found(path, mode, status.st_uid, status.st_gid, status.st_size, stamp, content, digest, target, user, gap)
