"""What must hold for a rule to match: groups of comparisons, of each of which at least one has to hold.

They let the matcher pass over a rule without looking at its condition. Groups that are seldom met come first; those
that can't be looked up in tables or by scanning (numeric ranges, networks, negations) are left out.
"""

from collections.abc import Sequence
from math import fsum

from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation
from shield.scorer.sigma.value import Expression, Number, Text, Truth, Value, Wildcard

Group = frozenset[Comparison]

GROUPS_MOST = 3
"""More groups a rule would hardly spare a further look at its condition."""

_HALVED_BY = 3
"""So many more characters make a literal half as common: a guess that ranks groups, no more."""


def requirements(clause: Clause) -> list[Group]:
    """Return the groups for `clause`, the most telling first; none where it can't be told what must hold."""
    match clause:
        case Comparison():
            return [frozenset((clause,))] if _can_be_looked_up(clause) else []
        case Negation():
            return []
        case AllOf(parts):
            every = {group: None for part in parts for group in requirements(part)}
            return sorted(every, key=_group_commonness)[:GROUPS_MOST]
        case AnyOf(parts):
            return _of_any([requirements(part) for part in parts])


def _can_be_looked_up(comparison: Comparison) -> bool:
    """Return whether tables and scans tell of a comparison; keywords are looked for in all texts joined."""
    is_literal = not isinstance(comparison.value, Expression)
    return _commonness(comparison.value) is not None and (is_literal or comparison.field != "")


def _of_any(parts: Sequence[Sequence[Group]]) -> list[Group]:
    """Return groups that hold whenever one of `parts` does: each a union of one group of every part."""
    if not all(parts):
        return []
    longest = max(len(groups) for groups in parts)
    unions = (
        frozenset[Comparison]().union(*(groups[min(at, len(groups) - 1)] for groups in parts)) for at in range(longest)
    )
    return list(dict.fromkeys(unions))


def _group_commonness(group: Group) -> float:
    return fsum(_commonness(one.value) or 0.0 for one in group)


def _commonness(value: Value) -> float | None:
    """Return a guess at how often `value` is met, from 0 to 1; None where only a test can tell if it is."""
    match value:
        case Text(parts):
            longest = max((len(part) for part in parts if isinstance(part, str)), default=0)
            if not longest:
                return 1.0 if parts in ((), (Wildcard.MANY,)) else None
            return 0.5 ** (longest / _HALVED_BY)
        case Number() | Truth():
            return 0.1
        case Expression():
            return 0.5
        case _:
            return None
