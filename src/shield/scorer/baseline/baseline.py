"""What is normal on this host: learnt day by day, and what an event shows beyond it told as signals.

A thing is known once it was seen on several distinct days, however often on each: one busy day teaches no more than a
quiet one, and what happens today counts from tomorrow on. What is seen is learnt only after a quarantine, and only from
stories that did not become WATCH or ALERT; what such a story taught before is unlearnt.
"""

from collections import Counter
from typing import Literal

from msgspec import Struct

from shield.event import Action, Event, Signal
from shield.policy.schema import BaselineSettings
from shield.scorer.baseline.clock import Clock
from shield.scorer.baseline.finding import signal
from shield.scorer.baseline.lessons import Lesson, Lessons
from shield.scorer.baseline.observation import CROWDED, KINDS, Kind, Observation, Subject, observations
from shield.scorer.baseline.quarantine import HELD_MOST, Quarantine
from shield.scorer.baseline.state import State, pack, unpack
from shield.scorer.baseline.table import Table

UNLEARNT = "unlearnt"
_RARE_SHARE = 3
_SECOND_NS = 1_000_000_000

Phase = Literal["off", "learning", "scoring"]


class Status(Struct, frozen=True):
    """How far the baseline is. `remembered` and `known` are by kind, `dropped` counts by reason what was not learnt."""

    phase: Phase
    summary: str
    days: int
    remembered: dict[Kind, int]
    known: dict[Kind, int]
    held: int
    tainted: int
    dropped: dict[str, int]


class Thing(Struct, frozen=True):
    """One thing remembered, for people: on how many days it was seen, and how many days ago the last time."""

    kind: Kind
    subject: Subject
    days: int
    last_seen_days_ago: int
    known: bool


class Baseline:
    """The baseline of one host, under one policy. `signals` comes before an event's verdict, `learn` after it."""

    def __init__(self, settings: BaselineSettings) -> None:
        self._set(settings)
        self._start(Clock(), Counter())

    def adjust(self, settings: BaselineSettings) -> None:
        """Go on under other settings, with all that is remembered."""
        if settings != self._settings:
            remembered = self.export()
            self._set(settings)
            self.restore(remembered)

    def signals(self, event: Event) -> tuple[Signal, ...]:
        """Return what is new or rare about `event`; nothing while the first days are learnt."""
        if not self._settings.enabled:
            return ()
        seen = observations(event)
        if not seen:
            return ()
        clock = self._clock
        clock.move(event.ts_ns)
        if clock.days_learnt < self._settings.learn_days:
            return ()
        unknown = [one for one in seen if self._days(one) < self._settings.min_days_known]
        return self._told(unknown, event) if unknown else ()

    def learn(self, event: Event, action: Action) -> None:
        """Take in `event`, for which `action` was decided."""
        if not self._settings.enabled:
            return
        clock = self._clock
        clock.move(event.ts_ns)
        self._settle()
        if action != "ALLOW":
            self._taint(event.correlation_id)
            return
        for kind, subject, _ in observations(event):
            if not self._tables[kind].credited(subject, clock.day):
                self._quarantine.hold(kind, subject, event.correlation_id, clock.day, clock.elapsed_ns)

    @property
    def dropped(self) -> dict[str, int]:
        """Counts by reason of what was not learnt, or not kept."""
        return dict(+self._dropped)

    @property
    def status(self) -> Status:
        """How far the baseline is."""
        days, learn_days = self._clock.days_learnt, self._settings.learn_days
        phase: Phase = "scoring" if days >= learn_days else "learning"
        summary = f"learning {days} of {learn_days} days" if phase == "learning" else f"scoring after {days} days"
        if not self._settings.enabled:
            phase = summary = "off"
        return Status(
            phase=phase,
            summary=summary,
            days=days,
            remembered={kind: len(table) for kind, table in self._tables.items()},
            known={kind: table.known for kind, table in self._tables.items()},
            held=len(self._quarantine),
            tainted=len(self._quarantine.tainted),
            dropped=self.dropped,
        )

    def things(self) -> list[Thing]:
        """Return everything that is remembered, by kind and subject. A subject that is a program alone stands for all
        the places it goes to, or all the ports it listens on."""
        known_from, day = self._settings.min_days_known, self._clock.day
        return [
            Thing(kind, subject, seen.days, day - seen.last, seen.days >= known_from)
            for kind, table in self._tables.items()
            for subject, seen in sorted(table.items())
        ]

    def export(self) -> bytes:
        """Return all that is remembered, for `restore`."""
        return pack(
            State(
                clock=self._clock,
                tables={kind: list(table.items()) for kind, table in self._tables.items()},
                held=list(self._quarantine.held),
                tainted=self._quarantine.tainted,
                lessons=list(self._lessons),
                dropped=self.dropped,
            )
        )

    def restore(self, stored: bytes) -> None:
        """Go on from what `export` returned. Raises BaselineDamaged, and then stays as it was."""
        state = unpack(stored)
        self._start(state.clock, Counter(state.dropped))
        for kind, entries in state.tables.items():
            for subject, seen in entries:
                self._tables[kind].put(subject, seen)
        self._quarantine.resume(state.held[-HELD_MOST:], state.tainted)
        for lesson in state.lessons:
            self._lessons.note(lesson)

    def _set(self, settings: BaselineSettings) -> None:
        self._settings = settings
        self._points: dict[Kind, int] = {kind: getattr(settings.points, kind) for kind in KINDS}

    def _start(self, clock: Clock, dropped: Counter[str]) -> None:
        settings = self._settings
        self._clock = clock
        self._dropped = dropped
        self._tables: dict[Kind, Table] = {
            kind: Table(settings.entries_most, settings.min_days_known, dropped, kind in CROWDED) for kind in KINDS
        }
        self._quarantine = Quarantine(
            settings.quarantine_seconds * _SECOND_NS, settings.taint_seconds * _SECOND_NS, dropped
        )
        self._lessons = Lessons(dropped)

    def _days(self, observation: Observation) -> int:
        """Return on how many days before today something was seen, by itself or by what stands for it."""
        kind, subject, vouchers = observation
        table, today = self._tables[kind], self._clock.day
        days = table.days_before(subject, today)
        return max(days, *(table.days_before(voucher, today) for voucher in vouchers)) if vouchers else days

    def _told(self, unknown: list[Observation], event: Event) -> tuple[Signal, ...]:
        days_learnt = self._clock.days_learnt
        signals: list[Signal] = []
        for observation in unknown:
            kind, seen = observation.kind, self._days(observation)
            points = self._points[kind] // (_RARE_SHARE if seen else 1)
            if points:
                signals.append(signal(kind, event, seen, days_learnt, points))
                if kind == "executable" and not seen:
                    break  # all else about a program that never ran is new too, and says nothing more
        return tuple(signals)

    def _settle(self) -> None:
        """Learn what was held long enough."""
        for held in self._quarantine.due(self._clock.elapsed_ns):
            credited = self._tables[held.kind].credit(held.subject, held.day)
            if credited:
                self._lessons.note(Lesson(held.story, held.day, held.kind, credited))

    def _taint(self, story: str) -> None:
        if not story:
            return
        self._quarantine.taint(story, self._clock.elapsed_ns)
        for lesson in self._lessons.taken_back(story):
            self._dropped[UNLEARNT] += self._tables[lesson.kind].discredit(lesson.subject, lesson.day)
