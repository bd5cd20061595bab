"""Which rules match an event: the one interface through which the rest of Shield sees Sigma.

Rules are grouped by what kind of event they are about. In a group each distinct comparison is made once an event,
whatever the number of rules that ask for it, and which rules follow from a set of comparisons is remembered.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from shield.event import Category, Event, Evidence, Platform, Signal
from shield.scorer.sigma.compare import Comparisons, Memory
from shield.scorer.sigma.condition import Comparison, Oracle, comparisons, holds, reasons
from shield.scorer.sigma.fields import CATEGORIES, getter, texts
from shield.scorer.sigma.rule import Rule

VALUE_MOST = 240


class Matcher:
    """Matches events against `rules`; `points` gives each rule's points by its id, and a rule of 0 points is off."""

    def __init__(self, rules: Iterable[Rule], points: Mapping[str, int]) -> None:
        self._rules = [rule for rule in rules if points[rule.id] > 0]
        self._points = points
        self._groups: dict[tuple[Category, Platform], _Group] = {}

    def prepare(self, os: Platform) -> None:
        """Compile the rules about events of one platform now; else each kind is compiled at its first event."""
        for category in CATEGORIES.values():
            self._group(category, os)

    def match(self, event: Event) -> tuple[Signal, ...]:
        """Return a signal for each rule that matches, the weightiest first."""
        group = self._groups.get((event.category, event.os)) or self._group(event.category, event.os)
        if not group.rules:
            return ()
        matched = group.matching(event)
        if not matched:
            return ()
        signals = [self._signal(rule, group, event) for rule in matched]
        return tuple(sorted(signals, key=lambda signal: (-signal.points, signal.name, signal.rule_id)))

    def _group(self, category: Category, os: Platform) -> "_Group":
        about = [rule for rule in self._rules if applies(rule, category, os)]
        group = self._groups[category, os] = _Group(about)
        return group

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


class _Group:
    """The rules about one kind of event."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._comparisons = Comparisons(one for rule in rules for one in comparisons(rule.condition))
        self._decided = Memory()

    def matching(self, event: Event) -> tuple[Rule, ...]:
        """Return the rules that match, in the order they were loaded."""
        held = self._comparisons.held(event)
        decided: tuple[Rule, ...] | None = self._decided.get(held)
        if decided is None:
            oracle = self._oracle(held)
            decided = tuple(rule for rule in self.rules if holds(rule.condition, oracle))
            self._decided.remember(held, decided)
        return decided

    def evidence(self, rule: Rule, event: Event) -> list[Evidence]:
        """Return why a rule that matches does, one piece a field, the most specific pattern first."""
        best: dict[str, Comparison] = {}
        for reason in reasons(rule.condition, self._oracle(self._comparisons.held(event))):
            known = best.get(reason.field)
            if known is None or len(reason.predicate.pattern) > len(known.predicate.pattern):
                best[reason.field] = reason
        ranked = sorted(best.values(), key=lambda one: -len(one.predicate.pattern))
        return [_evidence(one, event) for one in ranked]

    def _oracle(self, held: int) -> Oracle:
        return lambda comparison: self._comparisons.is_held(comparison, held)


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
