"""Rules, correlation rules and filters together: from what files say to what can be matched under a policy."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from shield.scorer.sigma import correlation, filter_rule
from shield.scorer.sigma.condition import AnyOf, Clause, Comparison, replaced
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.filter_rule import Filter
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.value import NoSuchPlaceholder, expanded


class Ruleset(Struct, frozen=True):
    """What was read from rule files, in the order of the files."""

    rules: tuple[Rule, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    filters: tuple[Filter, ...] = ()

    def __len__(self) -> int:
        """Return the number of rules, those that correlate included."""
        return len(self.rules) + len(self.correlations)

    def advice(self) -> dict[str, str]:
        """Return what to do next, by the id of each rule that says so."""
        return {rule.id: rule.next for rule in (*self.rules, *self.correlations) if rule.next}


def collected(items: Iterable[Rule | Correlation | Filter]) -> tuple[Ruleset, list[str]]:
    """Return `items` as a ruleset, and a line for each whose id another one has already."""
    known: dict[str, Rule | Correlation | Filter] = {}
    problems: list[str] = []
    for item in items:
        first = known.setdefault(item.id, item)
        if first is not item:
            problems.append(f"{item.source}: the id {item.id} is {first.source}'s already; give each rule its own")
    values = known.values()
    return Ruleset(
        rules=tuple(item for item in values if isinstance(item, Rule)),
        correlations=tuple(item for item in values if isinstance(item, Correlation)),
        filters=tuple(item for item in values if isinstance(item, Filter)),
    ), problems


def usable(ruleset: Ruleset, placeholders: Mapping[str, Sequence[str]]) -> tuple[Ruleset, list[str]]:
    """Return the rules with filters applied and placeholders replaced, and a line for each that can't be used so."""
    filtered, problems = filter_rule.apply(ruleset.filters, ruleset.rules)
    rules: list[Rule] = []
    for rule in filtered:
        try:
            rules.append(_expanded(rule, placeholders))
        except NoSuchPlaceholder as error:
            remedy = f"give it values in the policy (placeholders.{error})"
            problems.append(f"{rule.source}: the placeholder %{error}% has no values; {remedy}")
    problems += correlation.unresolved(ruleset.correlations, rules)
    return Ruleset(tuple(rules), ruleset.correlations, ruleset.filters), problems


def _expanded(rule: Rule, placeholders: Mapping[str, Sequence[str]]) -> Rule:
    def replace(comparison: Comparison) -> Clause:
        values = expanded(comparison.value, placeholders)
        if values == (comparison.value,):
            return comparison
        return AnyOf(tuple(Comparison(comparison.field, value) for value in values))

    condition = replaced(rule.condition, replace)
    return rule if condition == rule.condition else msgspec.structs.replace(rule, condition=condition)
