"""The resource contract: how much of the host the agent may use, and what it gives up first to keep to it.

In this order, and never more than needed: first repeats of quiet events are folded into a count, then quiet events are
counted instead of kept. Quiet is what has no signal and no verdict. What has one, and what the agent tells of itself,
is always kept. Everything is still scored: no detection is ever given up.
"""

from collections import Counter, deque
from enum import IntEnum

from msgspec import Struct

from shield.event import Category, Event

REPEAT, QUIET = "over_budget_repeat", "over_budget_quiet"

_WINDOW_S = 5.0
_CALM_S = 30.0
_CALM_SHARE = 0.7
_REPEATS_MOST = 4096
_ALWAYS: frozenset[Category] = frozenset(("heartbeat", "loss", "tamper", "response"))


class Stage(IntEnum):
    """What is given up: nothing, repeats, everything quiet."""

    FULL = 0
    FOLDING = 1
    COUNTING = 2


class Usage(Struct, frozen=True):
    """What the agent has used: `cpu_s` seconds of CPU until the monotonic time `now_s`; `rss_bytes` resident."""

    now_s: float
    cpu_s: float
    rss_bytes: int


class Budget:
    """Follows the usage against `cpu_percent` of one core and `memory_bytes`; says what has to be given up."""

    def __init__(self, cpu_percent: float, memory_bytes: int) -> None:
        self.stage = Stage.FULL
        self.share = 0.0
        """CPU used over the last seconds, in per cent of one core."""
        self._cpu_percent = cpu_percent
        self._memory_bytes = memory_bytes
        self._past: deque[Usage] = deque()
        self._changed_s = 0.0

    def note(self, usage: Usage) -> bool:
        """Take in what has been used so far; return whether the stage has changed."""
        self._past.append(usage)
        while len(self._past) > 1 and usage.now_s - self._past[1].now_s >= _WINDOW_S:
            self._past.popleft()
        first = self._past[0]
        elapsed = usage.now_s - first.now_s
        if elapsed < _WINDOW_S:
            return False
        self.share = 100 * (usage.cpu_s - first.cpu_s) / elapsed
        before, self.stage = self.stage, self._stage(usage)
        if self.stage != before:
            self._changed_s = usage.now_s
        return self.stage != before

    def _stage(self, usage: Usage) -> Stage:
        held = usage.now_s - self._changed_s
        if usage.rss_bytes > self._memory_bytes:
            return Stage.COUNTING
        if self.share > self._cpu_percent and held >= _WINDOW_S:
            return Stage(min(self.stage + 1, Stage.COUNTING))
        if self.share < _CALM_SHARE * self._cpu_percent and held >= _CALM_S:
            return Stage(max(self.stage - 1, Stage.FULL))
        return self.stage


class Shedding:
    """Decides about single events at a stage, and counts what it gives up in `shed`, by reason."""

    def __init__(self) -> None:
        self.stage = Stage.FULL
        self.shed: Counter[str] = Counter()
        self._seen: dict[str, None] = {}

    def keeps(self, event: Event) -> bool:
        """Return whether `event` is to be written."""
        if self.stage is Stage.FULL or event.signals or event.action != "ALLOW" or event.category in _ALWAYS:
            return True
        reason = QUIET if self.stage is Stage.COUNTING else REPEAT if self._is_repeat(event.dedupe_key) else ""
        if reason:
            self.shed[reason] += 1
        return not reason

    def _is_repeat(self, key: str) -> bool:
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > _REPEATS_MOST:
            self._seen.clear()
        return False
