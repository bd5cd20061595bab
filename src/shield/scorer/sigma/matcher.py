"""Which rules match an event: the one interface through which the rest of Shield sees Sigma.

Rules are grouped by what kind of event they are about. A group makes each distinct comparison once an event, whatever
the number of rules that ask for it, and remembers what it found: the comparisons that hold for a value, and the rules
that follow from a set of comparisons. Most events repeat both, and then cost a few dictionary look-ups.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shield.event import Category, Event, Evidence, Platform, Signal
from shield.scorer.sigma.condition import Comparison, Oracle, comparisons, reasons, value
from shield.scorer.sigma.fields import CATEGORIES, Getter, Value, getter, texts
from shield.scorer.sigma.predicate import Predicate
from shield.scorer.sigma.rule import Rule

VALUE_MOST = 240
_REMEMBERED = 8192
_LONGEST_REMEMBERED = 1024
_LONGEST_LIST_REMEMBERED = 40


class Matcher:
    """Matches events against `rules`; `points` gives each rule's points by its id, and a rule of 0 points is off."""

    def __init__(self, rules: Iterable[Rule], points: Mapping[str, int]) -> None:
        self._rules = [rule for rule in rules if points[rule.id] > 0]
        self._points = points
        self._groups: dict[tuple[Category, Platform], _Group] = {}

    def match(self, event: Event) -> tuple[Signal, ...]:
        """Return a signal for each rule that matches, the weightiest first."""
        group = self._groups.get((event.category, event.os))
        if group is None:
            group = self._groups[event.category, event.os] = _Group(self._about(event.category, event.os))
        if not group.rules:
            return ()
        matched = group.matching(event)
        if not matched:
            return ()
        signals = [self._signal(rule, group, event) for rule in matched]
        return tuple(sorted(signals, key=lambda signal: (-signal.points, signal.name, signal.rule_id)))

    def _about(self, category: Category, os: Platform) -> list[Rule]:
        return [rule for rule in self._rules if applies(rule, category, os)]

    def _signal(self, rule: Rule, group: "_Group", event: Event) -> Signal:
        first, *further = group.evidence(rule, event) or [Evidence("", "", "")]
        return Signal(
            rule_id=rule.id,
            name=rule.name,
            points=self._points[rule.id],
            title=rule.title,
            level=rule.level,
            field=first.field,
            value=first.value,
            pattern=first.pattern,
            further=tuple(further),
            attack=rule.attack,
        )


def applies(rule: Rule, category: Category, os: Platform) -> bool:
    """Return whether `rule` is about events of that category on that platform."""
    if rule.service is not None or CATEGORIES.get(rule.category or "") != category:
        return False
    return rule.product in (None, os)


class _Numbered(NamedTuple):
    """A comparison and its place in the masks of a group."""

    bit: int
    predicate: Predicate


class _Field:
    """All that is asked of one field."""

    def __init__(self, get: Getter, asked: Sequence[_Numbered]) -> None:
        self.get = get
        self._cheap = [(bit, one) for bit, one in asked if not one.costly]
        self._costly = [(bit, one) for bit, one in asked if one.costly]
        self._of_texts = [(bit, one.literal, None if one.sufficient else one.test) for bit, one in self._cheap]
        self._absent = sum(bit for bit, one in asked if one.holds(None))
        self._known: dict[str | tuple[Any, ...], int] = {}

    def held(self, found: Value) -> int:
        """Return the bits of the comparisons, the costly ones aside, that hold for a value of the field."""
        if found is None:
            return self._absent
        if isinstance(found, str):
            return self._of_text(found)
        if isinstance(found, tuple):
            return self._of_list(found)
        return sum(bit for bit, predicate in self._cheap if predicate.test(found))

    def costly(self, found: Value, wanted: int) -> int:
        """Return the bits among `wanted` of the costly comparisons that hold."""
        return sum(bit for bit, predicate in self._costly if bit & wanted and predicate.holds(found))

    def _of_list(self, found: tuple[Any, ...]) -> int:
        held = self._known.get(found)
        if held is None:
            held = 0
            for element in found:
                held |= self.held(element)
            if len(found) <= _LONGEST_LIST_REMEMBERED:
                _remember(self._known, found, held)
        return held

    def _of_text(self, found: str) -> int:
        held = self._known.get(found)
        if held is not None:
            return held
        held = 0
        folded = found.lower()
        for bit, literal, test in self._of_texts:
            if literal in folded and (test is None or test(found)):
                held |= bit
        if len(found) <= _LONGEST_REMEMBERED:
            _remember(self._known, found, held)
        return held


class _Group:
    """The rules about one kind of event."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._bits: dict[tuple[str, str], int] = {}
        self._costly = 0
        asked: dict[str, list[_Numbered]] = {}
        for comparison in (one for rule in rules for one in comparisons(rule.condition)):
            if comparison.identity not in self._bits:
                bit = self._bits[comparison.identity] = 1 << len(self._bits)
                asked.setdefault(comparison.field, []).append(_Numbered(bit, comparison.predicate))
                self._costly |= bit if comparison.predicate.costly else 0
        self._fields = [_Field(getter(name) if name else texts, numbered) for name, numbered in asked.items()]
        self._needs = {
            rule.id: self._costly & sum({self._bits[one.identity] for one in comparisons(rule.condition)})
            for rule in rules
        }
        self._decided: dict[int, tuple[tuple[Rule, ...], tuple[Rule, ...]]] = {}

    def matching(self, event: Event) -> list[Rule]:
        """Return the rules that match, in the order they were loaded."""
        held = 0
        for field in self._fields:
            held |= field.held(field.get(event))
        sure, maybe = self._decided.get(held) or self._decide(held)
        if not maybe:
            return list(sure)
        wanted = 0
        for rule in maybe:
            wanted |= self._needs[rule.id]
        oracle = self._oracle(held | self._costly_held(event, wanted), 0)
        also = {rule.id for rule in maybe if value(rule.condition, oracle)}
        also.update(rule.id for rule in sure)
        return [rule for rule in self.rules if rule.id in also]

    def evidence(self, rule: Rule, event: Event) -> list[Evidence]:
        """Return why a rule that matches does, one piece a field, the most specific pattern first."""
        held = self._costly_held(event, self._needs[rule.id])
        for field in self._fields:
            held |= field.held(field.get(event))
        best: dict[str, Comparison] = {}
        for reason in reasons(rule.condition, self._oracle(held, 0)):
            known = best.get(reason.field)
            if known is None or len(reason.predicate.pattern) > len(known.predicate.pattern):
                best[reason.field] = reason
        ranked = sorted(best.values(), key=lambda one: -len(one.predicate.pattern))
        return [_evidence(one, event) for one in ranked]

    def _decide(self, held: int) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
        oracle = self._oracle(held, self._costly)
        verdicts = [(rule, value(rule.condition, oracle)) for rule in self.rules]
        decided = (
            tuple(rule for rule, holds in verdicts if holds),
            tuple(rule for rule, holds in verdicts if holds is None),
        )
        _remember(self._decided, held, decided)
        return decided

    def _oracle(self, held: int, unmade: int) -> Oracle:
        def oracle(comparison: Comparison) -> bool | None:
            bit = self._bits[comparison.identity]
            return None if bit & unmade else bool(bit & held)

        return oracle

    def _costly_held(self, event: Event, wanted: int) -> int:
        held = 0
        for field in self._fields:
            held |= field.costly(field.get(event), wanted)
        return held


def _evidence(comparison: Comparison, event: Event) -> Evidence:
    found = (getter(comparison.field) if comparison.field else texts)(event)
    predicate = comparison.predicate
    return Evidence(comparison.field, _around(predicate.matched(found), predicate.literal), predicate.pattern)


def _around(text: str, literal: str) -> str:
    """Return `text`, or where it is long the part of it around `literal`."""
    if len(text) <= VALUE_MOST:
        return text
    begin = max(0, text.lower().find(literal) - VALUE_MOST // 3)
    end = begin + VALUE_MOST
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")


def _remember(memory: dict[Any, Any], key: Any, result: Any) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = result
