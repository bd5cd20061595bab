"""Conditions of temporal correlations that are expressions over rules: `(a or b) and not c`.

An expression is kept as its alternatives (its disjunctive normal form), each a set of rules that must have matched and
one of rules that must not, both as bits: bit i is the rule at place i.
"""

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

_TOKEN = re.compile(r"[()]|[^\s()]+")
_WORDS = frozenset({"and", "or", "not", "(", ")"})
_TOKENS_MOST = 200
_DEPTH_MOST = 50
_ALTERNATIVES_MOST = 64


class Alternative(Struct, frozen=True):
    """Rules that must have matched, and rules that must not have, as bits of their places."""

    needed: int
    barred: int = 0


class ExpressionError(ValueError):
    """An expression can't be used: what is wrong with it, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def names(expression: str) -> tuple[str, ...]:
    """Return the rules that `expression` names, in their order."""
    return tuple(dict.fromkeys(token for token in _TOKEN.findall(expression) if token.lower() not in _WORDS))


def alternatives(expression: str, rules: Sequence[str]) -> tuple[Alternative, ...]:
    """Return the alternatives of `expression`, which names only `rules`. Raises ExpressionError."""
    places = {rule: 1 << place for place, rule in enumerate(rules)}
    tokens = _TOKEN.findall(expression)
    if len(tokens) > _TOKENS_MOST:
        raise ExpressionError("this is too long", f"use {_TOKENS_MOST} words at most, or chain correlations")
    found = _Reader(tokens, places).read()
    if not found:
        raise ExpressionError("this can never hold", "ask for no rule that must both match and not match")
    if any(not one.needed for one in found):
        raise ExpressionError(
            "this holds where nothing has matched, which is never seen",
            "join each `not` by `and` to a rule that must match",
        )
    return found


class _Reader:
    """Reads an expression by recursive descent; `not` binds closest, then `and`, then `or`."""

    def __init__(self, tokens: Sequence[str], places: dict[str, int]) -> None:
        self._tokens = [*tokens, ""]
        self._places = places
        self._at = 0
        self._depth = 0

    def read(self) -> tuple[Alternative, ...]:
        found = self._either(False)
        if self._tokens[self._at]:
            raise self._unexpected()
        return found

    def _either(self, negated: bool) -> tuple[Alternative, ...]:
        parts = [self._both(negated)]
        while self._takes("or"):
            parts.append(self._both(negated))
        return _all_of(parts) if negated else _any_of(parts)

    def _both(self, negated: bool) -> tuple[Alternative, ...]:
        parts = [self._one(negated)]
        while self._takes("and"):
            parts.append(self._one(negated))
        return _any_of(parts) if negated else _all_of(parts)

    def _one(self, negated: bool) -> tuple[Alternative, ...]:
        while self._takes("not"):
            negated = not negated
        if self._takes("("):
            self._depth += 1
            if self._depth > _DEPTH_MOST:
                raise ExpressionError("this is nested too deeply", "chain correlations instead")
            found = self._either(negated)
            if not self._takes(")"):
                raise self._unexpected()
            self._depth -= 1
            return found
        token = self._tokens[self._at]
        if token not in self._places or token.lower() in _WORDS:
            raise self._unexpected()
        self._at += 1
        bit = self._places[token]
        return (Alternative(0, bit) if negated else Alternative(bit),)

    def _takes(self, word: str) -> bool:
        if self._tokens[self._at].lower() != word:
            return False
        self._at += 1
        return True

    def _unexpected(self) -> ExpressionError:
        token = self._tokens[self._at]
        return ExpressionError(
            f"{token!r} is not expected here" if token else "this ends too early",
            "join rules by and, or, not and parentheses",
        )


def _any_of(parts: Sequence[tuple[Alternative, ...]]) -> tuple[Alternative, ...]:
    return _bounded(one for part in parts for one in part)


def _all_of(parts: Sequence[tuple[Alternative, ...]]) -> tuple[Alternative, ...]:
    found, *others = parts
    for other in others:
        joined = (Alternative(a.needed | b.needed, a.barred | b.barred) for a in found for b in other)
        found = _bounded(one for one in joined if not one.needed & one.barred)
    return found


def _bounded(found: Iterator[Alternative]) -> tuple[Alternative, ...]:
    distinct = tuple(dict.fromkeys(found))
    if len(distinct) > _ALTERNATIVES_MOST:
        raise ExpressionError("this has too many alternatives", "chain correlations instead")
    return distinct
