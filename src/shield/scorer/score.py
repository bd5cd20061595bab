"""The score of an event: its own signals, and those its story has shown before.

Points add up and are capped at 100. Signals of earlier events of the same story still count, less and less until the
policy's window is over, so that a chain of small signs becomes one alert; but only an event that adds a sign the story
hasn't shown yet carries them: a repeat of what is known scores on its own.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import Protocol

import msgspec
from msgspec import Struct

from shield.event import Event, Platform, Severity, Signal
from shield.policy.schema import LEVEL_POINTS, Policy
from shield.scorer.quiet import quietened
from shield.scorer.sigma.correlation import Correlations
from shield.scorer.sigma.correlation import signal as correlated
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.ruleset import Ruleset
from shield.scorer.sigma.scan import Databases
from shield.scorer.subject import Subject, subject

SCORE_MOST = 100
LOW_SIGNAL = "low_signal"
_STORIES_MOST = 8192
_SIGNALS_MOST = 64


class Witness(Protocol):
    """Something beside the rules that has signals to give: the baseline, indicators."""

    def signals(self, event: Event) -> tuple[Signal, ...]:
        """Return its signals about one event."""
        ...


class Assessment(Struct, frozen=True):
    """What the scorer says of one event."""

    score: int
    rationale: str
    dedupe_key: str
    signals: tuple[Signal, ...] = ()
    story: tuple[Signal, ...] = ()
    attack: tuple[str, ...] = ()


class Scorer:
    """Scores events in their order, under one policy, with one set of usable rules and further witnesses.

    `databases` are the rules' compiled scanners.
    """

    def __init__(
        self,
        ruleset: Ruleset,
        policy: Policy,
        databases: Databases | None = None,
        witnesses: Sequence[Witness] = (),
    ) -> None:
        self.rules = len(ruleset)
        self._points = points((*ruleset.rules, *ruleset.correlations), policy)
        self._ruleset = ruleset
        self.correlations = self._new_correlations()
        self._referenced = self.correlations.referenced
        self._silent = self.correlations.silent
        self.matcher = Matcher(ruleset.rules, self._points, self._referenced, databases)
        self._witnesses = witnesses
        self._window_ns = policy.story.window_ns
        self._stories: OrderedDict[str, dict[str, tuple[int, Signal]]] = OrderedDict()

    def anew(self) -> "Scorer":
        """Return a scorer with the same rules, policy and witnesses that has seen nothing yet."""
        other = copy(self)
        other.correlations = self._new_correlations()
        other._stories = OrderedDict()
        return other

    def _new_correlations(self) -> Correlations:
        """Return the correlations that are not switched off, with nothing in them."""
        used = [one for one in self._ruleset.correlations if self._points[one.id] > 0]
        return Correlations(used, self._ruleset.rules)

    def prepare(self, os: Platform) -> None:
        """Compile the rules about one platform's events now, so that the first event needn't wait for it."""
        self.matcher.prepare(os)

    def succeed(self, earlier: "Scorer") -> None:
        """Go on from where `earlier` stands: with its stories, its witnesses, and what its correlations have seen."""
        self._stories = earlier._stories
        self._witnesses = earlier._witnesses
        self.correlations.restore(earlier.correlations.state())
        self.correlations.dropped.update(earlier.correlations.dropped)

    def assess(self, event: Event, found: tuple[Signal, ...] = ()) -> Assessment:
        """Return the score of `event` and remember its signals for its story.

        `found` are signals found later about an event that has been judged: they are its only ones now, and what it
        showed then is part of its story.
        """
        signals = quietened(event, _ranked(found) if found else self._signals(event))
        if not signals:
            return _nothing(event.category, subject(event))
        story = self._earlier(event, signals) if event.correlation_id else ()
        counted = signals + story
        return Assessment(
            score=min(SCORE_MOST, sum(signal.points for signal in counted)),
            rationale=";".join(dict.fromkeys(signal.name for signal in counted)),
            dedupe_key=_key(event.category, *subject(event), *sorted(signal.rule_id for signal in signals)),
            signals=signals,
            story=story,
            attack=tuple(sorted({technique for signal in counted for technique in signal.attack})),
        )

    def _signals(self, event: Event) -> tuple[Signal, ...]:
        """Return all signals of one event, the weightiest first."""
        matched = self.matcher.matching(event)
        loud = [rule for rule in matched if rule.id not in self._silent]
        found = self.matcher.signals(event, loud) if loud else ()
        more: tuple[Signal, ...] = ()
        if event.ts_ns > self.correlations.due_ns or (matched and self._concerned(matched)):
            fired = self.correlations.observe(event, matched)
            more = tuple(correlated(match, self._points[match.correlation.id]) for match in fired)
        for witness in self._witnesses:
            more += witness.signals(event)
        return _ranked(found + more) if more else found

    def _concerned(self, matched: Sequence[Rule]) -> bool:
        return any(rule.id in self._referenced for rule in matched)

    def _earlier(self, event: Event, signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
        """Return the story's signals that add to this event's own, and add those to the story."""
        known = self._stories.pop(event.correlation_id, {})
        known = {key: entry for key, entry in known.items() if event.ts_ns - entry[0] < self._window_ns}
        own = {signal.rule_id for signal in signals}
        new = not own <= known.keys()
        carried = (
            tuple(self._faded(entry, event.ts_ns) for key, entry in known.items() if key not in own) if new else ()
        )
        for signal in signals:
            if signal.rule_id not in known and len(known) < _SIGNALS_MOST:
                known[signal.rule_id] = event.ts_ns, msgspec.structs.replace(signal, event_id=event.event_id)
        self._stories[event.correlation_id] = known
        if len(self._stories) > _STORIES_MOST:
            self._stories.popitem(last=False)
        return carried

    def _faded(self, entry: tuple[int, Signal], now_ns: int) -> Signal:
        """Return an earlier signal with what is left of its points: in proportion to the time left, rounded up."""
        seen_ns, signal = entry
        left_ns = self._window_ns - max(0, now_ns - seen_ns)
        left = -(-signal.points * left_ns // self._window_ns)
        if left == signal.points:
            return signal
        return msgspec.structs.replace(signal, points=left, full_points=signal.points)


def points(rules: Sequence[Rule | Correlation], policy: Policy) -> dict[str, int]:
    """Return each rule's points under `policy`, by the rule's id: its weight, else its own points, else its level's."""
    return {rule.id: _points(rule, policy.weights, LEVEL_POINTS | policy.levels) for rule in rules}


def points_from(rule: Rule | Correlation, policy: Policy) -> str:
    """Return where a rule's points under `policy` come from, in words."""
    for key in (rule.id, rule.name):
        if key in policy.weights:
            return f"weights.{key} of the policy"
    if rule.points is not None:
        return "the rule's own"
    return f"levels.{rule.level} of the policy" if rule.level in policy.levels else f"those of level {rule.level}"


def _points(rule: Rule | Correlation, weights: Mapping[str, int], levels: Mapping[Severity, int]) -> int:
    by_id = weights.get(rule.id)
    weight = weights.get(rule.name) if by_id is None else by_id
    if weight is not None:
        return weight
    return levels[rule.level] if rule.points is None else rule.points


def _ranked(signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
    return tuple(sorted(signals, key=lambda signal: (-signal.points, signal.name, signal.rule_id)))


@lru_cache(maxsize=4096)
def _key(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=4096)
def _nothing(category: str, about: Subject) -> Assessment:
    return Assessment(score=0, rationale=LOW_SIGNAL, dedupe_key=_key(category, *about))
