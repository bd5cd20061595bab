"""Recorded events become events again: as they were, without their old verdict, and joined where they lack it.

An event that names neither parent nor ancestors nor story gets them from the recorded events before it, through the
same lineage as a live one.
"""

import re

import msgspec

from shield.event import Ancestor, Data, Event, Platform, User, uuid7
from shield.normalizer.lineage import Lineage
from shield.record import RecordedEvent

_DRIVE = re.compile(r"^[A-Za-z]:\\")
_TICK_NS = 10_000_000


class RecordedNormalizer:
    """Turns recorded events, in their order, into events without a verdict."""

    def __init__(self, lineage: Lineage) -> None:
        self._lineage = lineage

    def event(self, recorded: RecordedEvent, random_bits: int) -> Event:
        """Return the event; `random_bits` (74) complete the id of one that has none."""
        ts_ns = recorded.ts_ns or recorded.ts * 1_000_000_000
        data, story, gaps = self._joined(recorded)
        return Event(
            ts=recorded.ts or ts_ns // 1_000_000_000,
            host=recorded.host,
            category=recorded.category,
            action=recorded.action,
            score=recorded.score,
            rationale=recorded.rationale,
            data=data,
            policy_version="",
            dedupe_key=recorded.dedupe_key,
            correlation_id=story,
            event_id=recorded.event_id or uuid7(ts_ns // 1_000_000, random_bits),
            ts_ns=ts_ns,
            os=recorded.os or _platform(data),
            severity=recorded.severity,
            evidence_complete=recorded.evidence_complete and not gaps,
            gaps=gaps,
        )

    def _joined(self, recorded: RecordedEvent) -> tuple[Data, str, tuple[str, ...]]:
        data, story, gaps = recorded.data, recorded.correlation_id, recorded.gaps
        process = data.process
        if process is None or recorded.category not in ("process_start", "process_exit"):
            return data, story, gaps
        ticks = process.start_ns // _TICK_NS
        if recorded.category == "process_exit":
            node = self._lineage.exit(process.pid, ticks)
            return data, story or (node.story if node else ""), gaps
        parent_ticks = data.parent.start_ns // _TICK_NS if data.parent else 0
        node = self._lineage.exec(process, data.user or User(), ticks, parent_ticks)
        if data.parent is None and node.parent.known:
            data = msgspec.structs.replace(data, parent=node.parent, ancestors=data.ancestors or node.above)
        elif data.parent is not None and not node.parent.known:
            node.above = data.ancestors or (data.parent,)
        return data, story or node.story, gaps


def _platform(data: Data) -> Platform:
    """Return the platform a path points to: only Windows names drives."""
    process, parent = data.process, data.parent
    exe = (process.exe if process else "") or (parent.exe if isinstance(parent, Ancestor) else "")
    return "windows" if _DRIVE.match(exe) else "linux"
