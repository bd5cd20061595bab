"""What must hold for a rule to match: groups of comparisons, of each of which at least one has to hold.

They let the matcher pass over a rule without looking at its condition. Groups that are seldom met come first; those
that can't be looked up in tables or by scanning (numeric ranges, networks, negations) are left out.
"""

from collections.abc import Sequence
from math import fsum

from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation
from shield.scorer.sigma.value import Expression, Number, Part, Text, Truth, Value, Wildcard

Group = frozenset[Comparison]

GROUPS_MOST = 3
"""More groups a rule would hardly spare a further look at its condition."""

_HALVED_BY = 3
"""So many more characters make a literal half as common: a guess that ranks groups, no more."""

_ANCHORED = 0.5
"""A literal at one end of a value only is met so much less often."""

_COMMON = 0.45
"""What is met more often than this spares hardly a look at a condition."""

_ORDINARY = (
    r"c:\windows\system32\svchost.exe c:\program files (x86)\microsoft\ c:\users\public\appdata\local\temp\ "
    r"c:\users\user\appdata\roaming\microsoft\windows\ c:\programdata\ hklm\software\microsoft\windows\currentversion\ "
    "/usr/bin/bash /usr/sbin/ /usr/lib/ /usr/local/bin/ /home/ /root/ /etc/ /var/lib/ /var/log/ /tmp/ /bin/sh"
)
"""What is in values all the time; a literal that is a part of it tells nothing."""

_ORDINARY_ENDS = (".exe", ".dll")


def requirements(clause: Clause) -> list[Group]:
    """Return the groups for `clause`, the most telling first; none where it can't be told what must hold."""
    match clause:
        case Comparison():
            return [frozenset((clause,))] if _can_be_looked_up(clause) else []
        case Negation():
            return []
        case AllOf(parts):
            every = {group: None for part in parts for group in requirements(part)}
            return _telling(sorted(every, key=_group_commonness))[:GROUPS_MOST]
        case AnyOf(parts):
            return _of_any([requirements(part) for part in parts])


def _can_be_looked_up(comparison: Comparison) -> bool:
    """Return whether tables and scans tell of a comparison; keywords are looked for in all texts joined."""
    is_literal = not isinstance(comparison.value, Expression)
    return _commonness(comparison.value) is not None and (is_literal or comparison.field != "")


def _telling(groups: list[Group]) -> list[Group]:
    """Return the first of `groups`, and of the others those that aren't scanned for what is met all the time."""
    return groups[:1] + [group for group in groups[1:] if not any(_is_idle(one.value) for one in group)]


def _is_idle(value: Value) -> bool:
    """Return whether scanning for `value` would find it often; what is looked up in a table costs nothing to find."""
    return _is_scanned_for(value) and (_commonness(value) or 0.0) >= _COMMON


def _is_scanned_for(value: Value) -> bool:
    """Return whether a value is looked for in others, not looked up in a table."""
    match value:
        case Text(() | (str(),) | (Wildcard.MANY,)):
            return False
        case Text() | Expression():
            return True
        case _:
            return False


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
            if not any(isinstance(part, str) for part in parts):
                return 1.0 if parts in ((), (Wildcard.MANY,)) else None
            return _literal_commonness(parts, telling_literal(parts))
        case Number():
            return 0.01
        case Truth():
            return 0.5
        case Expression():
            return 0.4
        case _:
            return None


def telling_literal(parts: Sequence[Part]) -> int:
    """Return the index of the literal that is met least often; `parts` have one at least."""
    literals = [at for at, part in enumerate(parts) if isinstance(part, str)]
    return min(literals, key=lambda at: _literal_commonness(parts, at))


def _literal_commonness(parts: Sequence[Part], at: int) -> float:
    literal = str(parts[at]).casefold()
    is_end = at == len(parts) - 1
    if literal in (_ORDINARY_ENDS if is_end else _ORDINARY):
        return 0.9
    anywhere = 0.5 ** (len(literal) / _HALVED_BY)
    return anywhere * _ANCHORED if is_end or at == 0 else anywhere
