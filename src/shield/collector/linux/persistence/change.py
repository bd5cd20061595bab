"""What a file's change means: which of the things that it starts came, went or became others."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from shield.collector.linux.persistence.diff import unified
from shield.collector.linux.persistence.inventory import OwnerOf, nobody
from shield.collector.linux.persistence.item import Entry
from shield.collector.linux.persistence.state import Kept
from shield.event import File, Persistence
from shield.record import Observation

TOLD_MOST = 32
"""So many entries of one change are told one by one."""

Change = Literal["added", "changed", "removed"]
_UNSEEN = "what changed is counted as a secret, or lies beyond the part that is kept for comparison"


class Step(Struct, frozen=True):
    """A file's change at `ts_ns` from `old` to `new`; None is that it isn't there."""

    old: Kept | None
    new: Kept | None
    ts_ns: int
    gaps: tuple[str, ...] = ()


class Teller:
    """Makes observations of steps. `owner_of` names the package of a path, `user_name` the user with an id."""

    def __init__(self, owner_of: OwnerOf, user_name: Callable[[int], str], diff_most: int) -> None:
        self._owner_of = owner_of
        self._user_name = user_name
        self._diff_most = diff_most

    def told(self, step: Step) -> Iterator[Observation]:
        """Yield an observation for each entry that changed; the first carries the diff."""
        old, new = step.old, step.new
        latest = new or old
        if latest is None:
            return
        diff = unified(old.text if old else "", new.text if new else "", self._diff_most)
        changes = list(_changes(old, new))
        gaps = step.gaps
        if old and new and not diff and old.sha256 != new.sha256 and (old.text or new.text):
            gaps = (*gaps, _UNSEEN)
        if len(changes) > TOLD_MOST:
            gaps = (*gaps, f"{len(changes) - TOLD_MOST} more entries of this file changed with it")
        package = self._owner_of(latest.path) if changes else ""
        unowned = not package and self._owner_of is not nobody
        for change, one, first_seen_ns in changes[:TOLD_MOST]:
            yield Observation(
                ts_ns=step.ts_ns,
                category="persistence_change",
                persistence=Persistence(
                    mechanism=latest.mechanism,
                    path=latest.path,
                    change=change,
                    name=one.name,
                    command=one.command,
                    trigger=one.trigger,
                    run_as=one.run_as,
                    owner=self._user_name(latest.uid),
                    package=package,
                    package_state="unowned" if unowned else "",
                    hashes=_hashes(new),
                    old_hashes=_hashes(old),
                    diff=diff,
                    first_seen_ns=first_seen_ns,
                ),
                file=_file(old, new or latest, package),
                gaps=gaps,
            )
            diff = ""


def _changes(old: Kept | None, new: Kept | None) -> Iterator[tuple[Change, Entry, int]]:
    """Yield what became of each entry that is not as it was, or of the file where all entries are."""
    before, after = old.entries if old else (), new.entries if new else ()
    since = dict(zip(before, old.first_seen_ns, strict=True)) if old else {}
    came_at = dict(zip(after, new.first_seen_ns, strict=True)) if new else {}
    gone, come = _less(before, after), _less(after, before)
    same = not gone and not come
    for one in come:
        former = next((other for other in gone if other.name == one.name), None)
        if former is None:
            yield "added", one, came_at[one]
        else:
            gone.remove(former)
            yield "changed", one, since[former]
    for one in gone:
        yield "removed", one, since[one]
    if same and old and after:
        yield "changed", after[0] if len(after) == 1 else Entry(""), min(old.first_seen_ns)


def _less(some: Sequence[Entry], others: Sequence[Entry]) -> list[Entry]:
    return list((Counter(some) - Counter(others)).elements())


def _hashes(kept: Kept | None) -> dict[str, str]:
    return {"sha256": kept.sha256} if kept and kept.sha256 else {}


def _file(old: Kept | None, now: Kept, package: str) -> File:
    before = old if old is not now else None
    return File(
        path=now.path,
        hashes=_hashes(now),
        size=now.size,
        mode=now.mode,
        owner=now.uid,
        group=now.gid,
        target=now.target,
        old_hashes=_hashes(before),
        old_size=before.size if before else None,
        old_mode=before.mode if before else None,
        old_owner=before.uid if before else None,
        old_group=before.gid if before else None,
        package=package,
    )
