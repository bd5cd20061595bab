"""Making each comparison that rules ask for once an event, and only once a value while it is remembered.

Comparisons are numbered; what holds for an event is a mask of their bits. Much of an event is the very same object as
in the event before (its parent, its ancestors, its user): what holds for such a part is remembered with the part.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from shield.event import Event
from shield.scorer.sigma.condition import Comparison
from shield.scorer.sigma.expression import Scan
from shield.scorer.sigma.fields import SHARED_PARTS, Getter, Value, getter, part_of, texts
from shield.scorer.sigma.predicate import Predicate

# Together with the lengths below this bounds what a field's memory can hold to a few megabytes.
_REMEMBERED = 4096
_PARTS_REMEMBERED = 1024
_LONGEST_REMEMBERED = 1024


class Memory(dict[Any, Any]):
    """What was found out, by what it was found out about; begins anew when it holds `most` entries."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        super().__init__()
        self._most = most

    def remember(self, key: Hashable, found: Any) -> None:
        """Keep `found`."""
        if len(self) >= self._most:
            self.clear()
        self[key] = found


class Numbered(NamedTuple):
    """A comparison's bit, and what is compared."""

    bit: int
    predicate: Predicate


class Comparisons:
    """All comparisons that a set of rules asks for."""

    def __init__(self, asked: Iterable[Comparison]) -> None:
        self._bits: dict[tuple[str, str], int] = {}
        fields: dict[str, list[Numbered]] = {}
        for comparison in asked:
            if comparison.identity not in self._bits:
                bit = self._bits[comparison.identity] = 1 << len(self._bits)
                fields.setdefault(comparison.field, []).append(Numbered(bit, comparison.predicate))
        parts: dict[str, list[_Field]] = {}
        for name, numbered in fields.items():
            parts.setdefault(part_of(name), []).append(_Field(getter(name) if name else texts, numbered))
        self._shared = [_Part(SHARED_PARTS[name], found) for name, found in parts.items() if name in SHARED_PARTS]
        self._own = [field for name, found in parts.items() if name not in SHARED_PARTS for field in found]

    def held(self, event: Event) -> int:
        """Return the bits of all comparisons that hold for `event`."""
        held = 0
        for part in self._shared:
            held |= part.held(event)
        for field in self._own:
            held |= field.held(field.get(event))
        return held

    def is_held(self, comparison: Comparison, held: int) -> bool:
        """Return whether `comparison` is among `held`."""
        return bool(held & self._bits[comparison.identity])


class _Part:
    """The fields of one part of an event that many events share."""

    def __init__(self, get: Callable[[Event], object], fields: Sequence["_Field"]) -> None:
        self._get = get
        self._fields = fields
        self._known = Memory(_PARTS_REMEMBERED)

    def held(self, event: Event) -> int:
        part = self._get(event)
        known = self._known.get(id(part))
        if known is not None and known[0] is part:  # the memory keeps the part, so no other can have its id
            return known[1]
        held = 0
        for field in self._fields:
            held |= field.held(field.get(event))
        self._known.remember(id(part), (part, held))
        return held


class _Field:
    """All that is asked of one field."""

    def __init__(self, get: Getter, asked: Sequence[Numbered]) -> None:
        self.get = get
        self._asked = asked
        self._others = [numbered for numbered in asked if not numbered.predicate.literal]
        self._foreign = [numbered for numbered in asked if not numbered.predicate.literal.isascii()]
        self._with_literal = [one for one in asked if one.predicate.literal and one.predicate.literal.isascii()]
        self._literals = Scan([re.escape(one.literal) for _, one in self._with_literal])
        self._expressions = Scan([one.expression for _, one in self._others])
        self._absent = sum(bit for bit, one in asked if one.holds(None))
        self._known = Memory()

    def held(self, found: Value) -> int:
        """Return the bits of the comparisons that hold for a value of the field."""
        if found is None:
            return self._absent
        held = self._known.get(found)
        if held is None:
            held = sum(bit for bit, predicate in self._candidates(found) if predicate.holds(found))
            if _is_short(found):
                self._known.remember(found, held)
        return held

    def _candidates(self, found: str | float | tuple[Any, ...]) -> Sequence[Numbered]:
        """Return the comparisons that a value may satisfy: all that it does, and seldom others."""
        if isinstance(found, str):
            return self._proposed(found) + [self._others[index] for index in self._expressions.candidates(found)]
        if isinstance(found, tuple) and all(isinstance(element, str) for element in found):
            return self._proposed("\n".join(found)) + self._others
        return self._asked

    def _proposed(self, text: str) -> list[Numbered]:
        """Return the comparisons whose literal is in `text`."""
        found = [self._with_literal[index] for index in self._literals.candidates(text.casefold())]
        return found if text.isascii() else found + self._foreign


def _is_short(found: str | float | tuple[Any, ...]) -> bool:
    """Return whether a value is worth the memory to remember it."""
    if isinstance(found, tuple):
        return len(found) + sum(len(element) for element in found if isinstance(element, str)) <= _LONGEST_REMEMBERED
    return not isinstance(found, str) or len(found) <= _LONGEST_REMEMBERED
