"""Which of many rules an event may match, found without looking at their conditions.

Each rule has up to three requirements (`requirement`). For each field there is a table from what its value may hold to
the requirements that are then met, as the bits of one number: bit `k * rules + r` is requirement `k` of rule `r`. An
event's numbers are joined by `or`; the rules of which every requirement is met are its candidates.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from shield.event import Event
from shield.scorer.sigma.fields import (
    SHARED_PARTS,
    FieldValue,
    Getter,
    is_observed,
    joined_texts,
    observed_getter,
    part_of,
)
from shield.scorer.sigma.predicate import as_number, expression_text, shown
from shield.scorer.sigma.requirement import GROUPS_MOST, requirements, telling_literal
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.scan import ENGINE, Databases, Engine, Needle, caseless_scanner, scanner
from shield.scorer.sigma.value import Expression, Number, Text, Truth, Value, Wildcard

# Together with the lengths below this bounds what a field's memory can hold to a few megabytes.
_REMEMBERED = 2048
_PARTS_REMEMBERED = 1024
_LONGEST_REMEMBERED = 512


class Memory(dict[Any, int]):
    """What values meet, found out by `find` at the first of each.

    When it is full it begins anew, unless finding out is `cheap`: then the first values are enough to remember.
    """

    def __init__(self, find: Callable[[Any], int], cheap: bool) -> None:
        super().__init__()
        self._find = find
        self._cheap = cheap

    def __missing__(self, value: Any) -> int:
        """Return what `value` meets, and keep it unless the value is very long."""
        bits = self._find(value)
        if type(value) is int or len(value) <= _LONGEST_REMEMBERED:
            if len(self) >= _REMEMBERED:
                if self._cheap:
                    return bits
                self.clear()
            self[value] = bits
        return bits


class Candidates:
    """The index of a list of rules about one log source; `logged` says that their events were read from a log."""

    def __init__(self, rules: Sequence[Rule], logged: bool, databases: Databases, engine: Engine = ENGINE) -> None:
        self._number = len(rules)
        self._every = (1 << self._number) - 1
        self._free, wanted = _wanted(rules)
        self._keywords = _Keywords(wanted.pop(""), databases, engine) if logged and "" in wanted else None
        fields = {name: _Field(values, databases, engine) for name, values in wanted.items()}
        self._met = self._met_by_log(fields) if logged else self._met_by_observation(fields)

    def of(self, event: Event) -> list[int]:
        """Return the numbers of the rules that `event` may match, in their order."""
        met, number = self._met(event), self._number
        left = met & (met >> number) & (met >> 2 * number) & self._every
        found: list[int] = []
        while left:
            lowest = left & -left
            found.append(lowest.bit_length() - 1)
            left ^= lowest
        return found

    def _met_by_log(self, fields: Mapping[str, "_Field"]) -> Callable[[Event], int]:
        """Return the function that adds up what an event read from a log meets: what isn't in the log is looked up."""
        free, keywords = self._free, self._keywords
        looked_at = [
            (name, field, field.texts, observed_getter(name) if is_observed(name) or field.absent else None)
            for name, field in fields.items()
        ]

        def met_by(event: Event) -> int:
            log = event.data.log
            own = log.fields if log else {}
            held = free
            for name, field, texts, elsewhere in looked_at:
                found = own.get(name)
                if type(found) is str:
                    bits = texts[found]
                elif found is not None:
                    bits = field.met(found)
                elif elsewhere is not None:
                    bits = field.met(elsewhere(event))
                else:
                    continue
                if bits:
                    held |= bits
            return held if keywords is None else held | keywords.met(event)

        return met_by

    def _met_by_observation(self, fields: Mapping[str, "_Field"]) -> Callable[[Event], int]:
        """Return the function that adds up what an event that Shield observed meets."""
        parts: dict[str, list[tuple[Getter, _Field]]] = {}
        for name, field in fields.items():
            parts.setdefault(part_of(name), []).append((observed_getter(name) if name else joined_texts, field))
        shared = [_Part(SHARED_PARTS[name], found) for name, found in parts.items() if name in SHARED_PARTS]
        own = [pair for name, found in parts.items() if name not in SHARED_PARTS for pair in found]

        def met(event: Event) -> int:
            held = self._free
            for part in shared:
                held |= part.met(event)
            for get, field in own:
                if bits := field.met(get(event)):
                    held |= bits
            return held

        return met


def _wanted(rules: Sequence[Rule]) -> tuple[int, dict[str, dict[Value, int]]]:
    """Return the bits of the requirements that are met in any case, and those of all others by field and value."""
    free, wanted = 0, dict[str, dict[Value, int]]()
    for number, rule in enumerate(rules):
        groups = requirements(rule.condition)
        for slot in range(GROUPS_MOST):
            bit = 1 << slot * len(rules) + number
            if slot >= len(groups):
                free |= bit
                continue
            for one in groups[slot]:
                values = wanted.setdefault(one.field, {})
                values[one.value] = values.get(one.value, 0) | bit
    return free, wanted


class _Part:
    """The fields of one part of an event that many events share, mostly as the very same object."""

    def __init__(self, get: Callable[[Event], object], fields: Sequence[tuple[Getter, "_Field"]]) -> None:
        self._get = get
        self._fields = fields
        self._known: dict[int, tuple[object, int]] = {}

    def met(self, event: Event) -> int:
        part = self._get(event)
        known = self._known.get(id(part))
        if known is not None and known[0] is part:  # the memory keeps the part, so no other can have its id
            return known[1]
        held = 0
        for get, field in self._fields:
            held |= field.met(get(event))
        if len(self._known) >= _PARTS_REMEMBERED:
            self._known.clear()
        self._known[id(part)] = part, held
        return held


class _Field:
    """What the values of one field meet: by equality in tables, else by scanning for all that they may hold."""

    def __init__(self, wanted: Mapping[Value, int], databases: Databases, engine: Engine) -> None:
        self.absent = self.present = 0
        self._exact: dict[str, int] = {}
        self._numbers: dict[int | float, int] = {}
        needles: dict[Needle, int] = {}
        for value, bits in wanted.items():
            self._file(value, bits, needles)
        ordered = sorted(needles)  # the same in every process, so that the databases' digests are
        self._bits = [needles[needle] for needle in ordered]
        self._found = scanner(ordered, databases, engine) if needles else None
        self.texts = Memory(self.met_by_text, cheap=self._found is None)
        self._integers = Memory(self._met_by_number, cheap=self._found is None)
        self._truths = tuple(self._looked_up(shown(truth), None) for truth in (False, True))

    def met(self, found: FieldValue) -> int:
        """Return the bits that a value of the field meets; never too few, and seldom more than a test would say."""
        kind = type(found)
        if kind is str:
            return self.texts[found]
        if kind is int:
            return self._integers[found]
        if found is None:
            return self.absent
        if kind is bool:
            return self._truths[found is True]
        return self._met_by_each(found) if isinstance(found, tuple) else self._met_by_number(cast("float", found))

    def _met_by_each(self, found: tuple[Any, ...]) -> int:
        bits, texts = self.present, self.texts
        for element in found:
            bits |= texts[element] if type(element) is str else self.met(element)
        return bits

    def _met_by_number(self, found: float) -> int:
        return self._looked_up(str(found), found)

    def met_by_text(self, text: str) -> int:
        """Return the bits that a text meets, looked up and scanned for now."""
        return self._looked_up(text, as_number(text) if self._numbers else None)

    def _looked_up(self, text: str, number: float | None) -> int:
        plain = text.casefold()
        bits = self.present | self._exact.get(plain, 0)
        if number is not None:
            bits |= self._numbers.get(number, 0)
        if self._found is not None:
            table = self._bits
            for at in self._found(text, plain):
                bits |= table[at]
        return bits

    def _file(self, value: Value, bits: int, needles: dict[Needle, int]) -> None:
        """Put a value where it will be found."""
        match value:
            case Text(()):
                self.absent |= bits
                self._exact[""] = self._exact.get("", 0) | bits
            case Text((Wildcard.MANY,)):
                self.present |= bits
            case Text((str(text),)):
                text = text.casefold()
                self._exact[text] = self._exact.get(text, 0) | bits
            case Text(parts):
                needle = _needle(parts)
                needles[needle] = needles.get(needle, 0) | bits
            case Number(number):
                self._numbers[number] = self._numbers.get(number, 0) | bits
            case Truth(truth):
                text = str(truth).lower()
                self._exact[text] = self._exact.get(text, 0) | bits
            case Expression():
                needle = Needle(expression_text(value), is_expression=True)
                needles[needle] = needles.get(needle, 0) | bits
            case _:
                raise TypeError(f"{type(value).__name__} can't be looked up")


class _Keywords:
    """What keywords are in an event that was read from a log.

    Its record is scanned as JSON, in which it is written far sooner than its texts are picked out: with the keywords
    escaped as there. That holds for ASCII; where there is more, the texts are.
    """

    def __init__(self, wanted: Mapping[Value, int], databases: Databases, engine: Engine) -> None:
        self._texts = _Field(wanted, databases, engine)
        needles = {
            value: _needle(value.parts).text for value in wanted if isinstance(value, Text) and len(value.parts) > 1
        }
        plain = {value: text for value, text in needles.items() if text.isascii()}
        self._bits = [wanted[value] for value in plain]
        literals = [_encode(text)[1:-1].decode() for text in plain.values()]
        self._found = caseless_scanner(literals, databases) if engine == "hyperscan" else None

    def met(self, event: Event) -> int:
        """Return the bits that the event meets."""
        log = event.data.log
        if self._found is not None and log is not None:
            record = _encode((*log.fields.values(), log.message))
            if record.isascii():
                bits = self._texts.present
                for at in self._found(record):
                    bits |= self._bits[at]
                return bits
        return self._texts.met_by_text(joined_texts(event))


_encode = msgspec.json.Encoder().encode


def _needle(parts: Sequence[Any]) -> Needle:
    """Return the most telling literal of a text with wildcards, and where in the text it must be."""
    at = telling_literal(parts)
    return Needle(parts[at].casefold(), at_start=at == 0, at_end=at == len(parts) - 1)
