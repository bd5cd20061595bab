"""Sigma filters: the same exception made to many rules, kept in a file of its own.

A filter's condition is joined to that of each rule it is for by `and`, so that one which makes an exception says `not`.
Specification: https://sigmahq.io/sigma-specification/specification/sigma-filters-specification.html
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from shield.policy.document import Document
from shield.scorer.sigma.condition import AllOf, Clause
from shield.scorer.sigma.correlation.chain import Names
from shield.scorer.sigma.correlation.rule import normal_id
from shield.scorer.sigma.rule import Rule

ANY: tuple[str, ...] = ()
"""What `rules` are of a filter for every rule about its log source."""


class Filter(Struct, frozen=True, tag="filter"):
    """One filter. `category`, `product` and `service` are None where it leaves them open; `rules` are ids or names."""

    id: str
    title: str
    category: str | None
    product: str | None
    service: str | None
    condition: Clause
    rules: tuple[str, ...] = ANY
    description: str = ""
    source: str = ""


class _Section(Struct, frozen=True):
    """The part of the mapping `filter` that is not detections."""

    condition: str
    rules: str | list[str]


class _Form(Struct, frozen=True):
    """The parts of a file that count, but for the detections."""

    title: str
    logsource: dict[str, Any]
    filter: _Section
    id: str | None = None
    description: str | None = None


def filter_of(document: Document) -> Filter:
    """Return the filter that `document`, a mapping with the key `filter`, is. Raises DocumentError."""
    form = document.convert(_Form)
    logsource = {key: document.convert(str, ("logsource", key)) for key in form.logsource if key in _SOURCE_KEYS}
    if not logsource:
        remedy = f"add one of {', '.join(_SOURCE_KEYS)}"
        raise document.error(("logsource",), "it names no log source", remedy)
    return Filter(
        id=normal_id(form.id or form.title),
        title=form.title,
        category=logsource.get("category"),
        product=logsource.get("product"),
        service=logsource.get("service"),
        condition=_condition(document),
        rules=_references(form.filter.rules),
        description=form.description or "",
        source=document.name,
    )


def apply(filters: Sequence[Filter], rules: Sequence[Rule]) -> tuple[tuple[Rule, ...], list[str]]:
    """Return `rules` with the conditions of `filters` joined to theirs, and a line for each filter that misses one."""
    names = Names(rules)
    added: dict[str, list[Clause]] = {}
    problems: list[str] = []
    for one in filters:
        about = {rule.id for rule in rules if covers(one, rule)}
        wanted = about if one.rules == ANY else _wanted(one, about, names, problems)
        for rule_id in wanted:
            added.setdefault(rule_id, []).append(one.condition)
    return tuple(_with(rule, added.get(rule.id)) for rule in rules), problems


def covers(one: Filter, rule: Rule) -> bool:
    """Return whether `rule` names each part of a log source that the filter names."""
    pairs = (one.category, rule.category), (one.product, rule.product), (one.service, rule.service)
    return all(wanted is None or wanted == named for wanted, named in pairs)


_SOURCE_KEYS = ("category", "product", "service")


def _with(rule: Rule, clauses: list[Clause] | None) -> Rule:
    return msgspec.structs.replace(rule, condition=AllOf((rule.condition, *clauses))) if clauses else rule


def _wanted(one: Filter, about: set[str], names: Names, problems: list[str]) -> set[str]:
    """Return the rules that the filter names and is about; tell of the others."""
    wanted: set[str] = set()
    for reference in one.rules:
        try:
            rule_id = names.id_of(reference)
        except LookupError as error:
            problems.append(f"{one.source}: filter {one.title!r}: {error.args[0]}")
            continue
        if rule_id in about:
            wanted.add(rule_id)
        else:
            remedy = "correct the filter's logsource, or take the rule out of its `rules`"
            problems.append(f"{one.source}: filter {one.title!r}: {reference!r} has another log source; {remedy}")
    return wanted


def _references(rules: str | list[str]) -> tuple[str, ...]:
    listed = (rules,) if isinstance(rules, str) else tuple(rules)
    return ANY if [one.lower() for one in listed] == ["any"] else listed


def _condition(document: Document) -> Clause:
    """Return the condition over the filter's own detections, read as that of a rule is. Raises DocumentError."""
    from sigma.exceptions import SigmaError  # noqa: PLC0415  pySigma is slow to import
    from sigma.filters import SigmaGlobalFilter  # noqa: PLC0415
    from sigma.policy.profiles import TrustedPolicy  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]: inline

    from shield.scorer.sigma.detection import Unsupported, condition_of, in_words_of_pysigma, remedy_of  # noqa: PLC0415

    section = cast("dict[str, Any]", document.plain)["filter"]
    try:
        return condition_of(SigmaGlobalFilter.from_dict(in_words_of_pysigma(section), policy=TrustedPolicy))
    except Unsupported as error:
        raise document.error(("filter",), f"not supported: {error}", "leave this filter out") from None
    except SigmaError as error:
        raise document.error(("filter",), str(error), remedy_of(error)) from None
    except (TypeError, ValueError, AttributeError, KeyError) as error:  # what pySigma makes of some malformed ones
        raise document.error(("filter",), f"not a Sigma filter: {error}", "see the Sigma specification") from None
