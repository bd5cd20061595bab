"""One comparison of a rule: does this value of a field match?

Sigma compares texts without regard to case unless a rule says `cased`; regular expressions regard it. A value that is a
list matches if any element does. https://sigmahq.io/docs/basics/modifiers.html
"""

import ipaddress
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    SpecialChars,
)

from shield.scorer.sigma.expression import search
from shield.scorer.sigma.fields import Value

Test = Callable[[Any], bool]

_COMPARISONS: dict[CompareOperators, Callable[[float, float], bool]] = {
    CompareOperators.LT: operator.lt,
    CompareOperators.LTE: operator.le,
    CompareOperators.GT: operator.gt,
    CompareOperators.GTE: operator.ge,
}
_FLAG_LETTERS = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}
_ANY = SpecialChars.WILDCARD_MULTI


class Unsupported(ValueError):
    """A rule asks for a comparison that this version can't make."""


def _at_the_beginning(text: str) -> int:
    return 0


class Predicate(NamedTuple):
    """A compiled comparison with one value.

    `pattern` is how people read it, `identity` tells it from others. A text for which it holds contains `literal` once
    its case is folded, and matches `expression`; `""` where that is not known. `place` says where in such a text the
    match begins.
    """

    identity: str
    pattern: str
    test: Test
    literal: str = ""
    expression: str = ""
    place: Callable[[str], int] = _at_the_beginning

    def holds(self, value: Value) -> bool:
        """Return whether a field's value, None where it is absent, matches."""
        if isinstance(value, tuple):
            return any(self.test(element) for element in value)
        return self.test(value)

    def matched(self, value: Value) -> str:
        """Return the text that made this predicate hold for `value`."""
        elements = value if isinstance(value, tuple) else (value,)
        return next((_shown(element) for element in elements if self.test(element)), "")


def compile_value(value: SigmaType) -> Predicate:
    """Return the predicate of a value in a rule. Raises Unsupported."""
    match value:
        case SigmaCasedString():
            return _text(value, "cased")
        case SigmaString():
            return _text(value, "text")
        case SigmaTimestampPart():  # a kind of SigmaNumber
            raise Unsupported("parts of a time (hour, day and the like)")
        case SigmaBool() | SigmaNumber() | SigmaCompareExpression():
            return _number_or_truth(value)
        case SigmaNull():
            return _predicate("null", "null", lambda found: found is None)
        case SigmaExists():
            exists = bool(value)
            return _predicate("exists", "exists" if exists else "absent", lambda found: (found is not None) is exists)
        case SigmaRegularExpression():
            return _regular_expression(value)
        case SigmaCIDRExpression():
            network = value.network
            return _predicate("cidr", str(network), lambda found: _within(found, network))
        case _:
            raise Unsupported(f"comparisons of the kind {type(value).__name__.removeprefix('Sigma')}")


def _predicate(kind: str, pattern: str, test: Test) -> Predicate:
    return Predicate(f"{kind} {pattern}", pattern, test)


def _number_or_truth(value: SigmaBool | SigmaNumber | SigmaCompareExpression) -> Predicate:
    if isinstance(value, SigmaBool):
        wanted = str(value.boolean).lower()
        return _predicate("truth", wanted, lambda found: _folded(found) == wanted)
    if isinstance(value, SigmaNumber):
        number = float(value.number)
        return _predicate("number", str(value.number), lambda found: _number(found) == number)
    return _comparison(value)


def _text(value: SigmaString, kind: str) -> Predicate:
    shown = str(value)
    fold = _shown if kind == "cased" else _folded
    parts = [part if kind == "cased" or not isinstance(part, str) else part.casefold() for part in value.s]
    if not all(isinstance(part, str | SpecialChars) for part in parts):
        raise Unsupported("placeholders without a value (expand)")
    literal = max((part for part in parts if isinstance(part, str)), key=len, default="")

    def place(text: str) -> int:
        return max(0, fold(text).find(literal))

    return Predicate(f"{kind} {parts}", shown, _text_test(parts, fold), literal=literal.casefold(), place=place)


def _text_test(parts: list[Any], fold: Callable[[Value], str]) -> Test:
    match parts:
        case []:
            return lambda found: found is None or found == ""
        case [str(text)]:
            return lambda found: found is not None and fold(found) == text
        case [SpecialChars.WILDCARD_MULTI]:
            return lambda found: found is not None
        case [SpecialChars.WILDCARD_MULTI, str(text), SpecialChars.WILDCARD_MULTI]:
            return lambda found: found is not None and text in fold(found)
        case [str(text), SpecialChars.WILDCARD_MULTI]:
            return lambda found: found is not None and fold(found).startswith(text)
        case [SpecialChars.WILDCARD_MULTI, str(text)]:
            return lambda found: found is not None and fold(found).endswith(text)
        case _:
            expression = re.compile(_with_wildcards(parts), re.DOTALL)
            return lambda found: found is not None and expression.fullmatch(fold(found)) is not None


def _with_wildcards(parts: list[Any]) -> str:
    """Return a regular expression for `parts` in which no `*` is tried twice, so that no text takes long to refuse."""
    pieces = [""]
    for part in parts:
        if part is _ANY:
            pieces.append("")
        else:
            pieces[-1] += re.escape(part) if isinstance(part, str) else "."
    if len(pieces) == 1:
        return pieces[0]
    first, *between, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in between) + ".*" + last


def _regular_expression(value: SigmaRegularExpression) -> Predicate:
    shown = str(value.regexp)
    letters = "".join(sorted(_FLAG_LETTERS[flag] for flag in value.flags))
    flagged = f"(?{letters}){shown}" if letters else shown
    try:
        find = search(flagged)
    except re.error as error:
        raise Unsupported(f"the regular expression {shown!r} ({error})") from None

    def test(found: Value) -> bool:
        return found is not None and find(_shown(found)) is not None

    def place(text: str) -> int:
        return find(text) or 0

    return Predicate(f"re {flagged}", shown, test, expression=flagged, place=place)


def _comparison(value: SigmaCompareExpression) -> Predicate:
    compare = _COMPARISONS.get(value.op)
    if compare is None:
        raise Unsupported(f"the comparison {value.op.name.lower()}")
    limit = float(value.number.number)

    def test(found: Value) -> bool:
        number = _number(found)
        return number is not None and compare(number, limit)

    return _predicate("compare", f"{value.op.value} {value.number}", test)


def _number(found: Value) -> float | None:
    if isinstance(found, bool) or found is None or isinstance(found, tuple):
        return None
    try:
        return float(int(found, 0)) if isinstance(found, str) else float(found)
    except (ValueError, OverflowError):
        return None


def _within(found: Value, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(_shown(found)) in network
    except ValueError:
        return False


def _shown(found: Value) -> str:
    if isinstance(found, str):
        return found
    return str(found).lower() if isinstance(found, bool) else "" if found is None else str(found)


def _folded(found: Value) -> str:
    return _shown(found).casefold()
