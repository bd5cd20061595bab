"""The condition of a rule, as plain data: comparisons joined by and, or and not."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from shield.scorer.sigma.value import Value


class Comparison(Struct, frozen=True, tag="is"):
    """A leaf: a field (`""` for any text of the event) and what is asked of its value."""

    field: str
    value: Value


class AllOf(Struct, frozen=True, tag="and"):
    """Every part must hold."""

    parts: "tuple[Clause, ...]"


class AnyOf(Struct, frozen=True, tag="or"):
    """At least one part must hold."""

    parts: "tuple[Clause, ...]"


class Negation(Struct, frozen=True, tag="not"):
    """The part must not hold."""

    part: "Clause"


Clause = Comparison | AllOf | AnyOf | Negation


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


def replaced(clause: Clause, replace: Callable[[Comparison], Clause]) -> Clause:
    """Return `clause` with each comparison replaced by what `replace` makes of it."""
    match clause:
        case Comparison():
            return replace(clause)
        case Negation(part):
            return Negation(replaced(part, replace))
        case AllOf(parts):
            return AllOf(tuple(replaced(part, replace) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(replaced(part, replace) for part in parts))
