"""Correlation rules at work: several matches of other rules, of the same group, within a timespan.

Time is that of the events, never of a clock, so that a replay gives the same answer as the live run. What an event adds
is judged at once, over the timespan that ends with it. A condition that further events could undo (`lt`, `lte`, `eq`,
`neq`, `not`) is judged when its window, begun by a first event, is over: when an event of a later time comes.

A correlation fires when its condition comes to hold in a group, and then for as long as a timespan not again in that
group. So each firing rests on events that no earlier one rested on, and an attack that goes on is told once a timespan.

All state is bounded; `dropped` counts what had to be forgotten though it might still have counted.
"""

from collections import Counter
from collections.abc import Sequence

from shield.event import Event
from shield.scorer.sigma.correlation.chain import Names, chain
from shield.scorer.sigma.correlation.group import GROUPS_MOST
from shield.scorer.sigma.correlation.match import CorrelationMatch
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.correlation.state import State, read, write
from shield.scorer.sigma.correlation.watch import NEVER, Arrival, Held, SlidingWatch, WholeWatch, watch
from shield.scorer.sigma.rule import Rule

BYTES_MOST = 64 << 20
"""About the most memory that all groups of all correlations may take."""

Watched = SlidingWatch | WholeWatch
Pending = dict[int, list[Arrival]]
_NO_VALUES: dict[str, str] = {}


def unresolved(correlations: Sequence[Correlation], rules: Sequence[Rule]) -> list[str]:
    """Return a line for each correlation that can't be used, with what to do: it names no rule, or goes in circles."""
    return list(chain(correlations, rules).problems)


class Correlations:
    """Judges `correlations` over the events that `rules` match; those that are `unresolved` are left out.

    `referenced` are the ids of the rules whose matches must be observed, whether or not they give points; `silent` are
    those of rules and correlations that must not alert by themselves. `dropped` counts what was forgotten too early:
    groups for `too_many_groups` and `too_much_memory`, events for `too_many_events` and `clock_moved_back`; and events
    that came more than a timespan `late`, for which others may have been forgotten. `skipped` counts matches that could
    take no part: `no_group_value`, `no_value`, `not_a_number`.
    """

    def __init__(self, correlations: Sequence[Correlation], rules: Sequence[Rule]) -> None:
        chained = chain(correlations, rules)
        names = Names([*rules, *correlations])
        self.dropped: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self._watches = [
            watch(one, chained.targets[one.id], names, self.dropped, self.skipped) for one in chained.correlations
        ]
        self._closing = [one for one in self._watches if one.correlation.settled]
        self._feeds: dict[str, list[tuple[int, int]]] = {}
        for index, one in enumerate(self._watches):
            for place, target in enumerate(one.targets):
                self._feeds.setdefault(target, []).append((index, 1 << place))
        for one in self._watches:
            followers = self._feeds.get(one.correlation.id, ())
            one.followed = any(self._watches[index].correlation.temporal for index, _ in followers)
        self.referenced = frozenset(self._feeds) - {one.correlation.id for one in self._watches}
        self.silent = frozenset(
            target for one in self._watches if not one.correlation.generate for target in one.targets
        )
        self._bytes = 0
        self.due_ns = NEVER
        """The time after which any event must be observed, whatever matched it: a window is over then."""

    @property
    def memory_bytes(self) -> int:
        """About how much memory all groups take."""
        return self._bytes

    def observe(self, event: Event, matched: Sequence[Rule]) -> tuple[CorrelationMatch, ...]:
        """Take in an event and the rules that matched it, and return the correlations that fire."""
        now = event.ts_ns
        fired: list[CorrelationMatch] = []
        if self.due_ns < now:
            self._close_windows(now, fired)
        pending: Pending = {}
        for rule in matched:
            for index, bit in self._feeds.get(rule.id, ()):
                pending.setdefault(index, []).append(Arrival(bit, now, event.event_id, event, _NO_VALUES))
        self._judge(pending, event, now, fired)
        self.due_ns = self._next_due()
        return tuple(fired)

    def state(self) -> bytes:
        """Return all groups, to be restored by a later run."""
        return write(State({one.identity: one.groups.kept() for one in self._watches if len(one.groups)}))

    def restore(self, state: bytes) -> None:
        """Take over the groups of an earlier run, of the correlations that are still the same.

        Raises StateRefused where it can't be used; there are no groups then.
        """
        for one in self._watches:
            one.clear()
        self._bytes, self.due_ns = 0, NEVER
        groups = read(state).groups
        for one in self._watches:
            for kept in groups.get(one.identity, ()):
                before = one.groups.bytes
                one.restore(kept)
                self._bound(one, before, kept.times[-1])
        self.due_ns = self._next_due()

    def _next_due(self) -> int:
        return min((one.due_ns for one in self._closing), default=NEVER)

    def _judge(self, pending: Pending, event: Event | None, now: int, fired: list[CorrelationMatch]) -> None:
        """Judge the correlations that something is `pending` for, each after those it refers to."""
        while pending:
            index = min(pending)
            one = self._watches[index]
            before = one.groups.bytes
            held = one.take(pending.pop(index))
            self._bound(one, before, now)
            self._pass_on(one, held, event, pending, fired)

    def _close_windows(self, now: int, fired: list[CorrelationMatch]) -> None:
        for one in self._closing:
            if one.due_ns < now:
                before = one.groups.bytes
                held = one.close(now)
                self._bound(one, before, now)
                pending: Pending = {}
                self._pass_on(one, held, None, pending, fired)
                self._judge(pending, None, now, fired)

    def _pass_on(
        self, one: Watched, held: Sequence[Held], event: Event | None, pending: Pending, fired: list[CorrelationMatch]
    ) -> None:
        """Report where a correlation fires, and tell those that refer to it.

        A temporal one is told each time that the condition holds, however soon after it was reported: what comes next
        counts from the last of them. One that counts is told what is reported, or a burst would count manifold.
        """
        silent = one.correlation.id in self.silent
        for time, event_id, values, told, match in held:
            if match is not None and not silent:
                fired.append(match)
            for index, bit in self._feeds.get(one.correlation.id, ()):
                temporal = self._watches[index].correlation.temporal
                if match is not None or temporal:
                    arrival = Arrival(bit, time, event_id, event, values, told if temporal else None)
                    pending.setdefault(index, []).append(arrival)

    def _bound(self, one: Watched, before: int, now: int) -> None:
        """Give up groups where there are too many of one correlation, or all take too much memory."""
        while len(one.groups) > GROUPS_MOST:
            one.give_up(now, "too_many_groups")
        self._bytes += one.groups.bytes - before
        while self._bytes > BYTES_MOST:
            largest = max(self._watches, key=lambda watched: watched.groups.bytes)
            before = largest.groups.bytes
            largest.give_up(now, "too_much_memory")
            self._bytes += largest.groups.bytes - before
