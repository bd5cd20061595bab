"""What rules cost: over recorded events, how often each is looked at, matches, and how long that takes."""

from collections.abc import Iterable
from time import perf_counter_ns

from msgspec import Struct

from shield.event import Event
from shield.scorer.sigma.matcher import Clock, Matcher
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.ruleset import Ruleset
from shield.scorer.sigma.scan import Databases


class Cost(Struct, frozen=True):
    """What one rule cost: how often the index named it, how often it matched, and nanoseconds in its condition."""

    rule: Rule
    candidates: int
    matches: int
    condition_ns: int


class RuleProfile(Struct, frozen=True):
    """What all rules cost over `events`, the dearest first, and what the index that names them took."""

    events: int
    index_ns: int
    costs: tuple[Cost, ...]
    quiet: int

    @property
    def conditions_ns(self) -> int:
        """Nanoseconds in all conditions together."""
        return sum(cost.condition_ns for cost in self.costs)


def profile(
    ruleset: Ruleset, events: Iterable[Event], databases: Databases | None = None, clock: Clock = perf_counter_ns
) -> RuleProfile:
    """Return what the rules cost over `events`; `quiet` of them were never looked at."""
    matcher = Matcher(ruleset.rules, {rule.id: 1 for rule in ruleset.rules}, databases=databases)
    found: dict[str, list[int]] = {rule.id: [0, 0, 0] for rule in ruleset.rules}
    number = index_ns = 0
    for event in events:
        number += 1
        spent = matcher.profiled(event, clock)
        index_ns += spent.index_ns
        for rule, condition_ns, is_match in spent.judged:
            sums = found[rule.id]
            sums[0] += 1
            sums[1] += is_match
            sums[2] += condition_ns
    costs = [Cost(rule, *found[rule.id]) for rule in ruleset.rules if found[rule.id][0]]
    costs.sort(key=lambda cost: -cost.condition_ns)
    return RuleProfile(number, index_ns, tuple(costs), len(ruleset.rules) - len(costs))
