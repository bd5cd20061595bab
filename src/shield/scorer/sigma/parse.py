"""Reading rules, correlation rules and filters from Sigma files, with pySigma as the format's parser."""

import warnings
from typing import Any, cast

import msgspec
from sigma.exceptions import SigmaError
from sigma.policy.profiles import TrustedPolicy  # pyright: ignore[reportMissingTypeStubs]: they are inline
from sigma.rule import SigmaRule  # pyright: ignore[reportMissingTypeStubs]: they are inline

from shield.event import Severity
from shield.policy.document import Document, documents
from shield.scorer.sigma.condition import Clause
from shield.scorer.sigma.correlation.rule import Correlation, correlation_of
from shield.scorer.sigma.detection import SEE, Unsupported, condition_of, in_words_of_pysigma, place_of, remedy_of
from shield.scorer.sigma.extension import Extension, is_tactic, is_technique
from shield.scorer.sigma.filter_rule import Filter, filter_of
from shield.scorer.sigma.rule import Rule

Item = Rule | Correlation | Filter


def parse(text: bytes, name: str) -> list[Rule]:
    """Return the plain rules in a file, correlations and filters left out. Raises DocumentError as `parse_all` does."""
    return [item for item in parse_all(text, name) if isinstance(item, Rule)]


def parse_all(text: bytes, name: str) -> list[Item]:
    """Return the rules, correlation rules and filters in a file; `name` is the file's, for errors.

    Raises DocumentError at the first document that is none, or is one that this version can't evaluate.
    """
    return [item_of(document) for document in documents(text, name)]


def item_of(document: Document) -> Item:
    """Return the rule, correlation rule or filter that `document` is. Raises DocumentError."""
    plain = cast("dict[str, Any]", document.plain)
    plain = plain if type(plain) is dict else {}
    if "correlation" in plain:
        return correlation_of(document)
    if "filter" in plain:
        return filter_of(document)
    if "action" in plain:
        remedy = "put what is common to several rules into each of them"
        raise document.error(("action",), "Sigma has dropped `action` and what is global to a file", remedy)
    return rule_of(document)


def rule_of(document: Document) -> Rule:
    """Return the rule that `document` is. Raises DocumentError."""
    plain = document.plain
    if not isinstance(plain, dict):
        raise document.error((), "a rule is a mapping (title, logsource, detection)", "write a Sigma rule")
    extension = document.convert(Extension, ("shield",))
    try:
        with warnings.catch_warnings(action="ignore"):  # Python's, about expressions that it isn't asked to match
            rule = SigmaRule.from_dict(_in_words_of_pysigma(cast("dict[str, Any]", plain)), policy=TrustedPolicy)
            condition = condition_of(rule.detection)
    except RecursionError:
        raise document.error(("detection",), "it is nested too deeply", "flatten it") from None
    except Unsupported as error:
        raise document.error(("detection",), f"not supported: {error}", "leave this rule out") from None
    except SigmaError as error:
        raise document.error(place_of(error), str(error), remedy_of(error)) from None
    except (TypeError, ValueError, AttributeError, KeyError) as error:  # what pySigma makes of some malformed rules
        raise document.error((), f"not a Sigma rule: {error}", SEE) from None
    return _assembled(rule, extension, condition, document.name)


def _assembled(rule: SigmaRule, extension: Extension, condition: Clause, source: str) -> Rule:
    level = rule.level.name.lower() if rule.level else "informational"
    attack = [tag.name for tag in rule.tags if tag.namespace == "attack"]
    return Rule(
        id=str(rule.id or rule.title),
        name=extension.name or rule.title,
        title=rule.title,
        level=msgspec.convert(level, Severity),
        category=rule.logsource.category,
        product=rule.logsource.product,
        service=rule.logsource.service,
        condition=condition,
        reference=rule.name or "",
        attack=tuple(name.upper() for name in attack if is_technique(name)),
        tactics=tuple(name for name in attack if is_tactic(name)),
        points=extension.points,
        next=extension.next,
        description=rule.description or "",
        definition=rule.logsource.definition or "",
        falsepositives=tuple(rule.falsepositives or ()),
        status=rule.status.name.lower() if rule.status else "",
        source=source,
    )


def _in_words_of_pysigma(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the rule with modifiers that pySigma lacks replaced by those it has for the same."""
    detection = plain.get("detection")
    return plain | {"detection": in_words_of_pysigma(detection)} if isinstance(detection, dict) else plain
