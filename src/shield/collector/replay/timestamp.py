"""Times as logs write them, as Unix nanoseconds."""

import re
from datetime import UTC, datetime
from functools import lru_cache

_SECOND_NS = 1_000_000_000
_MOST_NS = (1 << 63) - 1
_ZONES = {None: "", "Z": "", "UTC": ""}
_TICKS = re.compile(r"/?\\?/?Date\((-?\d{1,16})(?:[+-]\d{4})?\)")
_ISO = re.compile(
    r"\s*(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,12}))?\s*(Z|UTC|[+-]\d\d:?\d\d)?\s*(?:UTC)?\s*", re.ASCII
)


def unix_ns(text: str) -> int:
    """Return an ISO 8601 time (UTC where it names no zone; to 9 digits of a second) or .NET's `/Date(ms)/`.

    Raises ValueError where it is neither, or lies before 1970 or after 2262.
    """
    # What event logs write, without a regular expression: 2026-04-17T05:24:53.088849Z
    if text[19:20] == "." and text[-1] == "Z" and (fraction := text[20:-1]).isdecimal():
        return _checked(_seconds(text[:19]) * _SECOND_NS + int(fraction[:9].ljust(9, "0")))
    if found := _ISO.fullmatch(text):
        day, clock, fraction, zone = found.groups()
        return _checked(
            _seconds(f"{day}T{clock}{_ZONES.get(zone, zone)}") * _SECOND_NS + int((fraction or "0")[:9].ljust(9, "0"))
        )
    if found := _TICKS.search(text):
        return _checked(int(found[1]) * 1_000_000)
    raise ValueError(f"not a time: {text[:64]}")


def epoch_ns(number: float) -> int:
    """Return a count since 1970, whose unit (seconds to nanoseconds) its size tells. Raises ValueError as `unix_ns`."""
    for unit_ns in (_SECOND_NS, 1_000_000, 1_000, 1):
        if 0 < number * unit_ns <= _MOST_NS // 2:
            return int(number * unit_ns) if isinstance(number, int) else _rounded(number, unit_ns)
    raise ValueError(f"not a time: {number}")


def _rounded(number: float, unit_ns: int) -> int:
    """Return a count with a fraction, which a float holds to about a microsecond."""
    whole = int(number)
    return whole * unit_ns + round((number - whole) * 1_000_000) * unit_ns // 1_000_000


@lru_cache(maxsize=4096)
def _seconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def _checked(ns: int) -> int:
    if not 0 <= ns <= _MOST_NS:
        raise ValueError("a time before 1970 or after 2262")
    return ns
