"""Changes of files become observations: what one process does to one file in a moment is told once.

A kernel reports creating, writing and changing the mode of a file one by one. Here they wait until the file has been
left alone for a moment, are joined by what the file is like then and was like before, and by its hash, for which they
wait a moment more. What was folded into another observation, or changed nothing, is counted.
"""

import time
from collections import Counter, OrderedDict, deque
from typing import NamedTuple

import msgspec

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.files.facts import Facts, look
from shield.collector.linux.files.groups import GroupNames
from shield.collector.linux.files.hashing import NOT_HASHED_IN_TIME, TOO_LARGE, FileHasher, HashJob
from shield.collector.linux.files.inventory import Inventory
from shield.event import Category, File
from shield.record import Actor, Observation
from shield.text import decode

CREATED, WRITTEN, ATTRIBUTES, DELETED, RENAMED, EMPOWERED = 1, 2, 4, 8, 16, 32
"""What was done to a file; one burst may hold several.

EMPOWERED is a file that gives power when its creation is noticed: it was made so, unless somebody made it so since.
"""

SETTLE_S = 0.2
BURST_S = 1.0
HASH_WAIT_S = 0.4

FOLDED, UNCHANGED = "folded", "unchanged"

GONE = "the file was gone before it could be looked at"
UNKNOWN_BEFORE = "what the file was like before is not known"
OLD_NAME_UNKNOWN = "the old name of the file is not known"
NEW_NAME_UNKNOWN = "the file was moved away; where to is not known"

_OPEN_MOST = 16_384
_TOLD_MOST = 4096
_SURE_NS = 1_000_000_000


class Change(NamedTuple):
    """Something done to the file at `path`, in the set `place`. `gaps` are those of whoever saw it."""

    what: int
    path: bytes
    place: str
    actor: Actor | None
    old_path: bytes = b""
    gaps: tuple[str, ...] = ()


class _Burst:
    """Changes of one file by one process, `number` of them, still going on."""

    __slots__ = ("actor", "began", "gaps", "last", "number", "old_path", "path", "place", "seen_ns", "ts_ns", "what")

    def __init__(self, change: Change, now: float) -> None:
        self.what, self.path, self.place, self.actor, self.old_path, self.gaps = change
        self.number = 1
        self.ts_ns = time.time_ns()
        self.seen_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.began = self.last = now

    def by(self, actor: Actor | None) -> bool:
        """Whether `actor` is who does this; one that has ended meanwhile is known by its pid alone."""
        if actor is None or self.actor is None:
            return actor is self.actor
        mine, other = self.actor.start_ticks, actor.start_ticks
        return self.actor.pid == actor.pid and (mine == other or not mine or not other)

    def add(self, change: Change, now: float) -> None:
        """Take in another change by the same process."""
        self.what |= change.what
        self.number += 1
        self.last = now

    def absorb(self, earlier: "_Burst") -> None:
        """Go on where `earlier` left off, under the file's old name."""
        self.what |= earlier.what & ~DELETED
        self.number += earlier.number
        self.old_path = earlier.old_path or earlier.path
        self.began, self.ts_ns, self.seen_ns = earlier.began, earlier.ts_ns, earlier.seen_ns
        if earlier.actor is not None and self.actor is not None and not self.actor.start_ticks:
            self.actor, self.gaps = earlier.actor, earlier.gaps


class _Waiting(NamedTuple):
    """Observations without the hash yet, and until when they wait for it."""

    drafts: list[Observation]
    number: int
    job: HashJob | None
    until: float

    @property
    def ready(self) -> bool:
        return self.job is None or self.job.done


class FileChanges:
    """Takes changes in and gives observations out; `filtered` counts by reason what came to none of its own.

    In changes taken in: all = given out - `extra` + filtered + `pending`. `extra` counts the observations that came
    beside another from the same changes.
    """

    def __init__(self, inventory: Inventory, hasher: FileHasher, hash_limit: int) -> None:
        self.filtered: Counter[str] = Counter()
        self.extra = 0
        self._inventory = inventory
        self._hasher = hasher
        self._hash_limit = hash_limit
        self._users = UserNames()
        self._groups = GroupNames()
        self._open: OrderedDict[bytes, _Burst] = OrderedDict()  # those left alone longest first
        self._waiting: deque[_Waiting] = deque()
        self._told: OrderedDict[bytes, tuple[Actor | None, int]] = OrderedDict()

    @property
    def pending(self) -> int:
        """How many changes are still going on, or wait for a hash."""
        return sum(burst.number for burst in self._open.values()) + sum(one.number for one in self._waiting)

    def add(self, change: Change, now: float) -> None:
        """Take in a change; `now` is on the monotonic clock."""
        path = change.path
        burst = self._open.pop(path, None)
        if burst is not None and burst.what == EMPOWERED and change.what & ATTRIBUTES and not burst.by(change.actor):
            self.filtered[FOLDED] += burst.number
            burst = None
        elif burst is not None and (not burst.by(change.actor) or change.what == RENAMED):
            self._close(burst, now, overtaken=True)
            burst = None
        if burst is None:
            burst = _Burst(change, now)
            if change.what == RENAMED:
                self._follow(burst, now)
        else:
            burst.add(change, now)
        self._open[path] = burst
        if now - burst.began > BURST_S:
            self._close(self._open.pop(path), now)
        elif len(self._open) > _OPEN_MOST:
            self._close(self._open.popitem(last=False)[1], now)

    def is_open(self, path: bytes) -> bool:
        """Whether a change of `path` is going on."""
        return path in self._open

    def take(self, most: int, now: float) -> list[Observation]:
        """Return up to `most` observations that are complete, or have waited for their hash long enough."""
        while self._open and (oldest := next(iter(self._open.values()))).last + SETTLE_S <= now:
            del self._open[oldest.path]
            self._close(oldest, now)
        complete: list[Observation] = []
        while self._waiting and len(complete) < most:
            head = self._waiting[0]
            if not head.ready and now < head.until:
                break
            self._waiting.popleft()
            complete += self._completed(head)
        return complete

    def finish(self, now: float) -> None:
        """Let nothing go on: what there is can be taken as soon as it is hashed."""
        while self._open:
            self._close(self._open.popitem(last=False)[1], now)

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds `take` has something to do, None for when there is nothing."""
        moments: list[float] = []
        if self._open:
            moments.append(next(iter(self._open.values())).last + SETTLE_S)
        if self._waiting:
            moments.append(now if self._waiting[0].ready else self._waiting[0].until)
        return max(0.0, min(moments) - now) if moments else None

    def refresh(self) -> None:
        """Follow changes of the names of users and groups."""
        self._users.refresh()
        self._groups.refresh()

    def _follow(self, burst: _Burst, now: float) -> None:
        """Join a renaming with what the same process did to the file under its old name."""
        earlier = self._open.pop(burst.old_path, None)
        if earlier is None:
            return
        if earlier.by(burst.actor) and earlier.old_path != burst.path:
            burst.absorb(earlier)
        else:
            self._close(earlier, now, burst.path, overtaken=True)

    def _close(self, burst: _Burst, now: float, found_at: bytes = b"", overtaken: bool = False) -> None:
        """Look at the file, and let the observations wait for its hash.

        It may have another path by now, `found_at`. `overtaken` says that others have begun to change it.
        """
        found_at = found_at or burst.path
        if burst.what & EMPOWERED:
            burst.what = burst.what & ~EMPOWERED | ATTRIBUTES
        facts = look(found_at, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        before = self._inventory.get(burst.path)
        if burst.what & (CREATED | DELETED | RENAMED) == CREATED:
            before = None  # there was none: it was learnt just now
        moved = self._inventory.forget(burst.old_path) if burst.what & RENAMED else None
        unknown = before is None and not burst.what & (CREATED | RENAMED)
        if before is not None and facts is not None and not burst.what & RENAMED and _same(before, facts):
            reason = self._nothing_new(burst, before)
            if reason:
                self.filtered[reason] += burst.number
                return
            before, unknown = None, True
        if burst.what == ATTRIBUTES and before is not None and facts is not None and before.same_rights(facts):
            self._inventory.record(burst.path, msgspec.structs.replace(facts, sha256=before.sha256))
            self.filtered[UNCHANGED] += burst.number
            return
        facts, job, why_not = self._hashed(burst, found_at, facts, before or moved)
        self._remember(burst, facts)
        gaps = list(burst.gaps)
        if facts is None and not burst.what & DELETED:
            gaps.append(GONE)
        if unknown:
            gaps.append(UNKNOWN_BEFORE)
        if why_not:
            gaps.append(why_not)
        drafts = [
            Observation(
                ts_ns=burst.ts_ns,
                category=category,
                actor=burst.actor,
                file=self._file(burst, place, facts, before),
                gaps=tuple(gaps),
            )
            for category, place in _told_as(burst, facts, before, moved, overtaken)
        ]
        self._waiting.append(_Waiting(drafts, burst.number, job, now + HASH_WAIT_S))

    def _nothing_new(self, burst: _Burst, before: Facts) -> str:
        """Return why a file that is as it was known needs no telling; `""` where what was known may hold the change."""
        told = self._told.get(burst.path)
        if told is not None and told[1] == before.changed_ns and burst.by(told[0]):
            return FOLDED
        return UNCHANGED if before.taken_ns + _SURE_NS < burst.seen_ns else ""

    def _hashed(
        self, burst: _Burst, found_at: bytes, facts: Facts | None, before: Facts | None
    ) -> tuple[Facts | None, HashJob | None, str]:
        """Return the facts with the hash where it is known already, else who will hash it, else why nobody does."""
        if facts is None or not facts.is_regular or not (burst.place or facts.power):
            return facts, None, ""
        if before is not None and before.sha256 and not burst.what & (CREATED | WRITTEN) and _same_file(before, facts):
            return msgspec.structs.replace(facts, sha256=before.sha256), None, ""
        if facts.size > self._hash_limit:
            return facts, None, TOO_LARGE
        path, bare = burst.path, facts
        return facts, self._hasher.submit(found_at, lambda sha256: self._inventory.add_hash(path, bare, sha256)), ""

    def _remember(self, burst: _Burst, facts: Facts | None) -> None:
        if facts is None:
            self._inventory.forget(burst.path)
            self._told.pop(burst.path, None)
        elif burst.place or facts.power:
            self._inventory.record(burst.path, facts)
            self._told[burst.path] = burst.actor, facts.changed_ns
            self._told.move_to_end(burst.path)
            if len(self._told) > _TOLD_MOST:
                self._told.popitem(last=False)

    def _file(self, burst: _Burst, place: str, facts: Facts | None, before: Facts | None) -> File:
        known = {} if before is None or not before.sha256 else {"sha256": before.sha256}
        old = File(
            path=decode(burst.path),
            old_path=decode(burst.old_path),
            place=place,
            old_hashes=known,
            old_size=before.size if before else None,
            old_mode=before.mode if before else None,
            old_owner=before.owner if before else None,
            old_group=before.group if before else None,
        )
        if facts is None:
            return old
        return msgspec.structs.replace(
            old,
            size=facts.size,
            mode=facts.mode,
            owner=facts.owner,
            owner_name=self._users.name(facts.owner),
            group=facts.group,
            group_name=self._groups.name(facts.group),
            inode=facts.inode,
            device=facts.device,
            target=decode(facts.target),
            hashes={"sha256": facts.sha256} if facts.sha256 else {},
        )

    def _completed(self, waiting: _Waiting) -> list[Observation]:
        drafts, number, job, _ = waiting
        self.filtered[FOLDED] += number - 1
        self.extra += len(drafts) - 1
        if job is None:
            return drafts
        if job.sha256:
            hashes = {"sha256": job.sha256}
            return [
                msgspec.structs.replace(draft, file=draft.file and msgspec.structs.replace(draft.file, hashes=hashes))
                for draft in drafts
            ]
        why_not = job.why_not or NOT_HASHED_IN_TIME
        return [msgspec.structs.replace(draft, gaps=(*draft.gaps, why_not)) for draft in drafts]


def _told_as(
    burst: _Burst, facts: Facts | None, before: Facts | None, moved: Facts | None, overtaken: bool
) -> list[tuple[Category, str]]:
    """Return as what a burst is told, and in which set of places.

    That a file gives power to those who run it is told by itself, whatever else was done to it; of whoever only wrote a
    file that others change since, it is not.
    """
    what, place = burst.what, burst.place
    gains = facts is not None and facts.power != "" and facts.power not in _powers(before, moved)
    power = facts.power if facts is not None else ""
    if what == ATTRIBUTES:
        return [("file_attribute", power if gains or not place else place)]
    told: list[tuple[Category, str]] = []
    if what & RENAMED:
        told.append(("file_rename", place))
    elif what & CREATED and (facts is not None or before is None):
        told.append(("file_create", place))
    elif what & WRITTEN and not (facts is None and what & DELETED):
        told.append(("file_write", place))
    elif facts is not None and what & ATTRIBUTES:
        told.append(("file_attribute", place))
    if facts is None and what & DELETED:
        told.append(("file_delete", place))
    elif gains and (what & ATTRIBUTES or not overtaken):
        told.append(("file_attribute", power))
    # Somebody else has made the file anew before this could be looked at.
    return told or [("file_delete", place)]


def _powers(*facts: Facts | None) -> list[str]:
    return [one.power for one in facts if one is not None]


def _same(before: Facts, now: Facts) -> bool:
    return before.changed_ns == now.changed_ns and before.inode == now.inode and before.device == now.device


def _same_file(before: Facts, now: Facts) -> bool:
    return before.inode == now.inode and before.device == now.device and before.size == now.size
