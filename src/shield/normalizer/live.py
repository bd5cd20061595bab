"""Everything that is seen of this host, whatever saw it, becomes events of one process tree."""

from collections.abc import Callable, Sequence

import msgspec

from shield.event import Event
from shield.normalizer.escalation import escalation
from shield.normalizer.lineage import Lineage
from shield.normalizer.log import LogNormalizer
from shield.normalizer.observation import ObservationNormalizer
from shield.normalizer.origin import Origin
from shield.normalizer.process import ProcessNormalizer
from shield.record import Actor, LogRecord, Observation, ProcessExec, Record

ENDED_MOST = 4096
"""How many ended processes a live lineage should remember: other sources tell of them a moment later."""


class LiveNormalizer:
    """Turns the records of one host into events. `random_bits` gives 74 of them, for an event's id."""

    def __init__(self, origin: Origin, lineage: Lineage, random_bits: Callable[[], int]) -> None:
        self._processes = ProcessNormalizer(origin, lineage)
        self._observations = ObservationNormalizer(origin, lineage)
        self._logs = LogNormalizer(origin.host, {origin.host: lineage})
        self._lineage = lineage
        self._host = origin.host
        self._random_bits = random_bits

    def events(self, record: Record) -> Sequence[Event] | str:
        """Return the events of a record, or into what it was folded."""
        if isinstance(record, Observation):
            return (self._observations.event(record),)
        if isinstance(record, LogRecord):
            own = record if record.host == self._host else msgspec.structs.replace(record, host=self._host)
            return (self._logs.event(own, self._random_bits()),)
        gained = self._escalation(record) if isinstance(record, ProcessExec) else ()
        event = self._processes.event(record)
        return event if isinstance(event, str) else (event, *gained)

    def _escalation(self, start: ProcessExec) -> Sequence[Event]:
        """Return the event of a process that has become root without a program that makes it so."""
        node = self._lineage.find(start.process.pid, start.start_ticks)
        privilege = escalation(node.user, start) if node is not None else None
        if privilege is None:
            return ()
        actor = Actor(start.process.pid, start.start_ticks)
        return (self._observations.event(Observation(start.ts_ns, "privilege_change", actor, privilege=privilege)),)
