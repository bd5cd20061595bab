"""Everything that is seen of this host, whatever saw it, becomes events of one process tree."""

from collections.abc import Callable, Sequence

import msgspec

from shield.event import Event
from shield.normalizer.connection import ENDED_FOLDED, OPENED_FOLDED, WINDOW_NS, Connections
from shield.normalizer.escalation import escalation
from shield.normalizer.lineage import Lineage
from shield.normalizer.log import LogNormalizer
from shield.normalizer.observation import ObservationNormalizer
from shield.normalizer.origin import Origin
from shield.normalizer.process import ProcessNormalizer
from shield.normalizer.resolution import Resolutions
from shield.record import Actor, LogRecord, Observation, ProcessExec, ProcessExit, Record

ENDED_MOST = 4096
"""How many ended processes a live lineage should remember: other sources tell of them a moment later."""


class LiveNormalizer:
    """Turns the records of one host into events.

    `random_bits` gives 74 of them, for an event's id. Connections of one process to one destination within `fold_ns`
    are folded.
    """

    def __init__(
        self, origin: Origin, lineage: Lineage, random_bits: Callable[[], int], fold_ns: int = WINDOW_NS
    ) -> None:
        self._processes = ProcessNormalizer(origin, lineage)
        self._observations = ObservationNormalizer(origin, lineage)
        self._logs = LogNormalizer(origin.host, {origin.host: lineage})
        self._connections = Connections(fold_ns)
        self._resolutions = Resolutions()
        self._lineage = lineage
        self._host = origin.host
        self._random_bits = random_bits

    def events(self, record: Record) -> Sequence[Event] | str:
        """Return the events of a record, or into what it was folded."""
        if isinstance(record, Observation):
            return self._observed(record)
        if isinstance(record, LogRecord):
            own = record if record.host == self._host else msgspec.structs.replace(record, host=self._host)
            return (self._logs.event(own, self._random_bits()),)
        gained = self._escalation(record) if isinstance(record, ProcessExec) else ()
        event = self._processes.event(record)
        if isinstance(record, ProcessExit):
            self._connections.exited(record.pid, record.start_ticks, record.ts_ns)
        return event if isinstance(event, str) else (event, *gained)

    def due(self, now_ns: int) -> Sequence[Event]:
        """Return the events of what was held back until now (Unix time)."""
        return [self._observations.event(total) for total in self._connections.due(now_ns)]

    def rest(self) -> Sequence[Event]:
        """Return the events of all that is held back."""
        return [self._observations.event(total) for total in self._connections.rest()]

    def _observed(self, seen: Observation) -> Sequence[Event] | str:
        if seen.category == "dns_query":
            self._resolutions.learn(seen)
        elif seen.category == "network_connection" and seen.network is not None:
            told = self._connections.take(self._resolutions.named(seen))
            if not told:
                return OPENED_FOLDED if seen.network.state == "opened" else ENDED_FOLDED
            return [self._observations.event(one) for one in told]
        return (self._observations.event(seen),)

    def _escalation(self, start: ProcessExec) -> Sequence[Event]:
        """Return the event of a process that has become root without a program that makes it so."""
        node = self._lineage.find(start.process.pid, start.start_ticks)
        privilege = escalation(node.user, start) if node is not None else None
        if privilege is None:
            return ()
        actor = Actor(start.process.pid, start.start_ticks)
        return (self._observations.event(Observation(start.ts_ns, "privilege_change", actor, privilege=privilege)),)
