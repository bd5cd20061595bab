"""Which rules match an event: the one interface through which the rest of Shield sees Sigma.

Rules are grouped by what kind of event they are about. A group makes each distinct comparison once an event, whatever
the number of rules that ask for it, and remembers what it found: the comparisons that hold for a value, and the rules
that follow from a set of comparisons. Most events repeat both, and then cost a few dictionary look-ups.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shield.event import Category, Event, Evidence, Platform, Signal
from shield.scorer.sigma.condition import Comparison, Oracle, comparisons, holds, reasons
from shield.scorer.sigma.fields import CATEGORIES, Getter, Value, getter, texts
from shield.scorer.sigma.predicate import Predicate
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.scan import Scan

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
        self._asked = asked
        self._others = [numbered for numbered in asked if not numbered.predicate.literal]
        self._with_literal = [numbered for numbered in asked if numbered.predicate.literal]
        self._literals = Scan([re.escape(one.literal) for _, one in self._with_literal])
        self._expressions = Scan([one.expression for _, one in self._others])
        self._absent = sum(bit for bit, one in asked if one.holds(None))
        self._known: dict[str | tuple[Any, ...], int] = {}

    def held(self, found: Value) -> int:
        """Return the bits of the comparisons that hold for a value of the field."""
        if found is None:
            return self._absent
        if isinstance(found, str):
            return self._of_text(found)
        if isinstance(found, tuple):
            return self._of_list(found)
        return sum(bit for bit, predicate in self._asked if predicate.test(found))

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
        if held is None:
            held = sum(bit for bit, predicate in self._candidates(found) if predicate.test(found))
            if len(found) <= _LONGEST_REMEMBERED:
                _remember(self._known, found, held)
        return held

    def _candidates(self, found: str) -> list[_Numbered]:
        """Return the comparisons that a text may satisfy: all that it does, and seldom others."""
        proposed = [self._with_literal[index] for index in self._literals.candidates(found.lower())]
        if not (found.isascii() and found.isprintable()):  # RE2 and Python have their own ideas of all other texts
            return proposed + self._others
        return proposed + [self._others[index] for index in self._expressions.candidates(found)]


class _Group:
    """The rules about one kind of event."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._bits: dict[tuple[str, str], int] = {}
        asked: dict[str, list[_Numbered]] = {}
        for comparison in (one for rule in rules for one in comparisons(rule.condition)):
            if comparison.identity not in self._bits:
                bit = self._bits[comparison.identity] = 1 << len(self._bits)
                asked.setdefault(comparison.field, []).append(_Numbered(bit, comparison.predicate))
        self._fields = [_Field(getter(name) if name else texts, numbered) for name, numbered in asked.items()]
        self._decided: dict[int, tuple[Rule, ...]] = {}

    def matching(self, event: Event) -> tuple[Rule, ...]:
        """Return the rules that match, in the order they were loaded."""
        held = self._held(event)
        decided = self._decided.get(held)
        if decided is None:
            oracle = self._oracle(held)
            decided = tuple(rule for rule in self.rules if holds(rule.condition, oracle))
            _remember(self._decided, held, decided)
        return decided

    def evidence(self, rule: Rule, event: Event) -> list[Evidence]:
        """Return why a rule that matches does, one piece a field, the most specific pattern first."""
        best: dict[str, Comparison] = {}
        for reason in reasons(rule.condition, self._oracle(self._held(event))):
            known = best.get(reason.field)
            if known is None or len(reason.predicate.pattern) > len(known.predicate.pattern):
                best[reason.field] = reason
        ranked = sorted(best.values(), key=lambda one: -len(one.predicate.pattern))
        return [_evidence(one, event) for one in ranked]

    def _held(self, event: Event) -> int:
        held = 0
        for field in self._fields:
            held |= field.held(field.get(event))
        return held

    def _oracle(self, held: int) -> Oracle:
        return lambda comparison: bool(held & self._bits[comparison.identity])


def _evidence(comparison: Comparison, event: Event) -> Evidence:
    found = (getter(comparison.field) if comparison.field else texts)(event)
    predicate = comparison.predicate
    return Evidence(comparison.field, _around(predicate.matched(found), predicate.place), predicate.pattern)


def _around(text: str, place: Callable[[str], int]) -> str:
    """Return `text`, or where it is long the part of it around the match."""
    if len(text) <= VALUE_MOST:
        return text
    begin = max(0, place(text) - VALUE_MOST // 3)
    end = begin + VALUE_MOST
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")


def _remember(memory: dict[Any, Any], key: Any, result: Any) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = result
