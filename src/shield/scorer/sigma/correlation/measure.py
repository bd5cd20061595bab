"""What a correlation measures of the events in its window: how many, how many different, their sum, their order.

A measure is fed a group's events in the order of their times (`add`), told which of them have left the window
(`forget`), and gives the number for the window that begins at a time (`value`), each in about constant time.
"""

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Protocol

from msgspec import Struct

from shield.scorer.sigma.correlation.expression import Alternative
from shield.scorer.sigma.correlation.rule import Correlation

MeasuredValue = str | int | float | None


class Sighting(Struct, frozen=True, array_like=True, gc=False):
    """What is kept of an event: its id, the rules that matched it as bits of their places, the value that counts."""

    event_id: str
    matched: int
    value: MeasuredValue = None


class Measure(Protocol):
    """A number that follows a window."""

    def add(self, time: int, sighting: Sighting) -> None:
        """Take in an event that is not earlier than those before."""
        ...

    def forget(self, sighting: Sighting) -> None:
        """Leave out the earliest event."""
        ...

    def value(self, since: int) -> float:
        """Return the number for the events from `since` on; all earlier ones are forgotten."""
        ...


def measure_of(correlation: Correlation) -> Measure:
    """Return what `correlation` measures, of no event yet."""
    match correlation.kind:
        case "event_count":
            return _Events()
        case "value_count":
            return _Values()
        case "value_sum":
            return _Sum()
        case "value_avg":
            return _Average()
        case "value_median":
            return _Percentile(50)
        case "value_percentile":
            return _Percentile(correlation.percentile or 0)
        case "temporal":
            return _Met(correlation.alternatives) if correlation.alternatives else _Rules()
        case "temporal_ordered":
            everything = (1 << len(correlation.rules)) - 1
            if not correlation.alternatives:
                return _Chain(everything)
            return _ChainMet(correlation.alternatives)


class _Events:
    """The number of events."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, time: int, sighting: Sighting) -> None:
        self._count += 1

    def forget(self, sighting: Sighting) -> None:
        self._count -= 1

    def value(self, since: int) -> float:
        return self._count


class _Values:
    """The number of different values."""

    def __init__(self) -> None:
        self._counts: dict[MeasuredValue, int] = {}

    def add(self, time: int, sighting: Sighting) -> None:
        self._counts[sighting.value] = self._counts.get(sighting.value, 0) + 1

    def forget(self, sighting: Sighting) -> None:
        left = self._counts[sighting.value] - 1
        if left:
            self._counts[sighting.value] = left
        else:
            del self._counts[sighting.value]

    def value(self, since: int) -> float:
        return len(self._counts)


class _Sum:
    """The sum of the values, exact: adding and taking away floats would drift."""

    def __init__(self) -> None:
        self._sum: int | Fraction = 0
        self._count = 0

    def add(self, time: int, sighting: Sighting) -> None:
        self._sum += _exact(sighting.value)
        self._count += 1

    def forget(self, sighting: Sighting) -> None:
        self._sum -= _exact(sighting.value)
        self._count -= 1

    def value(self, since: int) -> float:
        return _float(self._sum)


class _Average(_Sum):
    """The mean of the values."""

    def value(self, since: int) -> float:
        return _float(Fraction(self._sum) / self._count)


class _Percentile:
    """The value at a percentile, between two values by their distances to it."""

    def __init__(self, percentile: float) -> None:
        self._share = percentile / 100
        self._sorted: list[float] = []

    def add(self, time: int, sighting: Sighting) -> None:
        insort(self._sorted, _number(sighting.value))

    def forget(self, sighting: Sighting) -> None:
        del self._sorted[bisect_left(self._sorted, _number(sighting.value))]

    def value(self, since: int) -> float:
        place = (len(self._sorted) - 1) * self._share
        below = math.floor(place)
        low, high = self._sorted[below], self._sorted[min(below + 1, len(self._sorted) - 1)]
        return low + (high - low) * (place - below) if high != low else low


class _Rules:
    """The number of different rules that matched."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._present = 0

    def add(self, time: int, sighting: Sighting) -> None:
        for bit in bits(sighting.matched):
            self._counts[bit] += 1
        self._present |= sighting.matched

    def forget(self, sighting: Sighting) -> None:
        for bit in bits(sighting.matched):
            self._counts[bit] -= 1
            if not self._counts[bit]:
                self._present &= ~bit

    def value(self, since: int) -> float:
        return self._present.bit_count()


class _Met(_Rules):
    """The number of alternatives that are met."""

    def __init__(self, alternatives: Sequence[Alternative]) -> None:
        super().__init__()
        self._alternatives = alternatives

    def value(self, since: int) -> float:
        return sum(is_met(one, self._present) for one in self._alternatives)


class _Chain:
    """The most rules that matched one after the other in their order, each on an event of its own.

    For each length and last rule of such a chain, the latest time that one began is all that needs to be known.
    """

    def __init__(self, wanted: int) -> None:
        self._places = {bit: place for place, bit in enumerate(bits(wanted))}
        self._begun: list[list[int | None]] = [[None] * (place + 1) for place in range(len(self._places))]

    def add(self, time: int, sighting: Sighting) -> None:
        for bit in reversed(list(bits(sighting.matched))):  # the last rule first, so that no chain uses an event twice
            place = self._places.get(bit)
            if place is None:
                continue
            begun = self._begun[place]
            begun[0] = time
            for length in range(1, place + 1):
                earlier = [one for before in self._begun[length - 1 : place] if (one := before[length - 1]) is not None]
                begun[length] = max(earlier, default=None)

    def forget(self, sighting: Sighting) -> None:
        pass  # `value` passes over the chains that begin too early

    def value(self, since: int) -> float:
        return max(
            (
                length + 1
                for begun in self._begun
                for length, time in enumerate(begun)
                if time is not None and time >= since
            ),
            default=0,
        )


class _ChainMet(_Rules):
    """The number of alternatives that are met by rules in their order."""

    def __init__(self, alternatives: Sequence[Alternative]) -> None:
        super().__init__()
        self._chains = [(one, _Chain(one.needed)) for one in alternatives]

    def add(self, time: int, sighting: Sighting) -> None:
        super().add(time, sighting)
        for _, chain in self._chains:
            chain.add(time, sighting)

    def value(self, since: int) -> float:
        return sum(
            is_met(one, self._present) and chain.value(since) == one.needed.bit_count() for one, chain in self._chains
        )


def is_met(alternative: Alternative, matched: int) -> bool:
    """Return whether the rules that `matched` are those that `alternative` asks for."""
    return not alternative.needed & ~matched and not alternative.barred & matched


def bits(mask: int) -> Iterator[int]:
    """Yield the bits of `mask`, the lowest first."""
    while mask:
        bit = mask & -mask
        yield bit
        mask ^= bit


def _exact(value: MeasuredValue) -> int | Fraction:
    return value if isinstance(value, int) else Fraction(_number(value))


def _number(value: MeasuredValue) -> float:
    return value if isinstance(value, int | float) else 0


def _float(number: int | Fraction) -> float:
    try:
        return float(number) if isinstance(number, Fraction) else number
    except OverflowError:
        return math.copysign(math.inf, number)
