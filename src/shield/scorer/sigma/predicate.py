"""What a rule's value asks, as a test of a field's value.

A value that is a list matches if any element does. What the telemetry says is compared by what the rule asks for:
a number in a rule is looked for in texts that are numbers (`123`, `0x7b`), a text in a number as it is written.
"""

import ipaddress
import operator
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from shield.scorer.sigma.expression import search
from shield.scorer.sigma.fields import FieldValue
from shield.scorer.sigma.value import (
    Compare,
    Exists,
    Expression,
    Network,
    Null,
    Number,
    Part,
    Text,
    TimePart,
    TimeUnit,
    Truth,
    Value,
    Wildcard,
    plain_parts,
)

Test = Callable[[Any], bool]
"""Tells of one value, not a list, or of None for an absent one."""

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_UNITS: dict[TimeUnit, Callable[[datetime], int]] = {
    "minute": lambda time: time.minute,
    "hour": lambda time: time.hour,
    "day": lambda time: time.day,
    "week": lambda time: time.isocalendar().week,
    "month": lambda time: time.month,
    "year": lambda time: time.year,
}
_NUMBER_BEGINS = frozenset("+-0123456789")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?[0-9]+\.[0-9]+")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]+")
_FRACTION = re.compile(r"(\.\d{6})\d+")
_EPOCH_UNITS = (1.0, 1e3, 1e6, 1e9)
_ADDRESS_MOST = 64  # the longest address has 45 characters; an IPv6 one may name an interface too
_SECONDS_MOST = 4_102_444_800.0  # the year 2100: numbers above are of a finer unit


def any_of(test: Test, found: FieldValue) -> bool:
    """Return whether a field's value, None where it is absent, passes `test`."""
    if isinstance(found, tuple):
        return any(map(test, found))
    return test(found)


def element(test: Test, found: FieldValue) -> str:
    """Return the text that passes `test`: `found`, or the first of its elements that does."""
    elements = found if isinstance(found, tuple) else (found,)
    return next((shown(one) for one in elements if test(one)), "")


def test_of(value: Value) -> Test:
    """Return the test that `value` stands for; its placeholders and field references must be replaced before.

    Raises re.error where a regular expression is none.
    """
    match value:
        case Text(cased=cased):
            return _of_text(text_test(plain_parts(value)), shown if cased else folded)
        case Expression():
            return _expression(value)
        case Number(number):
            return lambda found: as_number(found) == number
        case Truth(truth):
            wanted = str(truth).lower()
            return lambda found: folded(found) == wanted
        case Compare(name, limit):
            return _comparison(_OPERATORS[name], limit)
        case Null():
            return lambda found: found is None
        case Exists(exists):
            return lambda found: (found is not None) is exists
        case Network(cidr):
            return _network(cidr)
        case TimePart(unit, number, name):
            return _time_part(_UNITS[unit], _OPERATORS[name], number)
        case _:
            raise TypeError(f"{type(value).__name__} is no test of one field")


def place_of(value: Value, text: str) -> int:
    """Return where in a `text` that passes the test the match begins, as near as can be told."""
    match value:
        case Text(cased=cased):
            longest = max((part for part in plain_parts(value) if isinstance(part, str)), key=len, default="")
            return max(0, (text if cased else text.casefold()).find(longest))
        case Expression():
            return search(expression_text(value))(text) or 0
        case _:
            return 0


def expression_text(value: Expression) -> str:
    """Return the regular expression itself."""
    return "".join(str(part) for part in value.parts)


def shown(found: FieldValue) -> str:
    """Return a field's value as text; an absent one is empty."""
    if isinstance(found, str):
        return found
    return str(found).lower() if isinstance(found, bool) else "" if found is None else str(found)


def folded(found: FieldValue) -> str:
    """Return a field's value as text without regard to case."""
    return shown(found).casefold()


def as_number(found: FieldValue) -> int | float | None:
    """Return a field's value as a number, None where it is none."""
    if isinstance(found, bool) or found is None or isinstance(found, tuple):
        return None
    if not isinstance(found, str):
        return found
    if found[:1] not in _NUMBER_BEGINS:
        return None
    try:
        if _INTEGER.fullmatch(found):
            return int(found)
        if _DECIMAL.fullmatch(found):
            return float(found)
        return int(found, 16) if _HEXADECIMAL.fullmatch(found) else None
    except ValueError:  # more digits than Python reads
        return None


def text_test(parts: tuple[Any, ...]) -> Test:
    """Return the test of a text, case-folded unless case matters, for the parts of a value."""
    match parts:
        case ():
            return lambda text: text is None or text == ""
        case (str(whole),):
            return lambda text: text == whole
        case (Wildcard.MANY,):
            return lambda text: text is not None
        case (Wildcard.MANY, str(inner), Wildcard.MANY):
            return lambda text: text is not None and inner in text
        case (str(start), Wildcard.MANY):
            return lambda text: text is not None and text.startswith(start)
        case (Wildcard.MANY, str(end)):
            return lambda text: text is not None and text.endswith(end)
        case _:
            expression = re.compile(_with_wildcards(parts), re.DOTALL)
            return lambda text: text is not None and expression.fullmatch(text) is not None


def text_tests(wanted: Iterable[tuple[Part, ...]]) -> list[Test]:
    """Return tests of which one passes a text where `text_test` of one of `wanted` does: few, though those be many.

    Python compares a text with many texts, beginnings or ends at once.
    """
    by_shape: dict[tuple[object, ...], list[tuple[Any, ...]]] = {}
    for parts in wanted:
        by_shape.setdefault(tuple([str if isinstance(part, str) else part for part in parts]), []).append(parts)
    tests: list[Test] = []
    if whole := frozenset([whole for (whole,) in by_shape.pop((str,), ())]):
        tests.append(whole.__contains__)
    if starts := tuple([start for start, _ in by_shape.pop((str, Wildcard.MANY), ())]):
        tests.append(lambda text: text is not None and text.startswith(starts))
    if ends := tuple([end for _, end in by_shape.pop((Wildcard.MANY, str), ())]):
        tests.append(lambda text: text is not None and text.endswith(ends))
    if inner := tuple([inner for _, inner, _ in by_shape.pop((Wildcard.MANY, str, Wildcard.MANY), ())]):
        tests.append(_holds_any(inner))
    return tests + [text_test(parts) for rest in by_shape.values() for parts in rest]


def _holds_any(inner: tuple[str, ...]) -> Test:
    def test(text: str | None) -> bool:
        if text is not None:
            for one in inner:  # a generator takes longer than looking for a few texts
                if one in text:
                    return True
        return False

    return test


def _of_text(test: Test, fold: Callable[[FieldValue], str]) -> Test:
    return lambda found: test(None if found is None else fold(found))


def _with_wildcards(parts: tuple[Any, ...]) -> str:
    """Return a regular expression for `parts` in which no `*` is tried twice, so that no text takes long to refuse."""
    pieces = [""]
    for part in parts:
        if part is Wildcard.MANY:
            pieces.append("")
        else:
            pieces[-1] += re.escape(part) if isinstance(part, str) else "."
    if len(pieces) == 1:
        return pieces[0]
    first, *between, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in between) + ".*" + last


def _expression(value: Expression) -> Test:
    find = search(expression_text(value))
    return lambda found: found is not None and find(shown(found)) is not None


def _comparison(holds: Callable[[float, float], bool], limit: float) -> Test:
    def test(found: FieldValue) -> bool:
        number = as_number(found)
        return number is not None and holds(number, limit)

    return test


def _network(cidr: str) -> Test:
    network = ipaddress.ip_network(cidr, strict=False)
    version, first, last = network.version, int(network.network_address), int(network.broadcast_address)

    def test(found: FieldValue) -> bool:
        text = shown(found)
        if len(text) > _ADDRESS_MOST:
            return False
        of_version, number = _address(text)
        return of_version == version and first <= number <= last

    return test


@lru_cache(maxsize=4096)
def _address(text: str) -> tuple[int, int]:
    """Return the version of an IP address and the number that it is, zeros where `text` is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0, 0
    return address.version, int(address)


def _time_part(part: Callable[[datetime], int], holds: Callable[[float, float], bool], number: int) -> Test:
    def test(found: FieldValue) -> bool:
        time = _time(found)
        return time is not None and holds(part(time), number)

    return test


def _time(found: FieldValue) -> datetime | None:
    """Return the time that a value names: Unix time in s, ms, us or ns, or ISO 8601 (UTC where it doesn't say)."""
    try:
        number = as_number(found)
        if number is not None:
            seconds = next((number / unit for unit in _EPOCH_UNITS if abs(number / unit) <= _SECONDS_MOST), None)
            return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
        time = datetime.fromisoformat(_FRACTION.sub(r"\1", shown(found).strip()))
    except (ValueError, OverflowError, OSError):
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
