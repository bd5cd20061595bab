"""The detections of a rule or a filter: from what pySigma parses to a condition as plain data."""

import re
from typing import Any, Literal, cast, get_args

import msgspec
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.exceptions import (
    SigmaConditionError,
    SigmaDateError,
    SigmaError,
    SigmaIdentifierError,
    SigmaLevelError,
    SigmaLogsourceError,
    SigmaStatusError,
    SigmaTagError,
    SigmaTitleError,
)
from sigma.rule import SigmaDetections  # pyright: ignore[reportMissingTypeStubs]: they are inline
from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    SpecialChars,
)
from sigma.types import Placeholder as SigmaPlaceholder

from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation
from shield.scorer.sigma.expression import search
from shield.scorer.sigma.value import (
    Compare,
    Exists,
    Expression,
    FieldReference,
    Network,
    Null,
    Number,
    Operator,
    Part,
    Placeholder,
    Text,
    TimePart,
    TimeUnit,
    Truth,
    Value,
    Wildcard,
    joined,
)

_PLACES: dict[type[SigmaError], tuple[str, ...]] = {
    SigmaConditionError: ("detection", "condition"),
    SigmaDateError: ("date",),
    SigmaIdentifierError: ("id",),
    SigmaLevelError: ("level",),
    SigmaLogsourceError: ("logsource",),
    SigmaStatusError: ("status",),
    SigmaTagError: ("tags",),
    SigmaTitleError: ("title",),
}
_OPERATORS: dict[CompareOperators, Operator] = {
    CompareOperators.LT: "<",
    CompareOperators.LTE: "<=",
    CompareOperators.GT: ">",
    CompareOperators.GTE: ">=",
}
_FLAG_LETTERS = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}
_NOT_IN_PYSIGMA = {"utf16le": "wide"}
"""Modifiers of the specification that pySigma knows by another name only."""

_OF_NUMBERS = frozenset({"lt", "lte", "gt", "gte", *get_args(TimeUnit)})
_EXACT_MOST = 1 << 53
"""The largest number that pySigma keeps as it is."""

_MODIFIERS_MOST = 8
"""More would only multiply the values to look for: each `base64offset` makes three of one."""

SEE = "see the Sigma specification"
"""The remedy where no better one is known."""

_NO_AGGREGATION = "write a correlation rule instead: Sigma has dropped `|` and what follows it"


class Unsupported(ValueError):
    """A rule asks for what this version can't evaluate."""


def condition_of(detections: SigmaDetections) -> Clause:
    """Return when the detections of a rule or a filter hold. Raises Unsupported, or what pySigma raises."""
    clauses = tuple(_clause(condition.parsed) for condition in detections.parsed_condition)
    return clauses[0] if len(clauses) == 1 else AnyOf(clauses)


def place_of(error: SigmaError) -> tuple[str, ...]:
    """Return the keys that lead to the part of a rule that pySigma refuses."""
    return next((place for kind, place in _PLACES.items() if isinstance(error, kind)), ("detection",))


def remedy_of(error: SigmaError) -> str:
    """Return what to do about a rule that pySigma refuses."""
    return _NO_AGGREGATION if "pipe syntax" in str(error).lower() else SEE


def in_words_of_pysigma(part: Any) -> Any:
    """Return a part of a rule's or a filter's detections with modifiers that pySigma lacks replaced by its own."""
    if isinstance(part, dict):
        mapping = cast("dict[Any, Any]", part)
        return {_renamed_key(key): _exact(key, in_words_of_pysigma(inner)) for key, inner in mapping.items()}
    if isinstance(part, list):
        return [in_words_of_pysigma(inner) for inner in cast("list[Any]", part)]
    return part


def _exact(key: Any, value: Any) -> Any:
    """Return a number too large for pySigma, which keeps it as a float, as its text: it is compared as one, too."""
    if isinstance(value, list):
        return [_exact(key, inner) for inner in cast("list[Any]", value)]
    if not isinstance(value, int) or abs(value) <= _EXACT_MOST:
        return value
    return value if _OF_NUMBERS.intersection(str(key).split("|")[1:]) else str(value)


def _renamed_key(key: Any) -> Any:
    if not isinstance(key, str) or "|" not in key:
        return key
    field, *modifiers = key.split("|")
    if len(modifiers) > _MODIFIERS_MOST:
        raise Unsupported(f"more than {_MODIFIERS_MOST} modifiers ({key[:60]})")
    return "|".join([field, *(_NOT_IN_PYSIGMA.get(modifier, modifier) for modifier in modifiers)])


def _clause(item: object) -> Clause:
    match item:
        case ConditionAND():
            return AllOf(tuple(_clause(part) for part in item.args))
        case ConditionOR():
            return AnyOf(tuple(_clause(part) for part in item.args))
        case ConditionNOT():
            return Negation(_clause(item.args[0]))
        case ConditionFieldEqualsValueExpression():
            return _comparison(item.field, item.value)
        case ConditionValueExpression():
            return _keyword(item.value)
        case _:
            raise Unsupported(f"conditions of the kind {type(item).__name__}")


def _comparison(field: str, value: SigmaType) -> Clause:
    if isinstance(value, SigmaExpansion):
        return AnyOf(tuple(_comparison(field, one) for one in value.values))
    return Comparison(field, _value(value))


def _keyword(value: SigmaType) -> Clause:
    """Return the search for a bare value anywhere in an event: a text is looked for within longer ones."""
    if isinstance(value, SigmaExpansion):
        return AnyOf(tuple(_keyword(one) for one in value.values))
    if isinstance(value, SigmaTimestampPart):  # a kind of SigmaNumber
        raise Unsupported("a part of a time without the field that holds it")
    if isinstance(value, SigmaNumber):
        value = SigmaString(str(value))
    if isinstance(value, SigmaString):
        text = _text(value)
        return Comparison("", Text(joined((Wildcard.MANY, *text.parts, Wildcard.MANY)), text.cased))
    return _comparison("", value)


def _value(value: SigmaType) -> Value:
    match value:
        case SigmaString():
            return _text(value)
        case SigmaTimestampPart():  # a kind of SigmaNumber
            return _time_part(value, "=")
        case SigmaNumber() | SigmaBool() | SigmaNull() | SigmaExists():
            return _plain(value)
        case SigmaCompareExpression() if value.op in _OPERATORS:
            return _compared(value.number, _OPERATORS[value.op])
        case SigmaRegularExpression():
            return _expression(value)
        case SigmaCIDRExpression():
            return Network(str(value.network))
        case SigmaFieldReference():
            return FieldReference(value.field, value.starts_with, value.ends_with)
        case _:
            raise Unsupported(f"comparisons of the kind {type(value).__name__.removeprefix('Sigma')}")


def _plain(value: SigmaNumber | SigmaBool | SigmaNull | SigmaExists) -> Value:
    match value:
        case SigmaNumber():
            return Number(value.number)
        case SigmaBool():
            return Truth(value.boolean)
        case SigmaExists():
            return Exists(bool(value))
        case _:
            return Null()


def _compared(number: SigmaNumber, operator: Operator) -> Value:
    if isinstance(number, SigmaTimestampPart):
        return _time_part(number, operator)
    if abs(number.number) > _EXACT_MOST:
        raise Unsupported(f"comparisons with a number beyond 2^53 ({number.number:g})")
    return Compare(operator, float(number.number))


def _time_part(value: SigmaTimestampPart, operator: Operator | Literal["="]) -> TimePart:
    return TimePart(msgspec.convert(value.timestamp_part.name.lower(), TimeUnit), int(value.number), operator)


def _text(value: SigmaString) -> Text:
    return Text(joined(_part(part) for part in value.s), isinstance(value, SigmaCasedString))


def _part(part: object) -> Part:
    match part:
        case str():
            return part
        case SpecialChars.WILDCARD_MULTI:
            return Wildcard.MANY
        case SpecialChars.WILDCARD_SINGLE:
            return Wildcard.ONE
        case SigmaPlaceholder():
            return Placeholder(part.name)
        case _:
            raise Unsupported(f"{part!r} in a text")


def _expression(value: SigmaRegularExpression) -> Expression:
    letters = "".join(sorted(_FLAG_LETTERS[flag] for flag in value.flags))
    parts = [_expression_part(part) for part in value.regexp.s]
    whole = [f"(?{letters})", *parts] if letters else parts
    try:
        search("".join("x" if isinstance(part, Placeholder) else part for part in whole))
    except re.error as error:
        told = f"the regular expression {str(value.regexp)!r}: {error}"
        raise Unsupported(f"{told} (look-around and back references could stall the agent)") from None
    return Expression(tuple(whole))


def _expression_part(part: object) -> str | Placeholder:
    """Return a part of a regular expression, in which pySigma takes `*` and `?` for wildcards."""
    match part:
        case SigmaPlaceholder():
            return Placeholder(part.name)
        case SpecialChars.WILDCARD_MULTI:
            return "*"
        case SpecialChars.WILDCARD_SINGLE:
            return "?"
        case _:
            return str(part)
