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
    SigmaType,
    SpecialChars,
)

from shield.scorer.sigma.fields import Value
from shield.scorer.sigma.literal import required_literal

Test = Callable[[Any], bool]

_COMPARISONS: dict[CompareOperators, Callable[[float, float], bool]] = {
    CompareOperators.LT: operator.lt,
    CompareOperators.LTE: operator.le,
    CompareOperators.GT: operator.gt,
    CompareOperators.GTE: operator.ge,
}
_FLAGS = {
    SigmaRegularExpressionFlag.IGNORECASE: re.IGNORECASE,
    SigmaRegularExpressionFlag.MULTILINE: re.MULTILINE,
    SigmaRegularExpressionFlag.DOTALL: re.DOTALL,
}


class Unsupported(ValueError):
    """A rule asks for a comparison that this version can't make."""


class Predicate(NamedTuple):
    """A compiled comparison with one value.

    `pattern` is how people read it, `identity` tells it from others. `literal` is a text that a value, in lower case,
    must contain for the predicate to hold, `""` where none is known; if `sufficient`, that is all there is to it. With
    `ascii_only` the literal says nothing about values that aren't ASCII.
    """

    identity: str
    pattern: str
    test: Test
    literal: str = ""
    sufficient: bool = False
    ascii_only: bool = False

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


def _predicate(kind: str, pattern: str, test: Test, literal: str = "") -> Predicate:
    return Predicate(f"{kind} {pattern}", pattern, test, literal.lower())


def _number_or_truth(value: SigmaBool | SigmaNumber | SigmaCompareExpression) -> Predicate:
    if isinstance(value, SigmaBool):
        wanted = str(value.boolean).lower()
        return _predicate("truth", wanted, lambda found: _lower(found) == wanted)
    if isinstance(value, SigmaNumber):
        number = float(value.number)
        return _predicate("number", str(value.number), lambda found: _number(found) == number)
    return _comparison(value)


def _text(value: SigmaString, kind: str) -> Predicate:
    cased = kind == "cased"
    shown = str(value)
    fold = _shown if cased else _lower
    parts: list[Any] = list(value.s) if cased else [part.lower() if isinstance(part, str) else part for part in value.s]
    match parts:
        case []:
            return _predicate(kind, "", lambda found: found is None or found == "")
        case [str(text)]:
            return _predicate(kind, shown, lambda found: found is not None and fold(found) == text, text)
        case [SpecialChars.WILDCARD_MULTI]:
            return _predicate(kind, shown, lambda found: found is not None)
        case [SpecialChars.WILDCARD_MULTI, str(text), SpecialChars.WILDCARD_MULTI]:
            within = _predicate(kind, shown, lambda found: found is not None and text in fold(found), text)
            return within._replace(sufficient=not cased)
        case [str(text), SpecialChars.WILDCARD_MULTI]:
            return _predicate(kind, shown, lambda found: found is not None and fold(found).startswith(text), text)
        case [SpecialChars.WILDCARD_MULTI, str(text)]:
            return _predicate(kind, shown, lambda found: found is not None and fold(found).endswith(text), text)
        case _:
            return _wildcards(kind, shown, parts)


def _wildcards(kind: str, shown: str, parts: list[Any]) -> Predicate:
    if not all(isinstance(part, str | SpecialChars) for part in parts):
        raise Unsupported("placeholders without a value (expand)")
    wild = {SpecialChars.WILDCARD_MULTI: ".*", SpecialChars.WILDCARD_SINGLE: "."}
    expression = re.compile(
        "".join(re.escape(part) if isinstance(part, str) else wild[part] for part in parts), re.DOTALL
    )
    longest = max((part for part in parts if isinstance(part, str)), key=len, default="")
    fold = _shown if kind == "cased" else _lower
    return _predicate(
        kind, shown, lambda found: found is not None and expression.fullmatch(fold(found)) is not None, longest
    )


def _regular_expression(value: SigmaRegularExpression) -> Predicate:
    flags = 0
    for flag in value.flags:
        flags |= _FLAGS[flag]
    shown = str(value.regexp)
    try:
        expression = re.compile(shown, flags)
    except re.error as error:
        raise Unsupported(f"the regular expression {shown!r} ({error})") from None

    def test(found: Value) -> bool:
        return found is not None and expression.search(_shown(found)) is not None

    # Beyond ASCII, expressions fold case by rules of their own.
    return _predicate(f"re{flags}", shown, test, required_literal(shown))._replace(ascii_only=True)


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


def _lower(found: Value) -> str:
    return _shown(found).lower()
