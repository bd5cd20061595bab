"""What was seen but isn't learnt yet, and the stories that teach nothing.

An observation is held back for a time, together with the story that showed it. If the story is tainted by then, because
an event of it was WATCH or ALERT, it is not learnt. Times are `Clock.elapsed_ns`; everything is bounded, and what does
not fit is counted.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shield.scorer.baseline.observation import Kind, Subject

TAINTED = "tainted"
FULL = "quarantine_full"
STORY_FULL = "story_full"
TAINT_FORGOTTEN = "taint_forgotten"
HELD_MOST = 16_384
STORY_MOST = 1024
TAINTED_MOST = 8192
_WITNESSES_MOST = 4

_Sight = tuple[Kind, Subject, int]


class Held(NamedTuple):
    """One subject seen on a day by a story, which is "" where the event has none."""

    since_ns: int
    day: int
    story: str
    kind: Kind
    subject: Subject


class Quarantine:
    """Holds at most `HELD_MOST` observations, `STORY_MOST` of one story, and four stories for the same on one day."""

    def __init__(self, hold_ns: int, taint_ns: int, dropped: Counter[str]) -> None:
        self._hold_ns = hold_ns
        self._taint_ns = taint_ns
        self._dropped = dropped
        self._held: deque[Held] = deque()
        self._witnesses: dict[_Sight, tuple[str, ...]] = {}
        self._by_story: Counter[str] = Counter()
        self._tainted: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held(self) -> Iterable[Held]:
        """What is held back, the oldest first."""
        return self._held

    @property
    def tainted(self) -> dict[str, int]:
        """The tainted stories, and since when."""
        return dict(self._tainted)

    def hold(self, kind: Kind, subject: Subject, story: str, day: int, now_ns: int) -> None:
        """Hold back that `story` showed `subject`, unless enough is held of it."""
        witnesses = self._witnesses.get((kind, subject, day), ())
        if story in witnesses or (len(witnesses) >= _WITNESSES_MOST and not self._tainted.keys() & witnesses):
            return
        refused = self._refusal(story, now_ns)
        if refused:
            self._dropped[refused] += 1
        else:
            self._keep(Held(now_ns, day, story, kind, subject))

    def due(self, now_ns: int) -> Iterator[Held]:
        """Let go of what was held long enough; yield what may be learnt."""
        while self._held and now_ns - self._held[0].since_ns >= self._hold_ns:
            held = self._held.popleft()
            self._forget(held)
            if self._tainted.get(held.story, -1) < held.since_ns:
                yield held
            else:
                self._dropped[TAINTED] += 1

    def taint(self, story: str, now_ns: int) -> None:
        """Let `story` teach nothing from now on, nor by what is held of it."""
        self._tainted[story] = now_ns
        self._tainted.move_to_end(story)
        if len(self._tainted) > TAINTED_MOST:
            _, since_ns = self._tainted.popitem(last=False)
            self._dropped[TAINT_FORGOTTEN] += now_ns - since_ns < max(self._taint_ns, self._hold_ns)

    def is_tainted(self, story: str, now_ns: int) -> bool:
        """Return whether `story` is tainted at `now_ns`."""
        since_ns = self._tainted.get(story)
        return since_ns is not None and now_ns - since_ns < self._taint_ns

    def resume(self, held: Iterable[Held], tainted: dict[str, int]) -> None:
        """Take over what another quarantine held."""
        for story, since_ns in tainted.items():
            self.taint(story, since_ns)
        for one in held:
            self._keep(one)

    def _refusal(self, story: str, now_ns: int) -> str:
        if self.is_tainted(story, now_ns):
            return TAINTED
        if story and self._by_story[story] >= STORY_MOST:
            return STORY_FULL
        return FULL if len(self._held) >= HELD_MOST else ""

    def _keep(self, held: Held) -> None:
        sight = held.kind, held.subject, held.day
        untainted = (story for story in self._witnesses.get(sight, ()) if story not in self._tainted)
        self._witnesses[sight] = (*untainted, held.story)
        self._by_story[held.story] += 1
        self._held.append(held)

    def _forget(self, held: Held) -> None:
        sight = held.kind, held.subject, held.day
        others = tuple(story for story in self._witnesses.pop(sight, ()) if story != held.story)
        if others:
            self._witnesses[sight] = others
        self._by_story[held.story] -= 1
        if not self._by_story[held.story]:
            del self._by_story[held.story]
