"""A detection rule, and how it is read from a Sigma file.

Shield adds one mapping to the format, `shield`, which other tools ignore: `name` is what rationales show, `points` what
the rule adds to a score (by its level where absent), `next` what an analyst should do when it fires.
"""

from typing import Any, cast

import msgspec
from msgspec import Struct
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
from sigma.policy.profiles import TrustedPolicy  # pyright: ignore[reportMissingTypeStubs]: they are inline
from sigma.rule import SigmaRule  # pyright: ignore[reportMissingTypeStubs]: they are inline
from sigma.types import SigmaExpansion, SigmaNumber, SigmaString, SigmaType, SpecialChars

from shield.event import Severity
from shield.policy.document import Document, documents
from shield.policy.schema import Points
from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation
from shield.scorer.sigma.predicate import Unsupported, compile_value

_ANY = SpecialChars.WILDCARD_MULTI
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


class Extension(Struct, frozen=True, forbid_unknown_fields=True):
    """The mapping `shield` of a rule."""

    name: str = ""
    points: Points | None = None
    next: str = ""


class Rule(Struct, frozen=True):
    """One Sigma rule, parsed. `category`, `product` and `service` are None where the rule leaves them open.

    A rule without an id is known by its title.
    """

    id: str
    name: str
    title: str
    level: Severity
    category: str | None
    product: str | None
    service: str | None
    condition: Clause
    attack: tuple[str, ...] = ()
    points: int | None = None
    next: str = ""
    description: str = ""
    falsepositives: tuple[str, ...] = ()
    source: str = ""


def parse(text: bytes, name: str) -> list[Rule]:
    """Return the rules in a file; `name` is the file's, for errors.

    Raises DocumentError at the first document that is no rule, or is one that this version can't evaluate.
    """
    return [_rule(document) for document in documents(text, name)]


def _rule(document: Document) -> Rule:
    plain = cast("dict[str, Any]", document.plain)
    if type(plain) is not dict:
        raise document.error((), "a rule is a mapping (title, logsource, detection)", "write a Sigma rule")
    for kind in ("correlation", "filter"):
        if kind in plain:
            raise document.error((kind,), f"Sigma {kind}s are not supported yet", "leave it out for now")
    extension = document.convert(Extension, ("shield",))
    try:
        rule = SigmaRule.from_dict(plain, policy=TrustedPolicy)  # that is, expressions in Python's syntax are allowed
        condition = _condition(rule)
    except Unsupported as error:
        raise document.error(("detection",), f"not supported yet: {error}", "leave this rule out for now") from None
    except SigmaError as error:
        raise document.error(_place(error), str(error), "see the Sigma specification") from None
    except (TypeError, ValueError, AttributeError, KeyError) as error:  # what pySigma makes of some malformed rules
        raise document.error((), f"not a Sigma rule: {error}", "see the Sigma specification") from None
    return _assembled(rule, extension, condition, document.name)


def _assembled(rule: SigmaRule, extension: Extension, condition: Clause, source: str) -> Rule:
    level = rule.level.name.lower() if rule.level else "informational"
    techniques = (tag.name.upper() for tag in rule.tags if tag.namespace == "attack")
    return Rule(
        id=str(rule.id or rule.title),
        name=extension.name or rule.title,
        title=rule.title,
        level=msgspec.convert(level, Severity),
        category=rule.logsource.category,
        product=rule.logsource.product,
        service=rule.logsource.service,
        condition=condition,
        attack=tuple(name for name in techniques if name[0] == "T" and name[1:2].isdigit()),
        points=extension.points,
        next=extension.next,
        description=rule.description or "",
        falsepositives=tuple(rule.falsepositives or ()),
        source=source,
    )


def _condition(rule: SigmaRule) -> Clause:
    clauses = tuple(_clause(condition.parsed) for condition in rule.detection.parsed_condition)
    return clauses[0] if len(clauses) == 1 else AnyOf(clauses)


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
    return Comparison(field, compile_value(value))


def _keyword(value: SigmaType) -> Clause:
    """Return the search for a bare value anywhere in an event: a text is looked for within longer ones."""
    if isinstance(value, SigmaNumber):
        value = SigmaString(str(value))
    if isinstance(value, SigmaString):
        value = value if value.startswith(_ANY) else _ANY + value
        value = value if value.endswith(_ANY) else value + _ANY
    return _comparison("", value)


def _place(error: SigmaError) -> tuple[str, ...]:
    return next((place for kind, place in _PLACES.items() if isinstance(error, kind)), ("detection",))
