"""A correlation rule: what is asked of several matches of other rules, as plain data, and how it is read from a file.

Specification: https://sigmahq.io/sigma-specification/specification/sigma-correlation-rules-specification.html and, for
what it doesn't tell yet (sums, averages, percentiles, conditions as expressions), pySigma's `sigma.correlations`.
"""

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from msgspec import Meta, Struct

from shield.event import Severity
from shield.policy.document import Document
from shield.scorer.sigma.correlation.expression import Alternative, ExpressionError, alternatives, names
from shield.scorer.sigma.extension import Extension, is_tactic, is_technique

Kind = Literal[
    "event_count",
    "value_count",
    "value_sum",
    "value_avg",
    "value_median",
    "value_percentile",
    "temporal",
    "temporal_ordered",
]
Operator = Literal["gt", "gte", "lt", "lte", "eq", "neq"]

COUNT_MOST = 100_000
"""The highest count that a condition may ask for: so many events of a group are kept."""
ORDERED_MOST = 16
"""The most rules of one order."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_629_746, "y": 31_556_952}
_TIMESPAN = re.compile(r"([0-9]{1,9})([smhdwMy])")
_TIMESPAN_MOST = 10 * _SECONDS["y"]
_COUNTING: frozenset[Kind] = frozenset({"event_count", "value_count", "temporal", "temporal_ordered"})
_TEMPORAL: frozenset[Kind] = frozenset({"temporal", "temporal_ordered"})
_RISING: frozenset[Operator] = frozenset({"gt", "gte"})
_OPERATORS: tuple[Operator, ...] = ("gt", "gte", "lt", "lte", "eq", "neq")


class Bound(Struct, frozen=True):
    """What is asked of the number that a correlation measures."""

    operator: Operator
    number: int | float


class Correlation(Struct, frozen=True, tag="correlation"):
    """One correlation rule, unresolved: `rules` are ids or names of other rules or correlations.

    What is measured in a window of `timespan_ns` must be within all `bounds`; where the condition is an expression over
    the rules, one of its `alternatives` must be met instead. `aliases` tell, by the alias, which field it is in the
    events of each rule. `fields` are those whose values are counted. `reference` is what other rules may call it.
    """

    id: str
    name: str
    title: str
    level: Severity
    kind: Kind
    rules: tuple[str, ...]
    timespan_ns: int
    bounds: tuple[Bound, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    expression: str = ""
    group_by: tuple[str, ...] = ()
    aliases: dict[str, dict[str, str]] = {}
    fields: tuple[str, ...] = ()
    percentile: float | None = None
    generate: bool = False
    reference: str = ""
    attack: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()
    points: int | None = None
    next: str = ""
    description: str = ""
    falsepositives: tuple[str, ...] = ()
    status: str = ""
    source: str = ""

    @property
    def settled(self) -> bool:
        """Whether a further event could undo that the condition holds, so that only a whole window can be judged."""
        if self.kind in _COUNTING or self.kind == "value_sum":
            return any(one.barred for one in self.alternatives) or not all(map(self._is_rising, self.bounds))
        return False

    @property
    def condition(self) -> str:
        """The condition as people read it."""
        return self.expression or " and ".join(f"{bound.operator} {bound.number:g}" for bound in self.bounds)

    @property
    def temporal(self) -> bool:
        """Whether it asks which rules matched, not how often or with what."""
        return self.kind in _TEMPORAL

    def _is_rising(self, bound: Bound) -> bool:
        all_of_them = self.temporal and bound.operator == "eq" and bound.number == len(self.rules)
        return all_of_them or bound.operator in _RISING


def within(bounds: Sequence[Bound], number: float) -> bool:
    """Return whether `number` satisfies all `bounds`."""
    return all(_satisfies(bound, number) for bound in bounds)


def _satisfies(bound: Bound, number: float) -> bool:
    match bound.operator:
        case "gte":
            return number >= bound.number
        case "gt":
            return number > bound.number
        case "lte":
            return number <= bound.number
        case "lt":
            return number < bound.number
        case "eq":
            return number == bound.number
        case "neq":
            return number != bound.number


class _Section(
    Struct, frozen=True, forbid_unknown_fields=True, rename={"kind": "type", "group_by": "group-by"}, kw_only=True
):
    """The mapping `correlation` of a file."""

    kind: Kind
    timespan: str
    rules: str | list[str] = []
    condition: dict[str, Any] | str | None = None
    group_by: str | list[str] | None = None
    aliases: dict[str, dict[str, str]] | None = None
    generate: bool | None = None


class _Form(Struct, frozen=True, kw_only=True):
    """The parts of a file that count. `generate` stands here in the specification, and in the section in pySigma."""

    title: Annotated[str, Meta(min_length=1)]
    correlation: _Section
    id: str | None = None
    name: str | None = None
    level: Severity | None = None
    status: str | None = None
    description: str | None = None
    tags: list[str] | None = None
    falsepositives: str | list[str] | None = None
    generate: bool | None = None


def correlation_of(document: Document) -> Correlation:
    """Return the correlation rule that `document`, a mapping with the key `correlation`, is. Raises DocumentError."""
    extension = document.convert(Extension, ("shield",))
    form = document.convert(_Form)
    section = form.correlation
    rules, expression, options = _rules(document, section)
    bounds, fields, percentile = _condition(document, section, len(rules))
    attack = [tag.removeprefix("attack.") for tag in form.tags or () if tag.startswith("attack.")]
    correlation = Correlation(
        id=normal_id(form.id or form.title),
        name=extension.name or form.title,
        title=form.title,
        level=form.level or "informational",
        kind=section.kind,
        rules=rules,
        timespan_ns=_timespan(document, section.timespan),
        bounds=bounds,
        alternatives=options,
        expression=expression,
        group_by=_listed(section.group_by),
        aliases=section.aliases or {},
        fields=fields,
        percentile=percentile,
        generate=bool(section.generate or form.generate),
        reference=form.name or "",
        attack=tuple(name.upper() for name in attack if is_technique(name)),
        tactics=tuple(name for name in attack if is_tactic(name)),
        points=extension.points,
        next=extension.next,
        description=form.description or "",
        falsepositives=_listed(form.falsepositives),
        status=form.status or "",
        source=document.name,
    )
    _refuse_impossible(document, correlation)
    return correlation


def normal_id(reference: str) -> str:
    """Return an id as it is compared: a UUID in lower case, anything else as it is."""
    try:
        return str(UUID(reference))
    except ValueError:
        return reference


def _listed(values: str | list[str] | None) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(values or ())


def _timespan(document: Document, text: str) -> int:
    match = _TIMESPAN.fullmatch(text)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= _TIMESPAN_MOST:
        remedy = "write a number and one of s, m, h, d, w, M, y: 90m; ten years at most"
        raise document.error(("correlation", "timespan"), f"{text!r} is no timespan", remedy)
    return seconds * 1_000_000_000


def _rules(document: Document, section: _Section) -> tuple[tuple[str, ...], str, tuple[Alternative, ...]]:
    """Return the rules, and where the condition is an expression over them, it and its alternatives."""
    named = _listed(section.rules)
    if len(set(named)) < len(named):
        raise document.error(("correlation", "rules"), "a rule stands here twice", "name each rule once")
    if not isinstance(section.condition, str):
        if not named:
            raise document.error(("correlation", "rules"), "no rules are named", "name rules by their id or name")
        return named, "", ()
    if section.kind not in _TEMPORAL:
        remedy = f"write a mapping, as in gte: 10, or use the type {' or '.join(sorted(_TEMPORAL))}"
        raise document.error(("correlation", "condition"), f"an expression means nothing to {section.kind}", remedy)
    try:
        mentioned = names(section.condition)
        rules = named or mentioned
        odd = [name for name in (*rules, *mentioned) if (name in rules) is not (name in mentioned)]
        if odd:
            raise ExpressionError(f"{odd[0]} stands only in one of rules and condition", "name the same rules in both")
        return rules, section.condition, alternatives(section.condition, rules)
    except ExpressionError as error:
        raise document.error(("correlation", "condition"), error.problem, error.remedy) from None


def _condition(
    document: Document, section: _Section, rules: int
) -> tuple[tuple[Bound, ...], tuple[str, ...], float | None]:
    """Return the bounds, the fields whose values are measured, and the percentile."""
    place = ("correlation", "condition")
    if isinstance(section.condition, str):
        return (), (), None
    if section.condition is None and section.kind in _TEMPORAL:
        return (Bound("gte", rules),), (), None
    condition = section.condition or {}
    for key in condition:
        if key not in (*_OPERATORS, "field", "percentile"):
            known = ", ".join((*_OPERATORS, "field", "percentile"))
            raise document.error((*place, key), "there is no such key", f"the keys here are: {known}")
    bounds = tuple(
        Bound(operator, _number(document, (*place, operator), condition[operator]))
        for operator in _OPERATORS
        if operator in condition
    )
    if not bounds:
        raise document.error(place, "nothing is asked of the number", f"add one of {', '.join(_OPERATORS)}")
    return bounds, _fields(document, section.kind, condition), _percentile(document, section.kind, condition)


def _number(document: Document, place: Sequence[str], value: Any) -> int | float:
    try:
        number = float(value) if not isinstance(value, bool | int) else value
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(number, bool) or not math.isfinite(number):
        raise document.error(place, f"{value!r} is no number", "write a number")
    return int(number) if number == int(number) else number


def _fields(document: Document, kind: Kind, condition: dict[str, Any]) -> tuple[str, ...]:
    place = ("correlation", "condition", "field")
    fields = condition.get("field")
    if not kind.startswith("value_"):
        if fields is not None:
            raise document.error(place, f"{kind} measures no field", "leave it out, or use another type")
        return ()
    listed: list[Any] = cast("list[Any]", fields) if isinstance(fields, list) else [fields]
    if not listed or not all(isinstance(one, str) and one for one in listed):
        raise document.error(place, f"{kind} needs the field to measure", "name it: field: TargetUserName")
    if len(listed) > 1 and kind != "value_count":
        raise document.error(place, f"{kind} measures one field", "name one field")
    return tuple(listed)


def _percentile(document: Document, kind: Kind, condition: dict[str, Any]) -> float | None:
    place = ("correlation", "condition", "percentile")
    if kind != "value_percentile":
        if "percentile" in condition:
            raise document.error(place, f"{kind} has no percentile", "leave it out, or use the type value_percentile")
        return None
    percentile = _number(document, place, condition["percentile"]) if "percentile" in condition else -1
    if not 0 <= percentile <= 100:
        raise document.error(place, "value_percentile needs a percentile", "add one, from 0 to 100: percentile: 95")
    return percentile


def _refuse_impossible(document: Document, correlation: Correlation) -> None:
    """Refuse what never comes about, such as a count of what doesn't happen, and what would take too long."""
    place = ("correlation", "condition")
    if correlation.kind == "temporal_ordered" and len(correlation.rules) > ORDERED_MOST:
        problem = f"more than {ORDERED_MOST} rules in an order are too many"
        raise document.error(("correlation", "rules"), problem, "chain shorter ones")
    if correlation.kind not in _COUNTING or not correlation.bounds:
        return
    most = len(correlation.rules) if correlation.temporal else COUNT_MOST
    near = {math.floor(bound.number) + step for bound in correlation.bounds for step in (-1, 0, 1)} | {1, most}
    if not any(1 <= count <= most and within(correlation.bounds, count) for count in near):
        raise document.error(
            place,
            f"no count from 1 to {most} is {correlation.condition}, so this can never hold",
            "ask for a count within that; what does not happen is not seen and so never counted",
        )
