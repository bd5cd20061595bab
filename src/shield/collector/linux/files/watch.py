"""What the sources of file changes have in common: the inventory, the hashing and the folding, and when to wake up.

A source adds the changes it sees and takes observations. When the kernel lost events, `compare` finds what they were
about by looking at every sensitive file again.
"""

import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from shield.collector.linux.files.change import (
    ATTRIBUTES,
    CREATED,
    DELETED,
    RENAMED,
    WRITTEN,
    Change,
    FileChanges,
)
from shield.collector.linux.files.hashing import FileHasher
from shield.collector.linux.files.inventory import Difference, Inventory, join, survey
from shield.collector.linux.files.place import Places
from shield.collector.linux.files.sensitive import FileOptions
from shield.collector.linux.timerfd import TimerFd
from shield.collector.source import Count
from shield.record import Actor, Observation

COMPARED = "the change was found by comparing, after events were lost"

_WAKE_S = 60.0
_QUEUE_EMPTIES_S = 0.5


class FileWatch:
    """Turns changes into observations. `found` counts those that came from no event: by comparing, or with a directory.

    Raises OSError where the kernel gives no timer.
    """

    def __init__(self, options: FileOptions, places: Places) -> None:
        self.found = 0
        self._options = options
        self._places = places
        self._inventory = Inventory(places, options.known_files)
        self._timer = TimerFd()
        self._hasher = FileHasher(options.hash_limit, options.hash_rate)
        self._changes = FileChanges(self._inventory, self._hasher, options.hash_limit)
        self._hasher.when_idle(self._learn())
        self._timer.arm(_WAKE_S)

    @property
    def filenos(self) -> tuple[int, int]:
        """Descriptors that become readable when there is something to take; once a minute in any case."""
        return self._hasher.fileno(), self._timer.fileno()

    def count(self, seen: int, filtered: Counter[str], dropped: Counter[str]) -> Count:
        """Return the totals of a source that has seen so many events, and itself filtered and dropped some of them.

        Observations that came from no event (beside another, by comparing, or with a directory) count as seen.
        """
        return Count(
            seen=seen + self._changes.extra + self.found,
            filtered=dict(filtered + self._changes.filtered),
            dropped=dict(dropped),
            pending=self._changes.pending,
        )

    @property
    def left_out(self) -> int:
        """How many sensitive files are not in the inventory, because it is full."""
        return self._inventory.left_out

    def add(self, change: Change) -> None:
        """Take in a change that the source saw."""
        self._changes.add(change, time.monotonic())

    def directory_renamed(self, old: bytes, new: bytes, actor: Actor | None, gaps: tuple[str, ...]) -> None:
        """Take in the renaming of a directory: every sensitive file below it has another path now."""
        self._inventory.directory_renamed(old, new)
        moved = {path[len(old) :]: self._places.place(path) for path in self._inventory.below(old)}
        for listed in survey(self._places, new):
            for name in listed.files:
                if place := listed.folder.place(name):
                    moved[join(listed.path, name)[len(new) :]] = place
        for rest, place in moved.items():
            self.found += 1
            self.add(Change(RENAMED, new + rest, place, actor, old + rest, gaps))

    def directory_appeared(self, path: bytes, actor: Actor | None, gaps: tuple[str, ...]) -> None:
        """Take in the files of a directory that came into being with them, or before it was watched."""
        for listed in survey(self._places, path):
            for name in listed.files:
                place = listed.folder.place(name)
                full = join(listed.path, name)
                if place and self._inventory.get(full) is None and not self._changes.is_open(full):
                    self.found += 1
                    self.add(Change(CREATED, full, place, actor, gaps=gaps))

    def compare(self) -> None:
        """Look in the background for what was missed; without effect before the inventory is complete."""
        if self._inventory.complete:
            self._hasher.when_idle(
                chain((_QUEUE_EMPTIES_S,), self._inventory.compare(self._hasher.wake), self._learn())
            )

    def take(self, most: int) -> list[Observation]:
        """Return up to `most` observations, oldest first, and wake up again when the next are due."""
        self._timer.due()
        self._hasher.acknowledge()
        self._changes.refresh()
        self._take_differences(most)
        now = time.monotonic()
        taken = self._changes.take(most, now)
        due_in = self._changes.due_in(now)
        self._timer.arm(_WAKE_S if due_in is None else min(due_in, _WAKE_S))
        return taken

    def finish(self) -> None:
        """Let nothing go on: the hashes that are not there yet are not waited for."""
        self._changes.finish(time.monotonic())
        self._timer.arm(0)

    def close(self) -> None:
        """End the thread; what is pending stays so."""
        self._hasher.close()
        self._timer.close()

    def _learn(self) -> Iterator[float]:
        return self._inventory.learn(self._hasher.hash, self._options.hash_limit, self._options.known_bytes)

    def _take_differences(self, most: int) -> None:
        for _ in range(most):
            if not self._inventory.differences:
                return
            different = self._inventory.differences.popleft()
            told = self._inventory.get(different.path) is not different.before
            if not told and not self._changes.is_open(different.path):
                self.found += 1
                what = _what(different)
                self.add(Change(what, different.path, different.place, None, gaps=(COMPARED,)))


def _what(different: Difference) -> int:
    before, now = different.before, different.now
    if before is None:
        return CREATED
    if now is None:
        return DELETED
    return WRITTEN if before.same_rights(now) or before.size != now.size else ATTRIBUTES
