"""What many measurements of one thing come to."""

from collections.abc import Sequence
from statistics import fmean, quantiles

from msgspec import Struct


class Spread(Struct, frozen=True):
    """A sample's middle half and its mean, in the unit that the field holding it names."""

    p25: float
    median: float
    p75: float
    mean: float


class Tail(Struct, frozen=True):
    """A sample's middle and its far end, in the unit that the field holding it names."""

    p50: float
    p99: float
    max: float
    count: int


def spread(values: Sequence[float], scale: float = 1.0) -> Spread:
    """Return the spread of one value or more, each multiplied by `scale`."""
    cuts = _percentiles(values)
    return Spread(*(round(value * scale, 4) for value in (cuts[24], cuts[49], cuts[74], fmean(values))))


def tail(values: Sequence[float], scale: float = 1.0) -> Tail | None:
    """Return the tail of `values`, each multiplied by `scale`, or None where there are none."""
    if not values:
        return None
    cuts = _percentiles(values)
    return Tail(round(cuts[49] * scale, 4), round(cuts[98] * scale, 4), round(max(values) * scale, 4), len(values))


def quotient(dividend: float, divisor: float, least: float = 0.0) -> float | None:
    """Return the quotient, or None where the divisor isn't above `least`: too small to divide by."""
    return round(dividend / divisor, 4) if divisor > least else None


def _percentiles(values: Sequence[float]) -> list[float]:
    return quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
