"""What changes in what makes programs run again: added, changed, removed, each told once, with its difference.

The kernel wakes the source where something happens (inotify); a slow look at everything, in small slices, finds what
the kernel did not tell. A change is told a moment after it began, so that a burst is one change, and whoever wrote the
file is known by then. What came and went again within that moment is told as added, then removed. What changed while
nobody watched is told by comparing with the state that `restore` was given.
"""

import os
import select
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from shield.collector.linux.persistence.change import Teller
from shield.collector.linux.persistence.files import KnownFiles, Moment, Unchanged
from shield.collector.linux.persistence.inventory import OwnerOf, every_place, nobody
from shield.collector.linux.persistence.root import Root
from shield.collector.linux.persistence.search import Site, Wait, search, search_one
from shield.collector.linux.persistence.users import Users
from shield.collector.linux.persistence.watches import CAME, WENT, Overflow, Renamed, Told, Touch, Watches
from shield.collector.linux.timerfd import TimerFd
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.record import Record

_BATCH = 1024
_PENDING_MOST = 16_384
_RENAMES_MOST = 1024
_PAUSE_S = 0.1  # between two slices of the slow look
_AGAIN_S = 10.0  # until everything is looked at again where something was lost
_UNWATCHED = "it changed while Shield was not watching"


class PersistenceOptions(Struct, frozen=True):
    """How the host is watched: below `root`, all of it looked at every `every_s` seconds.

    A change is told `settle_s` after it began. One read takes about `slice_s`. At most `watches` folders are watched; a
    difference is at most `diff_length` characters long.
    """

    root: str = "/"
    every_s: float = 300.0
    settle_s: float = 0.3
    slice_s: float = 0.01
    watches: int = 8192
    diff_length: int = 4096


class PersistenceSource:
    """Changes of everything in the inventory. `owner_of` names the package of a path."""

    provides: frozenset[Kind] = frozenset({"persistence"})
    name = "persistence"
    interval: float | None = None
    remedies: dict[str, str] = {  # noqa: RUF012
        "queue_overflow": "Raise fs.inotify.max_queued_events. All was looked at again; what came and went is lost.",
        "too_many_changes": "Look for a program that writes thousands of files where programs are started from.",
    }

    def __init__(self, options: PersistenceOptions | None = None, owner_of: OwnerOf = nobody) -> None:
        self._options = options or PersistenceOptions()
        self._root = Root(self._options.root)
        self._users: Users | None = None
        self._files = KnownFiles(self._root, Teller(owner_of, self._user_name, self._options.diff_length))
        self._pending: dict[str, tuple[float, Moment]] = {}
        self._leaving: dict[int, Moment] = {}
        self._ready: deque[Record] = deque()
        self._ways: dict[tuple[str, str], Wait] = {}
        self._look: Iterator[None] | None = None
        self._next_look = 0.0
        self._watches: Watches | None = None
        self._timer: TimerFd | None = None
        self._poll: select.epoll | None = None
        self._seen = 0
        self._filtered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self.blind_spots: tuple[str, ...] = self._blind_spots()

    def restore(self, stored: bytes) -> None:
        """Compare with what `state` gave in an earlier run. Call it before `open`. Raises StateDamaged (ValueError)."""
        self._files.restore(stored)

    def state(self) -> bytes:
        """Return what is known of all files, without secrets."""
        return self._files.state()

    def open(self) -> None:
        """Watch every folder, and look at everything once. Raises SourceUnavailable."""
        if not os.path.isdir(self._options.root):
            raise SourceUnavailable(self.name, f"there is no folder {self._options.root}", "name another root")
        try:
            self._timer, self._poll = TimerFd(), select.epoll()
        except OSError as error:
            self._free()
            raise SourceUnavailable(self.name, f"no timer: {error.strerror}", "raise the limit of open files") from None
        self._poll.register(self._timer, select.EPOLLIN)
        self._seen = 0
        self._filtered, self._dropped = Counter(), Counter()
        try:
            self._watches = Watches(self._root, self._options.watches)
            self._poll.register(self._watches.fd, select.EPOLLIN)
        except OSError:
            self._watches = None  # the slow look is left, and blind_spots says so
        for _ in self._looking(beginning=True):
            continue
        self._files.complete()
        self._next_look = time.monotonic() + self._options.every_s
        self.blind_spots = self._blind_spots()
        self._arm()

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable when something happens, or is due."""
        return self._poll.fileno() if self._poll else None

    def read(self) -> list[Record]:
        """Return the changes that are due to be told, at most 1,024."""
        if self._poll is None:
            self._settle(float("inf"))
        else:
            self._work(time.monotonic() + self._options.slice_s)
        return [self._ready.popleft() for _ in range(min(_BATCH, len(self._ready)))]

    def count(self) -> Count:
        """Return the totals, in changes of a file or of an entry in it."""
        waiting = len(self._pending) + len(self._ready)
        return Count(self._seen, dict(self._filtered), dict(self._dropped), waiting)

    def stop(self) -> None:
        """Watch no more; what happened so far is due at once."""
        if self._watches is not None:
            with suppress(OSError):  # it may be closed because it can't be read any more
                self._watches.read()
            self._hear(float("inf"))
        if self._poll is not None:
            self._files.leave()
        self._free()

    def close(self) -> None:
        """Watch no more."""
        self.stop()

    def _free(self) -> None:
        for one in (self._watches, self._timer, self._poll):
            if one is not None:
                one.close()
        self._watches = self._timer = self._poll = self._look = None
        self._ways.clear()
        self._leaving.clear()

    def _work(self, until: float) -> None:
        if self._watches is not None:
            self._watches.read()
            self._hear(until)
        self._settle(until)
        self._search_ways(until)
        self._look_on(until)
        self._arm()

    def _arm(self) -> None:
        """Have the descriptor wake its reader when the next thing is due."""
        if self._timer is None:
            return
        now = time.monotonic()
        due = [self._next_look if self._look is None else now + _PAUSE_S]
        due += [when for when, _ in list(self._pending.values())[:1]]
        if self._ready or self._ways or (self._watches and self._watches.waiting):
            due.append(now)
        self._timer.arm(max(0.0, min(due) - now))

    def _hear(self, until: float) -> None:
        """Note what the kernel tells, and read at once what is new: it may be gone in a moment."""
        fresh: dict[str, Moment] = {}
        while self._watches is not None and self._watches.waiting and time.monotonic() < until:
            for one in self._watches.told():
                self._note(one, fresh)
        for moment in fresh.values():
            moment.glimpse = self._files.examined(moment.site) or moment.glimpse

    def _note(self, told: Told, fresh: dict[str, Moment]) -> None:
        match told:
            case Touch(site, mask, cookie):
                moment = self._touched(site)
                if moment is not None:
                    moment.came |= bool(mask & CAME)
                    fresh[site.path] = moment
                    if mask & WENT and cookie and len(self._leaving) < _RENAMES_MOST:
                        self._leaving[cookie] = moment
            case Renamed(cookie):
                moment = self._leaving.pop(cookie, None)
                if moment is not None:  # a file that was written beside another, then put in its place
                    moment.came, moment.glimpse = False, None
                    fresh.pop(moment.site.path, None)
            case Overflow():
                self._drop("queue_overflow")
            case Wait():
                self._ways[told.place.pattern, told.user.home if told.user else ""] = told

    def _touched(self, site: Site, gaps: tuple[str, ...] = ()) -> Moment | None:
        now_ns = time.time_ns()
        _, moment = self._pending.get(site.path, (0.0, None))
        if moment is not None:
            moment.latest_ns = now_ns
            return moment
        if len(self._pending) >= _PENDING_MOST:
            self._drop("too_many_changes")
            return None
        self._seen += 1
        moment = Moment(site, now_ns, now_ns, gaps=gaps)
        self._pending[site.path] = time.monotonic() + self._options.settle_s, moment
        return moment

    def _drop(self, reason: str) -> None:
        """Count something that is lost, and look at everything soon."""
        self._seen += 1
        self._dropped[reason] += 1
        self._next_look = min(self._next_look, time.monotonic() + _AGAIN_S)

    def _settle(self, until: float) -> None:
        """Make records of what is due, the oldest first; of everything once the source has stopped."""
        while self._pending and len(self._ready) < _BATCH:
            path, (due, moment) = next(iter(self._pending.items()))
            now = time.monotonic()
            if now > until or (self._poll is not None and due > now):
                return
            del self._pending[path]
            try:
                told = self._files.settled(moment)
            except Unchanged as reason:
                self._filtered[str(reason)] += 1
                continue
            self._ready.extend(told)
            self._seen += len(told) - 1

    def _search_ways(self, until: float) -> None:
        """Search the places that a new folder may have led to."""
        if self._ways:
            self._root.forget()
        while self._ways and time.monotonic() < until:
            _, way = self._ways.popitem()
            for step in search_one(self._root, way.place, way.user):
                self._step(step, beginning=False)

    def _look_on(self, until: float) -> None:
        """Look at the next few of all files, or begin anew if it is time."""
        if self._look is None:
            if time.monotonic() < self._next_look:
                return
            self._next_look = time.monotonic() + self._options.every_s
            self._look = self._looking(beginning=False)
        while time.monotonic() < until:
            if next(self._look, self) is self:
                self._look = None
                return

    def _looking(self, beginning: bool) -> Iterator[None]:
        """Look at everything, step by step."""
        self._root.forget()
        self._users = Users(self._root)
        seen: set[str] = set()
        for place in every_place():
            for step in search(self._root, place, self._users.homes):
                if not isinstance(step, Site):
                    self._step(step, beginning)
                elif step.path not in seen:
                    seen.add(step.path)
                    self._step(step, beginning)
                yield
        for site in list(self._files.missing(seen)):
            self._touched(site, (_UNWATCHED,) if beginning else ())
            yield

    def _step(self, step: Site | Wait, beginning: bool) -> None:
        if isinstance(step, Wait):
            if self._watches is not None:
                self._watches.add(step)
        elif beginning and self._files.is_first(step):
            self._files.learn(step)
        elif self._files.is_changed(step):
            self._touched(step, (_UNWATCHED,) if beginning else ())

    def _user_name(self, uid: int) -> str:
        return self._users.name(uid) if self._users else f"#{uid}"

    def _blind_spots(self) -> tuple[str, ...]:
        every = f"{self._options.every_s:g} s"
        spots = [
            "Who made a change is known only where another source saw the file being written.",
            "A file that comes and goes within a moment is told, but not always what was in it.",
            "What comes and goes within a moment, in a folder that itself has just come, is not seen.",
        ]
        if self._watches is None:
            spots.append(f"The kernel gives no inotify instance: changes are found within {every}, not at once.")
        elif self._watches.refused:
            refused = f"{len(self._watches.refused)} folders can't be watched (fs.inotify.max_user_watches)"
            spots.append(f"{refused}: they are looked at every {every}.")
        if self._root.unreadable:
            spots.append(f"{len(self._root.unreadable)} files and folders can't be read by this user.")
        return tuple(spots)
