"""What a rule asks of a field's value, as plain data: it can be compared, hashed, and kept on disk.

Sigma compares texts without regard to case unless a rule says `cased`; regular expressions regard it.
https://sigmahq.io/docs/basics/modifiers.html
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import chain, product
from typing import Literal

from msgspec import Struct

TimeUnit = Literal["minute", "hour", "day", "week", "month", "year"]
Operator = Literal["<", "<=", ">", ">="]


class Wildcard(IntEnum):
    """What stands for any text (`*`) or any one character (`?`)."""

    MANY = 0
    ONE = 1


class Placeholder(Struct, frozen=True):
    """A `%name%` that the policy gives values to (modifier `expand`)."""

    name: str


Part = str | Wildcard | Placeholder


class Text(Struct, frozen=True, tag="text"):
    """A text in its `parts`, whose case counts only if `cased`. No parts at all ask for an empty value."""

    parts: tuple[Part, ...]
    cased: bool = False


class Expression(Struct, frozen=True, tag="re"):
    """A regular expression, flags included, in `parts` that are joined; placeholders stand for literal texts."""

    parts: tuple[str | Placeholder, ...]


class Number(Struct, frozen=True, tag="number"):
    """A number that the value must equal."""

    number: int | float


class Truth(Struct, frozen=True, tag="truth"):
    """A truth value."""

    truth: bool


class Compare(Struct, frozen=True, tag="compare"):
    """A number that the value must be below or above."""

    operator: Operator
    limit: float


class Null(Struct, frozen=True, tag="null"):
    """The field must be absent."""


class Exists(Struct, frozen=True, tag="exists"):
    """The field must be there, or must not."""

    exists: bool


class Network(Struct, frozen=True, tag="cidr"):
    """An IP network, in CIDR notation, that the value must be an address of."""

    cidr: str


class FieldReference(Struct, frozen=True, tag="fieldref"):
    """Another field of the same event, whose value this one must equal, begin with, end with, or (both) contain."""

    field: str
    starts: bool = False
    ends: bool = False


class TimePart(Struct, frozen=True, tag="time"):
    """A part of the point in time that the value names, in UTC, and what it must be; weeks are those of ISO 8601."""

    unit: TimeUnit
    number: int
    operator: Operator | Literal["="] = "="


def plain_parts(text: Text) -> tuple[Part, ...]:
    """Return the parts of `text` as they are compared: case-folded, unless case counts."""
    if text.cased:
        return text.parts
    return tuple(part.casefold() if isinstance(part, str) else part for part in text.parts)


Value = Text | Expression | Number | Truth | Compare | Null | Exists | Network | FieldReference | TimePart


class NoSuchPlaceholder(LookupError):
    """A rule uses a placeholder that the policy gives no values to; the text is its name."""


def shown(value: Value) -> str:
    """Return how people read `value`: as a rule would write it."""
    match value:
        case Text(parts) | Expression(parts):
            return "".join(_shown_part(part) for part in parts)
        case Number(number):
            return str(int(number)) if number == int(number) else str(number)
        case Truth(truth):
            return str(truth).lower()
        case Compare(operator, limit):
            return f"{operator} {limit:g}"
        case TimePart(unit, number, operator):
            return f"{unit} {operator} {number}"
        case FieldReference(field, starts, ends):
            return f"{'*' if ends else ''}<{field}>{'*' if starts else ''}"
        case Network(cidr):
            return cidr
        case _:
            return _shown_presence(value)


def _shown_presence(value: Null | Exists) -> str:
    if isinstance(value, Null):
        return "null"
    return "exists" if value.exists else "absent"


def expanded(value: Value, placeholders: Mapping[str, Sequence[str]]) -> tuple[Value, ...]:
    """Return the values that `value` stands for once placeholders are replaced, itself where it has none.

    In a placeholder's own values `*` and `?` are wildcards, as anywhere in Sigma, but not in a regular expression.
    Raises NoSuchPlaceholder.
    """
    match value:
        case Text(parts, cased) if _has_placeholder(parts):
            wanted = _chosen(parts, placeholders, _with_wildcards)
            return tuple(Text(joined(pieces), cased) for pieces in wanted)
        case Expression(parts) if _has_placeholder(parts):
            wanted = _chosen(parts, placeholders, lambda text: (re.escape(text),))
            return tuple(Expression(("".join(str(piece) for piece in pieces),)) for pieces in wanted)
        case _:
            return (value,)


def joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Return `parts` with neighbouring texts made one and empty ones left out."""
    whole: list[Part] = []
    for part in parts:
        if isinstance(part, str) and whole and isinstance(whole[-1], str):
            whole[-1] += part
        elif part != "" and not (part is Wildcard.MANY and whole and whole[-1] is Wildcard.MANY):
            whole.append(part)
    return tuple(whole)


def _shown_part(part: Part) -> str:
    if isinstance(part, Placeholder):
        return f"%{part.name}%"
    if isinstance(part, Wildcard):
        return "*" if part is Wildcard.MANY else "?"
    return part


def _has_placeholder(parts: tuple[Part, ...]) -> bool:
    return any(isinstance(part, Placeholder) for part in parts)


def _chosen(
    parts: tuple[Part, ...], placeholders: Mapping[str, Sequence[str]], read: Callable[[str], tuple[Part, ...]]
) -> Iterator[Iterator[Part]]:
    """Yield `parts` once for each combination of the values of their placeholders, each value made parts by `read`."""
    choices = (
        [read(text) for text in _values(part, placeholders)] if isinstance(part, Placeholder) else [(part,)]
        for part in parts
    )
    for chosen in product(*choices):
        yield chain.from_iterable(chosen)


def _values(placeholder: Placeholder, placeholders: Mapping[str, Sequence[str]]) -> Sequence[str]:
    values = placeholders.get(placeholder.name)
    if not values:
        raise NoSuchPlaceholder(placeholder.name)
    return values


def _with_wildcards(text: str) -> tuple[Part, ...]:
    wildcards = {"*": Wildcard.MANY, "?": Wildcard.ONE}
    return tuple(wildcards.get(piece, piece) for piece in re.split(r"([*?])", text))
