"""Process records become events: joined to their ancestors, named by their story, with every gap in sight.

An event leaves here without a verdict: action ALLOW, score 0, no signals, no sequence number.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from shield.event import Ancestor, Category, Data, Event, Platform, Process
from shield.normalizer.lineage import Lineage, Node
from shield.record import ProcessExec, ProcessExit, ProcessFork, ProcessSnapshot, Record
from shield.text import encode

FORK_FOLDED = "fork_into_lineage"
EXIT_FOLDED = "exit_of_fork_without_exec"
SNAPSHOT_FOLDED = "snapshot_into_lineage"


class Origin(NamedTuple):
    """The host whose records are normalized."""

    host: str
    os: Platform
    new_id: Callable[[int], str]
    """Gives each event its id, from its time in Unix nanoseconds."""


class ProcessNormalizer:
    """Turns the records of one source, in their order, into events; what becomes no event is counted in `folded`."""

    def __init__(self, origin: Origin, lineage: Lineage) -> None:
        self.folded: dict[str, int] = {}
        self._origin = origin
        self._lineage = lineage

    def event(self, record: Record) -> Event | None:
        """Return the event of a record, None where it only adds to the lineage."""
        if type(record) is ProcessExec:
            return self._started(record)
        if type(record) is ProcessExit:
            return self._ended(record)
        if type(record) is ProcessFork:
            self._lineage.fork(record.pid, record.start_ticks, record.ts_ns, record.ppid, record.parent_start_ticks)
            return self._fold(FORK_FOLDED)
        if type(record) is ProcessSnapshot:
            self._lineage.exec(record.process, record.user, record.start_ticks, 0)
            return self._fold(SNAPSHOT_FOLDED)
        raise TypeError(f"no normalizer for {type(record).__name__}")

    def _started(self, record: ProcessExec) -> Event:
        process = record.process
        node = self._lineage.exec(process, record.user, record.start_ticks, record.parent_start_ticks)
        if process.entity_id != node.entity_id:
            process = msgspec.structs.replace(process, entity_id=node.entity_id)
        data = Data(
            process=process, parent=node.parent, ancestors=node.above, user=record.user, container=record.container
        )
        return self._draft("process_start", record.ts_ns, data, node.story, _gaps(record, node))

    def _ended(self, record: ProcessExit) -> Event | None:
        node = self._lineage.exit(record.pid, record.start_ticks)
        if not record.execed:
            return self._fold(EXIT_FOLDED)
        process = _ended_process(record, node)
        data = Data(process=process, parent=node.parent if node else None)
        gaps = () if node else (f"the start of pid {record.pid} was not seen",)
        return self._draft("process_exit", record.ts_ns, data, node.story if node else "", gaps)

    def _fold(self, reason: str) -> None:
        self.folded[reason] = self.folded.get(reason, 0) + 1

    def _draft(self, category: Category, ts_ns: int, data: Data, story: str, gaps: tuple[str, ...]) -> Event:
        return Event(
            ts=ts_ns // 1_000_000_000,
            host=self._origin.host,
            category=category,
            action="ALLOW",
            score=0,
            rationale="low_signal",
            data=data,
            policy_version="",
            dedupe_key="",
            correlation_id=story,
            event_id=self._origin.new_id(ts_ns),
            ts_ns=ts_ns,
            os=self._origin.os,
            evidence_complete=not gaps,
            gaps=gaps,
        )


def _gaps(record: ProcessExec, node: Node) -> tuple[str, ...]:
    gaps = record.gaps
    process = record.process
    if process.truncated:
        kept = sum(len(encode(arg)) + 1 for arg in process.args)
        gaps = (*gaps, f"only {kept} of {process.args_length} bytes of arguments were kept")
    if node.above and not node.above[-1].known:
        gaps = (*gaps, f"nothing is known above pid {node.above[-1].pid}")
    return gaps


def _ended_process(record: ProcessExit, node: Node | None) -> Process:
    own = node.line()[0] if node else Ancestor(pid=record.pid, entity_id=f"{record.pid}-{record.start_ticks}")
    status = record.status
    signal = status & 0x7F if status is not None else 0
    return Process(
        pid=record.pid,
        ppid=record.ppid,
        entity_id=own.entity_id,
        name=own.name,
        exe=own.exe,
        cmdline=own.cmdline,
        start_ns=own.start_ns,
        end_ns=record.ts_ns,
        exit_code=None if status is None else 128 + signal if signal else status >> 8 & 0xFF,
        exit_signal=signal or None,
        lifetime_ns=record.lifetime_ns,
    )
