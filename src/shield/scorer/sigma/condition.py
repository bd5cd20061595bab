"""The condition of a rule: comparisons joined by and, or and not, decided in three values.

A comparison holds (True), doesn't (False), or hasn't been made yet (None); an `Oracle` tells which. So costly
comparisons can be put off: a condition that is false without them never needs them.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from shield.scorer.sigma.predicate import Predicate


class Comparison(Struct, frozen=True):
    """A leaf: a field (`""` for any text of the event) and what is asked of its value."""

    field: str
    predicate: Predicate

    @property
    def identity(self) -> tuple[str, str]:
        """What tells two comparisons apart."""
        return self.field, self.predicate.identity


class AllOf(Struct, frozen=True):
    """Every part must hold."""

    parts: "tuple[Clause, ...]"


class AnyOf(Struct, frozen=True):
    """At least one part must hold."""

    parts: "tuple[Clause, ...]"


class Negation(Struct, frozen=True):
    """The part must not hold."""

    part: "Clause"


Clause = Comparison | AllOf | AnyOf | Negation
Oracle = Callable[[Comparison], bool | None]


def value(clause: Clause, oracle: Oracle) -> bool | None:
    """Return whether `clause` holds; None where that depends on comparisons that weren't made."""
    match clause:
        case Comparison():
            return oracle(clause)
        case Negation(part):
            inner = value(part, oracle)
            return None if inner is None else not inner
        case AllOf(parts):
            return _decide(parts, oracle, settles=False)
        case AnyOf(parts):
            return _decide(parts, oracle, settles=True)


def reasons(clause: Clause, oracle: Oracle) -> Iterator[Comparison]:
    """Yield the comparisons that make `clause`, which holds, hold. That something is absent is no reason."""
    match clause:
        case Comparison():
            yield clause
        case Negation():
            return
        case AllOf(parts):
            for part in parts:
                yield from reasons(part, oracle)
        case AnyOf(parts):
            for part in parts:
                if value(part, oracle):
                    yield from reasons(part, oracle)


def comparisons(clause: Clause) -> Iterator[Comparison]:
    """Yield every comparison in `clause`."""
    match clause:
        case Comparison():
            yield clause
        case Negation(part):
            yield from comparisons(part)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from comparisons(part)


def _decide(parts: tuple[Clause, ...], oracle: Oracle, *, settles: bool) -> bool | None:
    """Return `settles` if any part has that value, None if that is still possible, else the opposite."""
    result: bool | None = not settles
    for part in parts:
        found = value(part, oracle)
        if found is settles:
            return settles
        if found is None:
            result = None
    return result
