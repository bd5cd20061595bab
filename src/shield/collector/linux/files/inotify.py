"""Changes of files in sensitive places from inotify(7), for hosts and containers where fanotify can't be used.

Each directory is watched by itself, new ones as they appear, up to a bound. inotify does not tell who did it.
"""

import select
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from shield.collector.linux.files.change import (
    ATTRIBUTES,
    CREATED,
    DELETED,
    NEW_NAME_UNKNOWN,
    OLD_NAME_UNKNOWN,
    RENAMED,
    WRITTEN,
    Change,
)
from shield.collector.linux.files.inotify_queue import InotifyEvent, InotifyQueue, flags
from shield.collector.linux.files.inventory import join, survey
from shield.collector.linux.files.place import Folder, Places
from shield.collector.linux.files.sensitive import FileOptions
from shield.collector.linux.files.watch import FileWatch
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.record import Record

OVERFLOW = "queue_overflow"
NOT_SENSITIVE, DIRECTORY, WATCH_ENDED = "not_sensitive", "directory", "watch_ended"

_BATCH = 512
_MASK = (
    flags.CREATE
    | flags.CLOSE_WRITE
    | flags.ATTRIB
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.ONLYDIR
    | flags.DONT_FOLLOW
    | flags.EXCL_UNLINK
)
_DONE = (
    (flags.CREATE, CREATED),
    (flags.CLOSE_WRITE, WRITTEN),
    (flags.ATTRIB, ATTRIBUTES),
    (flags.DELETE | flags.MOVED_FROM, DELETED),
)
_NOTHING = Count(seen=0, filtered={}, dropped={}, pending=0)


class _Watched(NamedTuple):
    path: bytes
    folder: Folder


class InotifySource:
    """Changes in the sensitive places of `options`, without the process behind them."""

    name = "inotify"
    provides: frozenset[Kind] = frozenset(("file",))
    interval: float | None = None
    remedies: dict[str, str] = {  # noqa: RUF012
        OVERFLOW: "Raise fs.inotify.max_queued_events with sysctl and restart Shield, or give the agent more CPU; "
        "the sensitive places were compared with what they were like before.",
    }

    def __init__(self, options: FileOptions | None = None) -> None:
        """Raises ValueError for a place that is not an absolute path."""
        self._options = options or FileOptions()
        self._places = Places(self._options.globs(), self._options.excluded())
        self._seen = 0
        self._filtered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._final = _NOTHING
        self._inotify: InotifyQueue | None = None
        self._watched: dict[int, _Watched] = {}
        self._unwatched = 0
        self._changes: FileWatch | None = None
        self._epoll: select.epoll | None = None

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """What can't be seen, here and now."""
        bound = (
            f"{self._unwatched} sensitive directories are not watched: the limit is reached or they can't be read.",
        )
        return (
            "Which process changed a file is not known.",
            "Setuid and setgid programs outside of the sensitive places are not seen.",
            "A file in a new directory that is gone before the directory is watched is not seen.",
            *(bound if self._unwatched else ()),
        )

    def open(self) -> None:
        """Watch the directories there are, and begin to learn what the files are like. Raises SourceUnavailable."""
        self._seen = self._unwatched = 0
        self._filtered.clear()
        self._dropped.clear()
        try:
            self._inotify = InotifyQueue()
            self._watch_below(b"/")
            if not self._watched:
                raise SourceUnavailable(
                    self.name, "no directory could be watched", "raise fs.inotify.max_user_watches with sysctl"
                )
            self._changes = FileWatch(self._options, self._places)
            self._epoll = select.epoll()
            for descriptor in (self._inotify.fileno(), *self._changes.filenos):
                self._epoll.register(descriptor, select.EPOLLIN)
        except SourceUnavailable:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise SourceUnavailable(self.name, str(error), "raise fs.inotify.max_user_instances with sysctl") from None

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable with an event, and when one is complete."""
        return self._epoll.fileno() if self._epoll else None

    def read(self) -> list[Record]:
        """Return up to 512 observations; each has waited until its file was left alone for a moment."""
        if self._changes is None:
            return []
        if self._inotify is not None:
            self._drain(self._inotify, self._changes)
        return list(self._changes.take(_BATCH))

    def count(self) -> Count:
        """Return the totals in events of the kernel, and observations that came from no event of their own.

        One `queue_overflow` stands for all the events that found no room in the kernel's queue until it had room again.
        """
        if self._changes is None:
            return self._final
        return self._changes.count(self._seen, self._filtered, self._dropped)

    def stop(self) -> None:
        """Watch no more; what was captured before can still be read."""
        if self._inotify is None or self._changes is None:
            return
        self._drain(self._inotify, self._changes)
        self._inotify.close()
        self._inotify = None
        self._watched.clear()
        self._changes.finish()

    def close(self) -> None:
        """Watch no more, and end the thread."""
        with suppress(OSError):  # it may be closed because it can't be read any more
            self.stop()
        if self._changes is not None:
            self._final = self.count()
            self._changes.close()
            self._changes = None
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _drain(self, inotify: InotifyQueue, changes: FileWatch) -> None:
        """Take in the events that are there: at most what the kernel's queue holds."""
        for event in inotify.read():
            self._seen += 1
            self._take(event, changes)

    def _take(self, event: InotifyEvent, changes: FileWatch) -> None:
        mask = event.mask
        if mask & flags.Q_OVERFLOW:
            self._dropped[OVERFLOW] += 1
            self._watch_below(b"/")
            changes.compare()
            return
        watched = self._watched.get(event.watch)
        if mask & flags.IGNORED:
            self._watched.pop(event.watch, None)
        if mask & flags.IGNORED or watched is None:
            self._filtered[WATCH_ENDED] += 1
        elif mask & flags.ISDIR:
            self._take_directory(event, watched, changes)
        else:
            self._take_file(event, watched, changes)

    def _take_file(self, event: InotifyEvent, watched: _Watched, changes: FileWatch) -> None:
        path, place = _named(watched, event)
        moved_to = event.moved_to
        there = self._watched.get(moved_to.watch) if moved_to is not None else None
        if moved_to is not None and there is not None:
            new, new_place = _named(there, moved_to)
            change = Change(RENAMED, new, new_place or place, None, path)
        elif event.mask & flags.MOVED_TO:
            change = Change(RENAMED, path, place, None, gaps=(OLD_NAME_UNKNOWN,))
        else:
            gaps = (NEW_NAME_UNKNOWN,) if event.mask & flags.MOVED_FROM else ()
            change = Change(sum(done for bit, done in _DONE if event.mask & bit), path, place, None, gaps=gaps)
        if change.place and change.what:
            changes.add(change)
        else:
            self._filtered[NOT_SENSITIVE] += 1

    def _take_directory(self, event: InotifyEvent, watched: _Watched, changes: FileWatch) -> None:
        """Watch a directory that is new here, with the files it came with; follow one to its new path."""
        self._filtered[DIRECTORY] += 1
        path, _ = _named(watched, event)
        moved_to = event.moved_to
        there = self._watched.get(moved_to.watch) if moved_to is not None else None
        if event.mask & flags.MOVED_FROM:
            self._unwatch_below(path)
        if moved_to is not None and there is not None:
            new, _ = _named(there, moved_to)
            self._watch_below(new)
            changes.directory_renamed(path, new, None, ())
        elif event.mask & (flags.CREATE | flags.MOVED_TO):
            self._watch_below(path)
            changes.directory_appeared(path, None, ())

    def _watch_below(self, path: bytes) -> None:
        """Watch the sensitive directories from `path` on; those that can't be are counted."""
        for listed in survey(self._places, path):
            try:
                self._add(_Watched(listed.path, listed.folder))
            except OSError:
                self._unwatched += 1

    def _add(self, watched: _Watched) -> None:
        """Raises OSError where the kernel's limit for the user is reached, or the directory can't be watched."""
        if self._inotify is None:
            return
        if len(self._watched) >= self._options.watches:
            raise OSError
        # The same directory has the same number, also when it is watched again.
        self._watched[self._inotify.add(watched.path, _MASK)] = watched

    def _unwatch_below(self, path: bytes) -> None:
        prefix = path + b"/"
        for number, watched in list(self._watched.items()):
            if watched.path == path or watched.path.startswith(prefix):
                del self._watched[number]
                with suppress(OSError):  # the directory is gone, and its watch with it
                    if self._inotify is not None:
                        self._inotify.remove(number)


def _named(watched: _Watched, event: InotifyEvent) -> tuple[bytes, str]:
    """Return the path of what an event is about, and the set of places it is in."""
    if not event.name:
        return watched.path, watched.folder.everything
    return join(watched.path, event.name), watched.folder.place(event.name)
