"""Which rules match an event: the one interface through which the rest of Shield sees Sigma.

Rules are grouped by log source. In a group an index (`candidates`) names the few rules that an event may match; only
their conditions are looked at.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from shield.event import Event, Evidence, Platform, Signal
from shield.scorer.sigma import logsource
from shield.scorer.sigma.candidates import Candidates
from shield.scorer.sigma.evaluate import Holds, Reason, View, Why, compiled, matched, reasons
from shield.scorer.sigma.logsource import LogSource
from shield.scorer.sigma.predicate import place_of
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.scan import ENGINE, Databases, Engine
from shield.scorer.sigma.value import Value

VALUE_MOST = 240
Clock = Callable[[], int]
"""Returns nanoseconds from any beginning."""


class Profile(NamedTuple):
    """What one event cost, in nanoseconds: to find the rules it may match, and to judge each, which matched or not."""

    index_ns: int
    judged: list[tuple[Rule, int, bool]]


class Matcher:
    """Matches events against `rules`; `points` gives each rule's points by its id, and a rule of 0 points is off.

    `needed` are ids of rules that are matched though they give no points. `databases` keeps compiled scanners.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        points: Mapping[str, int],
        needed: frozenset[str] = frozenset(),
        databases: Databases | None = None,
        engine: Engine = ENGINE,
    ) -> None:
        self._rules = [rule for rule in rules if points[rule.id] > 0 or rule.id in needed]
        self._kinds = {_kind(rule): rule for rule in self._rules}
        self._points = points
        self._databases = databases or Databases()
        self._engine: Engine = engine
        self._why: dict[str, Why] = {}
        self._groups: dict[tuple[str, ...], _Group] = {}

    def prepare(self, os: Platform) -> None:
        """Compile the rules about what Shield observes on a platform now, not at the first event of each kind."""
        for category in logsource.OBSERVED:
            self._grouped((os, category), logsource.observed(os, category))

    def prepare_all(self) -> None:
        """Compile the rules about every log source that rules name, so that all databases are known."""
        for source in logsource.named(self._rules):
            self._grouped((source.product, source.service, source.category), source)

    def match(self, event: Event) -> tuple[Signal, ...]:
        """Return a signal for each rule that matches, the weightiest first."""
        return self.signals(event, self.matching(event))

    def matching(self, event: Event) -> list[Rule]:
        """Return the rules that match, in the order they were loaded."""
        log = event.data.log
        key = (event.os, event.category) if log is None else (log.product, log.service, log.category)
        group = self._groups.get(key) or self._grouped(key, logsource.of(event))
        return group.matching(event)

    def profiled(self, event: Event, clock: Clock) -> Profile:
        """Return what `event` costs by `clock`; what is compiled only once is left out."""
        source = logsource.of(event)
        key = (source.product, source.service, source.category) if source.logged else (event.os, event.category)
        return (self._groups.get(key) or self._grouped(key, source)).profiled(event, clock)

    def signals(self, event: Event, rules: Sequence[Rule]) -> tuple[Signal, ...]:
        """Return a signal for each of `rules`, which match `event`, that gives points; the weightiest first."""
        if not rules:
            return ()
        view = View(event)
        signals = [self._signal(rule, view) for rule in rules if self._points[rule.id] > 0]
        return tuple(sorted(signals, key=lambda signal: (-signal.points, signal.name, signal.rule_id)))

    def _grouped(self, key: tuple[str, ...], source: LogSource) -> "_Group":
        covered = {kind for kind, rule in self._kinds.items() if logsource.covers(rule, source)}
        about = [rule for rule in self._rules if _kind(rule) in covered]
        group = self._groups[key] = _Group(about, source.logged, self._databases, self._engine)
        return group

    def _signal(self, rule: Rule, view: View) -> Signal:
        why = self._why.get(rule.id)
        if why is None:
            why = self._why[rule.id] = reasons(rule.condition)
        first, *further = _evidence(why(view) or (), view) or [Evidence("", "", "")]
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


def _kind(rule: Rule) -> tuple[str | None, ...]:
    """Return what decides which log sources a rule is about."""
    return rule.product, rule.service, rule.category


class _Conditions(dict[int, Holds]):
    """The conditions of rules by their numbers, each compiled when it is first looked at."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__()
        self._rules = rules

    def __missing__(self, number: int) -> Holds:
        holds = self[number] = compiled(self._rules[number].condition)
        return holds


class _Group:
    """The rules about one log source."""

    def __init__(self, rules: Sequence[Rule], logged: bool, databases: Databases, engine: Engine) -> None:
        self._rules = rules
        self._conditions = _Conditions(rules)
        self._candidates = Candidates(rules, logged, databases, engine)

    def matching(self, event: Event) -> list[Rule]:
        """Return the rules that match."""
        numbers = self._candidates.of(event)
        if not numbers:
            return []
        view, conditions = View(event), self._conditions
        return [self._rules[number] for number in numbers if conditions[number](view)]

    def profiled(self, event: Event, clock: Clock) -> Profile:
        """Return what `event` costs."""
        begin = clock()
        numbers = self._candidates.of(event)
        index_ns = clock() - begin
        view, judged = View(event), list[tuple[Rule, int, bool]]()
        for number in numbers:
            holds = self._conditions[number]
            begin = clock()
            is_match = holds(view)
            judged.append((self._rules[number], clock() - begin, is_match))
        return Profile(index_ns, judged)


def _evidence(because: Sequence[Reason], view: View) -> list[Evidence]:
    """Return what made a rule match, one piece a field, the most specific pattern first."""
    best: dict[str, Reason] = {}
    for reason in because:
        known = best.get(reason.field)
        if known is None or len(reason.pattern) > len(known.pattern):
            best[reason.field] = reason
    ranked = sorted(best.values(), key=lambda reason: -len(reason.pattern))
    return [Evidence(one.field, _around(matched(one, view), one.value), one.pattern) for one in ranked]


def _around(text: str, value: Value) -> str:
    """Return `text`, or where it is long the part of it around the match."""
    if len(text) <= VALUE_MOST:
        return text
    begin = max(0, place_of(value, text) - VALUE_MOST // 3)
    end = begin + VALUE_MOST
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
