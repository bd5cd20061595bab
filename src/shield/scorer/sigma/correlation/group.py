"""What is kept of the events that belong together: one `Group` for each combination of group-by values, bounded.

A group keeps its events in the order of their times, however they arrive. Time is that of the events. A window is all
of a group's events within a timespan that ends with one of them, both ends included.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from msgspec import Struct

from shield.scorer.sigma.correlation.measure import Sighting, measure_of
from shield.scorer.sigma.correlation.rule import Correlation

Key = tuple[str, ...]

GROUPS_MOST = 10_000
"""The most groups that are kept of one correlation."""

_GROUP_BYTES = 1_800
_SIGHTING_BYTES = 260
_COUNTED_MOST = 1_024
_MEASURED_MOST = 4_096


class Window(NamedTuple):
    """The events `first` to `last` of a group, and what was measured of them."""

    first: int
    last: int
    number: float


class Trimmed(NamedTuple):
    """How many events were forgotten because the clock moved back, and how many because there were too many."""

    ahead: int
    surplus: int


class Kept(Struct, frozen=True, array_like=True):
    """A group as it is written down."""

    key: Key
    shown: tuple[str, ...]
    times: list[int]
    sightings: list[Sighting]
    reported: int | None = None


class Group:
    """The events of one group; `shown` are its group-by values as people read them.

    `forgotten` is the time of the latest event that had to go because there were too many.
    """

    def __init__(self, correlation: Correlation, shown: tuple[str, ...]) -> None:
        self.shown = shown
        self.times: list[int] = []
        self.sightings: list[Sighting] = []
        self.forgotten: int | None = None
        self.bytes = _GROUP_BYTES + sum(map(len, shown))
        self._correlation = correlation
        self._span = correlation.timespan_ns
        self._most = events_most(correlation)

    @property
    def latest(self) -> int:
        """The time of the last event."""
        return self.times[-1]

    def keep(self, key: Key) -> Kept:
        """Return the group as it is written down."""
        return Kept(key, self.shown, self.times, self.sightings)

    def restore(self, kept: Kept) -> None:
        """Take over the events of a group that was written down."""
        for time, sighting in zip(kept.times, kept.sightings, strict=True):
            self._put(time, sighting)

    def _put(self, time: int, sighting: Sighting) -> int:
        """Put an event in its place, after those of the same time, and return that."""
        place = len(self.times) if not self.times or time >= self.times[-1] else bisect_right(self.times, time)
        self.times.insert(place, time)
        self.sightings.insert(place, sighting)
        self.bytes += _size(sighting)
        return place

    def _cut(self, first: int, end: int) -> None:
        """Forget the events from `first` up to `end`."""
        self.bytes -= sum(map(_size, self.sightings[first:end]))
        del self.times[first:end], self.sightings[first:end]


class SlidingGroup(Group):
    """Measures the window that ends with each event. `reported` is when the window ended that was last reported.

    Windows near that one are `quiet` and only measured if they are followed.
    """

    def __init__(self, correlation: Correlation, shown: tuple[str, ...]) -> None:
        super().__init__(correlation, shown)
        self.reported: int | None = None
        self._measure = measure_of(correlation)
        self._measured = True
        self._first = 0
        self._previous: int | None = None

    def add(self, time: int, sighting: Sighting, followed: bool) -> Sequence[Window]:
        """Take in an event, and return the windows that it is in, by the time they end; none where all are quiet."""
        place = self._put(time, sighting)
        if not followed and self.quiet(time) and self.quiet(min(time + self._span, self.times[-1])):
            self._measured = False
            return ()
        if place == len(self.times) - 1:
            if self._measured:
                self._advance(place)
            else:
                self._measure_anew()
            return (self._window(place),)
        self._begin(bisect_left(self.times, time - self._span))
        windows: list[Window] = []
        for index in range(self._first, len(self.times)):
            self._advance(index)
            if index >= place and self.times[index] <= time + self._span:
                windows.append(self._window(index))
        return windows

    def quiet(self, end: int) -> bool:
        """Return whether a window that ends then shares events with the one that was last reported."""
        return self.reported is not None and abs(end - self.reported) <= self._span

    def is_late(self, time: int) -> bool:
        """Return whether events that belong together with one of that time may have been forgotten."""
        return bool(self.times) and time < self.times[-1] - self._span

    def trim(self, time: int) -> Trimmed:
        """Forget what no window needs any more once an event of `time` has come, and what is too much.

        An event as late as a timespan still finds all of its windows. A single event whose time is far off makes
        nothing be forgotten: only a second one shows that the clock has moved.
        """
        previous = time if self._previous is None else self._previous
        self._previous = time
        since = min(self.times[-1] - self._span, time, previous) - self._span
        if self.times[0] < since:
            self._drop(bisect_left(self.times, since))
        until = max(time, previous) + 2 * self._span
        ahead = len(self.times) - bisect_right(self.times, until) if self.times[-1] > until else 0
        if ahead:
            self._cut(len(self.times) - ahead, len(self.times))
            self._measured = False
        if len(self.times) <= self._most:
            return Trimmed(ahead, 0)
        surplus = self._most // 8
        needed = surplus - min(surplus, bisect_left(self.times, self.times[-1] - self._span))
        self.forgotten = self.times[surplus - 1]
        self._drop(surplus)
        return Trimmed(ahead, needed)

    def keep(self, key: Key) -> Kept:
        """Return the group as it is written down."""
        return Kept(key, self.shown, self.times, self.sightings, self.reported)

    def restore(self, kept: Kept) -> None:
        """Take over the events of a group that was written down."""
        super().restore(kept)
        self.reported = kept.reported
        self._measured = False

    def _window(self, last: int) -> Window:
        return Window(self._first, last, self._measure.value(self.times[last] - self._span))

    def _begin(self, first: int) -> None:
        """Make the window begin with the event `first`, and hold none yet."""
        self._measure = measure_of(self._correlation)
        self._measured = True
        self._first = first

    def _advance(self, last: int) -> None:
        """Move the window on to end with the event `last`, the next one."""
        self._measure.add(self.times[last], self.sightings[last])
        since = self.times[last] - self._span
        while self.times[self._first] < since:
            self._measure.forget(self.sightings[self._first])
            self._first += 1

    def _measure_anew(self) -> None:
        self._begin(bisect_left(self.times, self.times[-1] - self._span))
        for index in range(self._first, len(self.times)):
            self._advance(index)

    def _drop(self, count: int) -> None:
        """Forget the `count` earliest events."""
        if self._measured:
            for sighting in self.sightings[self._first : count]:
                self._measure.forget(sighting)
        self._cut(0, count)
        self._first = max(0, self._first - count)


class WholeGroup(Group):
    """Measures whole windows, one after the other: each begins with the first event that is in none before."""

    def __init__(self, correlation: Correlation, shown: tuple[str, ...]) -> None:
        super().__init__(correlation, shown)
        self._opening = opening(correlation)

    @property
    def due(self) -> int:
        """When the window is over."""
        return self.times[0] + self._span

    def add(self, time: int, sighting: Sighting) -> bool:
        """Take in an event if it is in a window or opens one; return whether another had to go for it."""
        if not sighting.matched & self._opening and (not self.times or time < self.times[0]):
            return False
        self._put(time, sighting)
        if len(self.times) <= self._most:
            return False
        self.forgotten = self.times[1]
        self._cut(1, 2)  # the first one tells when the window began, and the latest ones are in the next
        return True

    def measured(self) -> Window:
        """Return the window that begins with the first event."""
        end = bisect_right(self.times, self.due)
        measure = measure_of(self._correlation)
        for time, sighting in zip(self.times[:end], self.sightings[:end], strict=True):
            measure.add(time, sighting)
        return Window(0, end - 1, measure.value(self.times[0]))

    def close(self, window: Window) -> None:
        """Forget the events of a window that was measured, and what follows without opening the next."""
        first = window.last + 1
        while first < len(self.sightings) and not self.sightings[first].matched & self._opening:
            first += 1
        self._cut(0, first)


def opening(correlation: Correlation) -> int:
    """Return the rules, as bits, that begin a window: one that must not match begins none."""
    needed = 0
    for alternative in correlation.alternatives:
        needed |= alternative.needed
    return needed or (1 << len(correlation.rules)) - 1


G = TypeVar("G", bound=Group)


class Groups(Generic[G]):
    """The groups of one correlation: `GROUPS_MOST` at most, the ones that matter least given up first.

    That is: those whose time is over; then those of a single event, which is what a sender of ever new values makes;
    then the others, the least recently used first.
    """

    def __init__(self, correlation: Correlation, kind: type[G]) -> None:
        self.bytes = 0
        self._correlation = correlation
        self._kind = kind
        self._single: OrderedDict[Key, G] = OrderedDict()
        self._several: OrderedDict[Key, G] = OrderedDict()

    def __len__(self) -> int:
        return len(self._single) + len(self._several)

    def items(self) -> Iterator[tuple[Key, G]]:
        """Yield all groups with their keys, those that matter least first."""
        yield from self._single.items()
        yield from self._several.items()

    def get(self, key: Key) -> G | None:
        """Return the group of `key`, None where there is none."""
        return self._several.get(key) or self._single.get(key)

    def of(self, key: Key, shown: tuple[str, ...]) -> G:
        """Return the group of `key` for one more event, a new one where there is none."""
        group = self._several.get(key)
        if group is not None:
            self._several.move_to_end(key)
            return group
        group = self._single.pop(key, None)
        if group is not None:
            self._several[key] = group
            return group
        return self._added(self._single, key, self._kind(self._correlation, shown))

    def remove(self, key: Key) -> None:
        """Forget a group."""
        group = self._several.pop(key, None) or self._single.pop(key)
        self.bytes -= group.bytes

    def give_up(self, now: int) -> bool:
        """Forget the group that matters least at the time `now`; return whether it could still have counted."""
        key = self._least(now)
        group = self.get(key)
        self.remove(key)
        return group is not None and not self._is_over(group, now)

    def kept(self) -> list[Kept]:
        """Return all groups as they are written down, those that matter least first."""
        return [group.keep(key) for key, group in self.items()]

    def restore(self, kept: Kept) -> G:
        """Take over a group that was written down."""
        group = self._kind(self._correlation, kept.shown)
        group.restore(kept)
        return self._added(self._several if len(group.times) > 1 else self._single, kept.key, group)

    def _added(self, groups: OrderedDict[Key, G], key: Key, group: G) -> G:
        groups[key] = group
        self.bytes += group.bytes
        return group

    def _least(self, now: int) -> Key:
        oldest = next(iter(self._several), None)
        if oldest is not None and (not self._single or self._is_over(self._several[oldest], now)):
            return oldest
        return next(iter(self._single))

    def _is_over(self, group: Group, now: int) -> bool:
        return group.latest < now - self._correlation.timespan_ns


def events_most(correlation: Correlation) -> int:
    """Return how many events of a group are kept: more than any count that the condition asks for."""
    if correlation.fields and correlation.kind != "value_count":
        return _MEASURED_MOST
    asked = max((int(bound.number) for bound in correlation.bounds), default=0)
    return max(_COUNTED_MOST, asked + asked // 4 + 8)


def _size(sighting: Sighting) -> int:
    return _SIGHTING_BYTES + (len(sighting.value) if isinstance(sighting.value, str) else 0)
