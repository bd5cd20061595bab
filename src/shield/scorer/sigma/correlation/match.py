"""A correlation that fired, and how an analyst sees what led to it."""

from collections.abc import Sequence

from msgspec import Struct

from shield.event import Evidence, Signal
from shield.scorer.sigma.correlation.group import Group, Window
from shield.scorer.sigma.correlation.measure import Sighting, bits
from shield.scorer.sigma.correlation.rule import Correlation

_IDS_MOST = 12
_VALUES_MOST = 12
_LOOKED_AT = 100
_UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


class CorrelationMatch(Struct, frozen=True):
    """One firing. `number` is what was measured of the events from `first_ns` to `last_ns`.

    `group` are the group-by fields with their values; `event_ids` name the events that led to it, a dozen at most, the
    latest ones where there are more.
    """

    correlation: Correlation
    evidence: tuple[Evidence, ...]
    number: float
    first_ns: int
    last_ns: int
    group: tuple[tuple[str, str], ...] = ()
    event_ids: tuple[str, ...] = ()


def match_of(correlation: Correlation, group: Group, window: Window) -> CorrelationMatch:
    """Return the match of `correlation` in a `window` of `group`."""
    sightings, times = _contents(group, window)
    named = tuple(zip(correlation.group_by, group.shown, strict=True))
    ids = _event_ids(correlation, sightings)
    asked = f"{correlation.condition} in {duration(correlation.timespan_ns)}"
    evidence = [Evidence(_measured(correlation), _found(correlation, group, window), asked)]
    evidence += [Evidence(field, value, "group-by") for field, value in named]
    if correlation.temporal:
        evidence += _told(correlation, sightings)
    if ids:
        evidence.append(Evidence("event_id", " ".join(ids), f"{len(ids)} of {len(sightings)}"))
    return CorrelationMatch(correlation, tuple(evidence), window.number, *times, named, ids)


def told_of(correlation: Correlation, group: Group, window: Window) -> str:
    """Return in a line what a correlation found, for the evidence of one that refers to it."""
    sightings, _ = _contents(group, window)
    return f"{_found(correlation, group, window)}; event_id {' '.join(_event_ids(correlation, sightings))}"


def signal(match: CorrelationMatch, points: int) -> Signal:
    """Return the reason for a score that `match` is, worth `points`."""
    correlation = match.correlation
    first, *further = match.evidence
    return Signal(
        rule_id=correlation.id,
        name=correlation.name,
        points=points,
        title=correlation.title,
        level=correlation.level,
        field=first.field,
        value=first.value,
        pattern=first.pattern,
        further=tuple(further),
        attack=correlation.attack,
    )


def duration(nanoseconds: int) -> str:
    """Return a length of time as people read it: `1h30m`, `0s`."""
    left = nanoseconds // 1_000_000_000
    parts: list[str] = []
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


def _measured(correlation: Correlation) -> str:
    fields = ", ".join(correlation.fields)
    return f"{correlation.kind}({fields})" if fields else correlation.kind


def _contents(group: Group, window: Window) -> tuple[list[Sighting], tuple[int, int]]:
    sightings = group.sightings[window.first : window.last + 1]
    return sightings, (group.times[window.first], group.times[window.last])


def _found(correlation: Correlation, group: Group, window: Window) -> str:
    """Return what was measured; a number is the least that it can be where events had to be forgotten."""
    sightings, (first, last) = _contents(group, window)
    took = f" in {duration(last - first)}"
    if correlation.temporal:
        matched = 0
        for sighting in sightings:
            matched |= sighting.matched
        return ", ".join(rule for place, rule in enumerate(correlation.rules) if matched >> place & 1) + took
    lacking = group.forgotten is not None and group.forgotten >= last - correlation.timespan_ns
    number = f"{'at least ' if lacking else ''}{window.number:g}{took}"
    if correlation.kind != "value_count":
        return number
    latest = dict.fromkeys(str(sighting.value) for sighting in reversed(sightings[-_LOOKED_AT:]))
    values = list(latest)[:_VALUES_MOST]
    return f"{number}: {', '.join(values)}{', …' if window.number > len(values) else ''}"


def _told(correlation: Correlation, sightings: Sequence[Sighting]) -> list[Evidence]:
    """Return what the correlations that this one refers to found."""
    return [
        Evidence(correlation.rules[bit.bit_length() - 1], str(sighting.value), "correlation")
        for bit, sighting in sorted(_latest(sightings).items())
        if sighting.value is not None
    ]


def _event_ids(correlation: Correlation, sightings: Sequence[Sighting]) -> tuple[str, ...]:
    """Return the latest events; where what counts is which rules matched, the latest of each rule."""
    if correlation.temporal:
        sightings = _latest_of_each_rule(sightings)
    ids = dict.fromkeys(sighting.event_id for sighting in sightings[-_IDS_MOST:] if sighting.event_id)
    return tuple(ids)


def _latest_of_each_rule(sightings: Sequence[Sighting]) -> list[Sighting]:
    wanted = {id(sighting) for sighting in _latest(sightings).values()}
    return [sighting for sighting in sightings if id(sighting) in wanted]


def _latest(sightings: Sequence[Sighting]) -> dict[int, Sighting]:
    return {bit: sighting for sighting in sightings for bit in bits(sighting.matched)}
