"""What must hold for a rule to match: groups of comparisons, of each of which at least one has to hold.

They let the matcher pass over a rule without looking at its condition. Groups that are seldom met come first; those
that can't be looked up in tables or by scanning (numeric ranges, networks, negations) are left out.
"""

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple

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


class _Choice(NamedTuple):
    """Comparisons of which one at least must hold.

    `commonness` is how often one does, about; `is_idle` says that scanning for them would find one all the time.
    """

    group: Group
    commonness: float
    is_idle: bool


def requirements(clause: Clause) -> list[Group]:
    """Return the groups for `clause`, the most telling first; none where it can't be told what must hold."""
    return [choice.group for choice in _choices(clause)]


def _choices(clause: Clause) -> list[_Choice]:
    match clause:
        case Comparison():
            return _of_one(clause)
        case Negation():
            return []
        case AllOf(parts):
            every = {choice.group: choice for part in parts for choice in _choices(part)}
            return _telling(sorted(every.values(), key=_commonness_of))[:GROUPS_MOST]
        case AnyOf(parts):
            return _of_any([_choices(part) for part in parts])


def _of_one(comparison: Comparison) -> list[_Choice]:
    """Return a comparison where tables and scans tell of it; keywords are looked for in all texts joined."""
    value = comparison.value
    commonness = _commonness(value)
    if commonness is None or (isinstance(value, Expression) and not comparison.field):
        return []
    is_idle = commonness >= _COMMON and _is_scanned_for(value)  # what is looked up in a table costs nothing to find
    return [_Choice(frozenset((comparison,)), commonness, is_idle)]


def _telling(choices: list[_Choice]) -> list[_Choice]:
    """Return the first of `choices`, and of the others those that aren't scanned for what is met all the time."""
    return choices[:1] + [choice for choice in choices[1:] if not choice.is_idle]


def _is_scanned_for(value: Value) -> bool:
    """Return whether a value is looked for in others, not looked up in a table."""
    match value:
        case Text(() | (str(),) | (Wildcard.MANY,)):
            return False
        case Text() | Expression():
            return True
        case _:
            return False


def _of_any(parts: Sequence[Sequence[_Choice]]) -> list[_Choice]:
    """Return groups that hold whenever one of `parts` does: each a union of one group of every part."""
    if not all(parts):
        return []
    longest = max(len(choices) for choices in parts)
    unions = (_union([choices[min(at, len(choices) - 1)] for choices in parts]) for at in range(longest))
    return list({choice.group: choice for choice in unions}.values())


def _union(choices: Sequence[_Choice]) -> _Choice:
    groups, commonness, are_idle = zip(*choices, strict=True)
    return _Choice(frozenset[Comparison]().union(*groups), fsum(commonness), any(are_idle))


def _commonness_of(choice: _Choice) -> float:
    return choice.commonness


def _commonness(value: Value) -> float | None:
    """Return a guess at how often `value` is met, from 0 to 1; None where only a test can tell if it is."""
    match value:
        case Text(parts):
            if any(isinstance(part, str) for part in parts):
                return _literal_commonness(parts, telling_literal(parts))
            return 1.0 if parts in ((), (Wildcard.MANY,)) else None
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
    if len(literals) == 1:
        return literals[0]
    return min(literals, key=lambda at: _literal_commonness(parts, at))


def _literal_commonness(parts: Sequence[Part], at: int) -> float:
    literal = str(parts[at]).casefold()
    is_end = at == len(parts) - 1
    if literal in (_ORDINARY_ENDS if is_end else _ORDINARY):
        return 0.9
    anywhere = 0.5 ** (len(literal) / _HALVED_BY)
    return anywhere * _ANCHORED if is_end or at == 0 else anywhere
