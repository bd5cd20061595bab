"""What is remembered of one kind: on how many days each subject was seen, and on which one last. Bounded.

Known subjects and those still on trial are kept apart. A flood of new ones pushes out others on trial, the longest
unseen first, never what is known. Known ones are pushed out only by newly known ones, and leave an eighth of the room
to those on trial.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from shield.scorer.baseline.observation import Subject

EVICTED_NEW = "evicted_on_trial"
EVICTED_KNOWN = "evicted_known"
CROWD_MOST = 64
_TRIAL_SHARE = 8


class Seen(NamedTuple):
    """The number of distinct days, and the last of them."""

    days: int
    last: int


class Table:
    """At most `most` subjects, known from `known_from` days on; evictions are counted in `dropped`.

    In a `crowded` table one program (the subject's first part) has at most `CROWD_MOST` subjects. What is seen of it
    beyond these is credited to the subject `(program,)`: it goes anywhere.
    """

    def __init__(self, most: int, known_from: int, dropped: Counter[str], crowded: bool = False) -> None:
        self._most = most
        self._known_most = most - most // _TRIAL_SHARE
        self._known_from = known_from
        self._dropped = dropped
        self._crowd: Counter[str] | None = Counter() if crowded else None
        self._known: OrderedDict[Subject, Seen] = OrderedDict()
        self._trial: OrderedDict[Subject, Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known) + len(self._trial)

    @property
    def known(self) -> int:
        """The number of subjects that are known."""
        return len(self._known)

    def items(self) -> Iterator[tuple[Subject, Seen]]:
        """Yield every subject, those on trial first, the longest unseen first."""
        yield from self._trial.items()
        yield from self._known.items()

    def days_before(self, subject: Subject, day: int) -> int:
        """Return on how many days before `day` a subject was seen."""
        seen = self._known.get(subject) or self._trial.get(subject)
        return 0 if seen is None else seen.days - (seen.last >= day)

    def credited(self, subject: Subject, day: int) -> bool:
        """Return whether `subject` counts as seen on `day` already."""
        seen = self._known.get(subject) or self._trial.get(subject)
        if seen is None and self._crowds(subject):
            seen = self._find(subject[:1])
        return seen is not None and seen.last >= day

    def credit(self, subject: Subject, day: int) -> Subject | None:
        """Count `subject` as seen on `day`; return what was credited, None where it was before."""
        if self._find(subject) is None and self._crowds(subject):
            subject = subject[:1]
        seen = self._find(subject) or Seen(0, 0)
        if seen.last >= day:
            return None
        self.put(subject, Seen(seen.days + 1, day))
        return subject

    def discredit(self, subject: Subject, day: int) -> bool:
        """Take back that `subject` was seen on `day`; return whether it was still remembered."""
        seen = self._find(subject)
        if seen is None:
            return False
        left = Seen(seen.days - 1, day - 1 if seen.last == day else seen.last)  # others may still show it on that day
        if left.days:
            self.put(subject, left)
        else:
            self._remove(subject)
        return True

    def put(self, subject: Subject, seen: Seen) -> None:
        """Remember `subject` as the latest."""
        self._remove(subject)
        (self._known if seen.days >= self._known_from else self._trial)[subject] = seen
        if self._crowd is not None:
            self._crowd[subject[0]] += 1
        if len(self._known) > self._known_most:
            self._evict(self._known, EVICTED_KNOWN)
        elif len(self) > self._most:
            self._evict(self._trial, EVICTED_NEW)

    def _find(self, subject: Subject) -> Seen | None:
        return self._known.get(subject) or self._trial.get(subject)

    def _crowds(self, subject: Subject) -> bool:
        return self._crowd is not None and self._crowd[subject[0]] >= CROWD_MOST

    def _evict(self, among: OrderedDict[Subject, Seen], reason: str) -> None:
        self._remove(next(iter(among)))
        self._dropped[reason] += 1

    def _remove(self, subject: Subject) -> None:
        if self._known.pop(subject, None) is None and self._trial.pop(subject, None) is None:
            return
        if self._crowd is not None:
            self._crowd[subject[0]] -= 1
            if not self._crowd[subject[0]]:
                del self._crowd[subject[0]]
