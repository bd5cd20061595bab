"""One inotify instance (inotify(7)), typed, and the two halves of a renaming put together."""

import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

from inotify_simple import INotify, flags  # pyright: ignore[reportMissingTypeStubs]: it has none


class InotifyEvent(NamedTuple):
    """What happened (`mask`) to `name` in the directory with the number `watch`.

    `name` is empty for the directory itself. `moved_to` is where something was renamed to, if that is watched too.
    """

    watch: int
    mask: int
    cookie: int
    name: bytes
    moved_to: "InotifyEvent | None" = None


class InotifyQueue:
    """Directories to watch, and the events of those."""

    def __init__(self) -> None:
        """Raises OSError where the user has too many instances."""
        self._inotify = cast(Any, INotify(nonblocking=True))  # the library has no types

    def fileno(self) -> int:
        """Return a descriptor that becomes readable with an event."""
        return self._inotify.fileno()

    def add(self, path: bytes, mask: int) -> int:
        """Watch the directory `path`; return its number, the same for the same directory. Raises OSError."""
        return self._inotify.add_watch(path, mask)

    def remove(self, watch: int) -> None:
        """Watch a directory no more. Raises OSError where it is gone already."""
        self._inotify.rm_watch(watch)

    def read(self) -> list[InotifyEvent]:
        """Return the events that are there, at most what the kernel's queue holds."""
        events = (InotifyEvent(watch, mask, cookie, os.fsencode(name)) for watch, mask, cookie, name in self._read())
        return list(paired(events))

    def close(self) -> None:
        """Watch nothing more."""
        self._inotify.close()

    def _read(self) -> list[tuple[int, int, int, str]]:
        return self._inotify.read(timeout=0)


def paired(events: Iterable[InotifyEvent]) -> Iterator[InotifyEvent]:
    """Yield `events`, each first half of a renaming with the second in it, if that follows at once."""
    held: InotifyEvent | None = None
    for event in events:
        if held is not None and event.mask & flags.MOVED_TO and event.cookie == held.cookie:
            yield held._replace(moved_to=event)
            held = None
            continue
        if held is not None:
            yield held
            held = None
        if event.mask & flags.MOVED_FROM:
            held = event
        else:
            yield event
    if held is not None:
        yield held
