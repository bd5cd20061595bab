"""Provenance in the records of process starts, between the collector and the normalizer.

Where it isn't known yet, the start goes out without it and says so in `gaps`; `findings` gives the same event with it
later, to be judged again. Only what a rule could care about comes so: nothing is to be said of a program that is as its
package brought it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from shield.event import Event, Ledger, Process, Provenance
from shield.record import ProcessExec, Record

if TYPE_CHECKING:  # Windows has none of it
    from shield.collector.linux.provenance.service import Learnt, Ticket

_WAITING_MOST = 1024


class Source(Protocol):
    """Where provenance comes from: `shield.collector.linux.provenance.service.Provenances`."""

    def of(self, process: Process, started_ns: int) -> Learnt:
        """Return what is known of the program of `process`."""
        ...

    def finished(self) -> list[tuple[Ticket, Learnt]]:
        """Return the answers that have come since the last call."""
        ...

    def ledger(self) -> Ledger:
        """Return what became of every question."""
        ...

    def close(self) -> None:
        """Ask no more."""
        ...


class Enrichment:
    """Adds what `source` knows. For each record first `enrich`, then, with the event that came of it, `offer`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._waiting: OrderedDict[Ticket, tuple[str, Event | None]] = OrderedDict()

    def enrich(self, record: Record) -> Record:
        """Return the record with provenance and hashes, or with a gap that says why it has none."""
        if type(record) is not ProcessExec:
            return record
        learnt = self._source.of(record.process, record.ts_ns)
        if learnt.provenance is None:
            self._wait((record.process.pid, record.ts_ns), learnt.gap)
            return replace(record, gaps=(*record.gaps, learnt.gap))
        return replace(record, process=_with(record.process, learnt))

    def offer(self, event: Event) -> None:
        """Keep a finished event for `findings`, if its program's provenance is still to come."""
        process = event.data.process
        if not self._waiting or event.category != "process_start" or process is None:
            return
        ticket = process.pid, event.ts_ns
        if ticket in self._waiting:
            gap, _ = self._waiting[ticket]
            self._waiting[ticket] = gap, event

    def findings(self) -> list[Event]:
        """Return the events whose program's provenance has come since the last call, with it, as they were else."""
        found: list[Event] = []
        for ticket, learnt in self._source.finished():
            gap, event = self._waiting.pop(ticket, ("", None))
            if event is not None and learnt.provenance is not None and is_notable(learnt.provenance):
                found.append(_completed(event, gap, learnt))
        return found

    def ledger(self) -> Ledger:
        """Return what became of every start of a program."""
        return self._source.ledger()

    def close(self) -> None:
        """Ask no more."""
        self._source.close()

    def _wait(self, ticket: Ticket, gap: str) -> None:
        self._waiting[ticket] = gap, None
        if len(self._waiting) > _WAITING_MOST:
            self._waiting.popitem(last=False)


def is_notable(provenance: Provenance) -> bool:
    """Return whether there is something about a program that a rule could look for."""
    return provenance.package_state != "unchanged" or provenance.writable or bool(provenance.packer)


def _with(process: Process, learnt: Learnt) -> Process:
    hashes = {**process.hashes, **learnt.hashes} if process.hashes else learnt.hashes
    return replace(process, provenance=learnt.provenance, hashes=hashes)


def _completed(event: Event, gap: str, learnt: Learnt) -> Event:
    process = event.data.process
    gaps = tuple(one for one in event.gaps if one != gap)
    data = event.data if process is None else replace(event.data, process=_with(process, learnt))
    return replace(event, data=data, gaps=gaps, evidence_complete=event.evidence_complete or not gaps)
