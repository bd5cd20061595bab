"""One correlation at work: sorts what matched into its groups, and says where its condition holds."""

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple

from shield.event import Event
from shield.scorer.sigma.correlation.chain import Names, alias_fields
from shield.scorer.sigma.correlation.group import G, Group, Groups, Kept, Key, SlidingGroup, WholeGroup, Window
from shield.scorer.sigma.correlation.match import CorrelationMatch, match_of, told_of
from shield.scorer.sigma.correlation.measure import MeasuredValue, Sighting
from shield.scorer.sigma.correlation.rule import Bound, Correlation, within
from shield.scorer.sigma.correlation.state import identity
from shield.scorer.sigma.fields import FieldValue, Getter, getter

NEVER = (1 << 63) - 1
_SHOWN_MOST = 120
_EXACT_MOST = 1 << 63
_AN_ALTERNATIVE = (Bound("gte", 1),)


class Arrival(NamedTuple):
    """Something that a correlation refers to has matched: the bit of its place, when, and on which event.

    Where that is a correlation itself, `values` are its group-by fields with their values, `told` is what it found, and
    `event` is None if it matched because a window was over.
    """

    bit: int
    time: int
    event_id: str
    event: Event | None
    values: Mapping[str, str]
    told: str | None = None


class Held(NamedTuple):
    """A group in which the condition held at `time`; `match` is None where that was reported shortly before."""

    time: int
    event_id: str
    values: Mapping[str, str]
    told: str
    match: CorrelationMatch | None


class Taken(NamedTuple):
    """What counts of an arrival: its group, when and on which event it was, and the value that is measured."""

    key: Key
    shown: tuple[str, ...]
    time: int
    event_id: str
    value: MeasuredValue


class Place(NamedTuple):
    """How the values of group-by fields and of measured fields are taken, for one of the rules referred to."""

    group: Sequence[tuple[str, Getter]]
    measured: Sequence[tuple[str, Getter]]


class Watch(Generic[G]):
    """What every correlation does; `dropped` and `skipped` are counts by reason that it adds to.

    `followed` says to tell also where the condition still holds, soon after that was reported, and on what grounds.
    """

    def __init__(
        self,
        correlation: Correlation,
        targets: Sequence[str],
        names: Names,
        dropped: Counter[str],
        skipped: Counter[str],
        kind: type[G],
    ) -> None:
        self.correlation = correlation
        self.identity = identity(correlation)
        self.targets = targets
        self.followed = False
        self.groups: Groups[G] = Groups(correlation, kind)
        self._kind = kind
        self._dropped = dropped
        self._skipped = skipped
        self._bounds = correlation.bounds or _AN_ALTERNATIVE
        self._numeric = bool(correlation.fields) and correlation.kind != "value_count"
        self._places = {
            1 << place: Place(group, measured)
            for place, (group, measured) in enumerate(
                zip(
                    _getters(correlation, correlation.group_by, targets, names),
                    _getters(correlation, correlation.fields, targets, names),
                    strict=True,
                )
            )
        }

    @property
    def due_ns(self) -> int:
        """The time after which `close` has something to do."""
        return NEVER

    def take(self, arrivals: Sequence[Arrival]) -> list[Held]:
        """Take in what came at once, and return where the condition holds now."""
        if len(arrivals) == 1:
            taken = self._taken(arrivals[0])
            return self._add(taken, arrivals[0].bit) if taken else []
        matched: dict[Taken, tuple[int, MeasuredValue]] = {}
        for arrival in arrivals:
            taken = self._taken(arrival)
            if taken is None:
                continue
            same = taken._replace(value=None) if self.correlation.temporal else taken  # what was told parts no event
            bits, value = matched.get(same, (0, None))
            matched[same] = bits | arrival.bit, taken.value if value is None else value
        return [
            held for taken, (bits, value) in matched.items() for held in self._add(taken._replace(value=value), bits)
        ]

    def close(self, now: int) -> list[Held]:
        """Judge the windows that are over at the time `now`."""
        return []

    def give_up(self, now: int, reason: str) -> None:
        """Forget the group that matters least."""
        if self.groups.give_up(now):
            self._dropped[reason] += 1

    def restore(self, kept: Kept) -> None:
        """Take over a group that was written down."""
        self.groups.restore(kept)

    def clear(self) -> None:
        """Forget all groups."""
        self.groups = Groups(self.correlation, self._kind)

    def _add(self, taken: Taken, matched: int) -> list[Held]:
        raise NotImplementedError

    def _taken(self, arrival: Arrival) -> Taken | None:
        """Return what counts of an arrival, None where it lacks a value: it belongs to no group, or adds nothing."""
        place = self._places[arrival.bit]
        texts = [_text(_found(arrival, name, get)) for name, get in place.group]
        if not all(texts):
            self._skipped["no_group_value"] += 1
            return None
        value = self._value(arrival, place) if place.measured else arrival.told
        if value is None and place.measured:
            return None
        shown = tuple([text[:_SHOWN_MOST] for text in texts])
        return Taken(tuple(map(_key, texts)), shown, arrival.time, arrival.event_id, value)

    def _value(self, arrival: Arrival, place: Place) -> MeasuredValue:
        """Return the value that counts, None where there is none."""
        values = [_found(arrival, name, get) for name, get in place.measured]
        if self._numeric:
            number = _number(values[0])
            if number is None:
                self._skipped["no_value" if values[0] is None else "not_a_number"] += 1
            return number
        texts = [_text(value) for value in values]
        if not all(texts):
            self._skipped["no_value"] += 1
            return None
        return ", ".join(map(_key, texts))

    def _holds(self, window: Window) -> bool:
        return within(self._bounds, window.number)

    def _held(self, group: Group, window: Window, match: CorrelationMatch | None) -> Held:
        values = dict(zip(self.correlation.group_by, group.shown, strict=True))
        told = told_of(self.correlation, group, window) if self.followed else ""
        return Held(group.times[window.last], group.sightings[window.last].event_id, values, told, match)


class SlidingWatch(Watch[SlidingGroup]):
    """Judges each event at once, over the timespan that ends with it."""

    def _add(self, taken: Taken, matched: int) -> list[Held]:
        key, shown, time, event_id, value = taken
        group = self.groups.of(key, shown)
        size = group.bytes
        if group.is_late(time):
            self._dropped["late"] += 1
        windows = group.add(time, Sighting(event_id, matched, value), self.followed)
        held = [one for window in windows if self._holds(window) and (one := self._reported(group, window))]
        ahead, surplus = group.trim(time)
        if ahead:
            self._dropped["clock_moved_back"] += ahead
        if surplus:
            self._dropped["too_many_events"] += surplus
        self.groups.bytes += group.bytes - size
        return held

    def _reported(self, group: SlidingGroup, window: Window) -> Held | None:
        """Report that the condition holds, unless that was done within a timespan of this."""
        end = group.times[window.last]
        if group.quiet(end):
            return self._held(group, window, None) if self.followed else None
        group.reported = end
        return self._held(group, window, match_of(self.correlation, group, window))


class WholeWatch(Watch[WholeGroup]):
    """Judges each window when it is over."""

    def __init__(
        self,
        correlation: Correlation,
        targets: Sequence[str],
        names: Names,
        dropped: Counter[str],
        skipped: Counter[str],
        kind: type[WholeGroup],
    ) -> None:
        super().__init__(correlation, targets, names, dropped, skipped, kind)
        self._due: list[tuple[int, Key]] = []
        self._previous: int | None = None

    @property
    def due_ns(self) -> int:
        return self._due[0][0] if self._due else NEVER

    def close(self, now: int) -> list[Held]:
        self._previous = now
        held: list[Held] = []
        while self._due and self._due[0][0] < now:
            due, key = heapq.heappop(self._due)
            group = self.groups.get(key)
            if group is None or group.due != due:  # given up, or a late event made it begin earlier
                continue
            held += self._closed(key, group)
        return held

    def restore(self, kept: Kept) -> None:
        self._push(kept.key, self.groups.restore(kept))

    def clear(self) -> None:
        super().clear()
        self._due = []

    def _add(self, taken: Taken, matched: int) -> list[Held]:
        key, shown, time, event_id, value = taken
        previous, self._previous = self._previous, time
        if previous is not None and time + self.correlation.timespan_ns < previous:  # its window has been judged
            self._dropped["late"] += 1
            return []
        group = self.groups.of(key, shown)
        size, began = group.bytes, group.times[0] if group.times else None
        if group.add(time, Sighting(event_id, matched, value)):
            self._dropped["too_many_events"] += 1
        self.groups.bytes += group.bytes - size
        if not group.times:
            self.groups.remove(key)
        elif group.times[0] != began:
            self._push(key, group)
        return []

    def _closed(self, key: Key, group: WholeGroup) -> list[Held]:
        window = group.measured()
        match = match_of(self.correlation, group, window) if self._holds(window) else None
        held = [self._held(group, window, match)] if match else []
        size = group.bytes
        group.close(window)
        self.groups.bytes += group.bytes - size
        if group.times:
            self._push(key, group)
        else:
            self.groups.remove(key)
        return held

    def _push(self, key: Key, group: WholeGroup) -> None:
        heapq.heappush(self._due, (group.due, key))
        if len(self._due) > 2 * len(self.groups) + 64:  # most are of groups that were given up
            self._due = [(group.due, key) for key, group in self.groups.items()]
            heapq.heapify(self._due)


def watch(
    correlation: Correlation, targets: Sequence[str], names: Names, dropped: Counter[str], skipped: Counter[str]
) -> SlidingWatch | WholeWatch:
    """Return `correlation` at work."""
    if correlation.settled:
        return WholeWatch(correlation, targets, names, dropped, skipped, WholeGroup)
    return SlidingWatch(correlation, targets, names, dropped, skipped, SlidingGroup)


def _getters(
    correlation: Correlation, fields: Sequence[str], targets: Sequence[str], names: Names
) -> list[list[tuple[str, Getter]]]:
    """Return for each rule referred to, how `fields` are taken from its events."""
    by_rule: list[list[tuple[str, Getter]]] = [[] for _ in targets]
    for field in fields:
        for found, name in zip(by_rule, alias_fields(correlation, field, targets, names), strict=True):
            found.append((name, getter(name)))
    return by_rule


def _found(arrival: Arrival, name: str, get: Getter) -> FieldValue:
    """Return a field's value: that which a correlation grouped by, else that of the event."""
    value = arrival.values.get(name)
    if value is not None or arrival.event is None:
        return value
    return get(arrival.event)


def _text(value: FieldValue) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _key(text: str) -> str:
    """Return what tells two values apart: Sigma compares texts without regard to case. Long ones are digested."""
    folded = text.casefold()
    if len(folded) <= _SHOWN_MOST:
        return folded
    return f"{folded[:_SHOWN_MOST]}…{hashlib.blake2b(folded.encode(), digest_size=12).hexdigest()}"


def _number(value: FieldValue) -> int | float | None:
    """Return a value as a number, as a whole one where it is; texts as in logs: `12`, `1.5`, `0x1f`."""
    if isinstance(value, bool | tuple) or value is None:
        return None
    try:
        number = _parsed(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if abs(number) < _EXACT_MOST and number == int(number) else float(number)


def _parsed(text: str) -> int | float:
    if len(text) > _SHOWN_MOST:
        raise ValueError
    try:
        return int(text, 0)
    except ValueError:
        return float(text)
