"""Process records become events: joined to their ancestors, named by their story, with every gap in sight.

An event leaves here without a verdict.
"""

import msgspec

from shield.event import Ancestor, Data, Event, Process
from shield.normalizer.lineage import Lineage, Node
from shield.normalizer.origin import Origin
from shield.record import ProcessExec, ProcessExit, ProcessFork, ProcessSnapshot
from shield.text import encode

FORK_FOLDED = "fork_into_lineage"
EXIT_FOLDED = "exit_of_fork_without_exec"
SNAPSHOT_FOLDED = "snapshot_into_lineage"


ProcessRecord = ProcessFork | ProcessExec | ProcessExit | ProcessSnapshot


class ProcessNormalizer:
    """Turns process records, in their order, into events."""

    def __init__(self, origin: Origin, lineage: Lineage) -> None:
        self._origin = origin
        self._lineage = lineage

    def event(self, record: ProcessRecord) -> Event | str:
        """Return the event of a record, or into what it was folded where it only adds to the lineage."""
        if isinstance(record, ProcessExec):
            return self._started(record)
        if isinstance(record, ProcessExit):
            return self._ended(record)
        if isinstance(record, ProcessFork):
            self._lineage.fork(record.pid, record.start_ticks, record.ts_ns, record.ppid, record.parent_start_ticks)
            return FORK_FOLDED
        self._lineage.exec(record.process, record.user, record.start_ticks, 0, record.container)
        return SNAPSHOT_FOLDED

    def _started(self, record: ProcessExec) -> Event:
        process = record.process
        node = self._lineage.exec(process, record.user, record.start_ticks, record.parent_start_ticks, record.container)
        if process.entity_id != node.entity_id:
            process = msgspec.structs.replace(process, entity_id=node.entity_id)
        data = Data(
            process=process, parent=node.parent, ancestors=node.above, user=record.user, container=record.container
        )
        return self._origin.draft("process_start", record.ts_ns, data, node.story, _gaps(record, node))

    def _ended(self, record: ProcessExit) -> Event | str:
        node = self._lineage.exit(record.pid, record.start_ticks)
        if not record.execed:
            return EXIT_FOLDED
        process = _ended_process(record, node)
        data = Data(process=process, parent=node.parent if node else None)
        gaps = () if node else (f"the start of pid {record.pid} was not seen",)
        return self._origin.draft("process_exit", record.ts_ns, data, node.story if node else "", gaps)


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
