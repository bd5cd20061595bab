"""Process forks, execs and ends from the kernel's process events connector (Documentation/driver-api/connector.rst).

The kernel tells only pids; the rest is read from /proc, so a process that ends within a few milliseconds is reported
with its pid and its parent, and says what is missing in `gaps`.

Only processes are reported: the start and end of a thread count as filtered. The kernel reports the end of a process's
first thread as the end of the process, also where other threads go on, or one of them replaces the program.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from msgspec.structs import replace

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import TICK_NS, BootClock
from shield.collector.linux.event_socket import EventSocket, refusal
from shield.collector.linux.process_event import EXEC, EXIT, FORK, ProcessEvent, SequenceGaps
from shield.collector.linux.procfs import ARGS_LIMIT, ProcessGone, ProcfsReader
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.event import Process, User
from shield.record import ProcessExec, ProcessExit, ProcessFork, Record

_BATCH = 1024
_REFRESH_S = 1.0
_KNOWN_MOST = 65_536
# /proc gives a start in whole ticks, rounded down; the two clocks are compared at slightly different moments.
_CLOCK_SLACK_NS = 20_000_000

_ENDED = "the process ended before /proc was read"


class _Known(NamedTuple):
    """What was seen of a live process: parent, start (0 where unknown), time of fork since boot, whether it execed."""

    parent: int
    start_ticks: int
    forked_ns: int | None
    execed: bool


class ConnectorSource:
    """Every fork, exec and end on the host. `buffer_bytes` sizes the socket, `args_limit` bytes of argv are kept."""

    provides: frozenset[Kind] = frozenset(("process",))
    name = "connector"
    interval: float | None = None
    blind_spots: tuple[str, ...] = (
        "Arguments, user and files of a process that ends within milliseconds are unknown.",
        "What a process is shown as was read just after its start: a program that disguises itself at once gets away.",
        "A process whose first thread ends before the others is reported as ended then.",
    )
    remedies: dict[str, str] = {  # noqa: RUF012
        "not_delivered": "Give the agent more CPU, or raise the connector source's receive buffer.",
        "unreadable": "Report it: the kernel sent a process event in an unknown form.",
    }

    def __init__(self, buffer_bytes: int = 1 << 25, args_limit: int = ARGS_LIMIT) -> None:
        self._events = EventSocket(buffer_bytes)
        self._args_limit = args_limit
        self._clock = BootClock()
        self._names = UserNames()
        self._procfs = ProcfsReader(self._clock, self._names)
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._gaps = SequenceGaps()
        self._unread: list[ProcessEvent] = []
        self._refreshed = 0.0
        self._boot_offset_ns = 0
        self._seen = 0
        self._filtered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def open(self) -> None:
        """Subscribe to process events. Raises SourceUnavailable."""
        try:
            self._events.open()
        except OSError as refused:
            raise SourceUnavailable(self.name, *refusal(refused.errno)) from None

    def fileno(self) -> int | None:
        """Return the socket; it becomes readable with every event."""
        return self._events.fileno()

    def read(self) -> list[Record]:
        """Return up to 1,024 records, oldest first."""
        self._refresh()
        records: list[Record] = []
        for event in self._arrived():
            record = self._record(event)
            if record is not None:
                records.append(record)
        return records

    def count(self) -> Count:
        """Return the totals in messages of the connector, whatever they are about.

        `not_delivered` is exact from the first message of each CPU on, and known with the next message of that CPU.
        """
        pending = self._events.pending + len(self._unread)
        return Count(self._seen + self._events.pending, dict(self._filtered), dict(self._dropped), pending)

    def stop(self) -> None:
        """Unsubscribe."""
        self._events.stop()

    def close(self) -> None:
        """Unsubscribe, count what was not read, and close the socket."""
        self.stop()
        with suppress(OSError):  # it may be closed because it can't be read any more
            self._unread.extend(self._arrived())
        self._events.close()

    def _arrived(self) -> Iterator[ProcessEvent]:
        """Yield the events that are there, at most one batch, counting each and those that are missing before it."""
        for event in self._events.receive(_BATCH):
            self._seen += 1
            if event is None:
                self._dropped["unreadable"] += 1
                continue
            missing = self._gaps.before(event)
            if missing:
                self._seen += missing
                self._dropped["not_delivered"] += missing
            yield event

    def _refresh(self) -> None:
        now = time.monotonic()
        # The connector's clock stands still while the host is suspended, the boot clock does not.
        boot_ns, monotonic_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._boot_offset_ns = boot_ns - monotonic_ns
        if now - self._refreshed >= _REFRESH_S:
            self._refreshed = now
            self._clock.refresh()
            self._names.refresh()

    def _record(self, event: ProcessEvent) -> Record | None:
        if event.what not in (FORK, EXEC, EXIT):
            self._filtered["other_event"] += 1
            return None
        if event.of_thread:
            self._filtered["thread"] += 1
            return None
        boot_ns = event.monotonic_ns + self._boot_offset_ns
        if event.what == FORK:
            return self._fork(event, boot_ns)
        return self._exec(event, boot_ns) if event.what == EXEC else self._exit(event, boot_ns)

    def _fork(self, event: ProcessEvent, boot_ns: int) -> ProcessFork:
        ticks = self._start_ticks(event.pid, boot_ns)
        self._remember(event.pid, _Known(event.parent, ticks, boot_ns, execed=False))
        parent_ticks = self._ticks_of(event.parent, boot_ns)
        return ProcessFork(self._clock.unix_ns(boot_ns), event.pid, event.parent, ticks, parent_ticks)

    def _exec(self, event: ProcessEvent, boot_ns: int) -> ProcessExec:
        known = self._known.get(event.pid) or _Known(0, 0, None, execed=True)
        process, user, container = Process(pid=event.pid, ppid=known.parent), User(), None
        gaps: tuple[str, ...] = (_ENDED,)
        ticks = known.start_ticks
        try:
            shown = self._procfs.read(event.pid, self._args_limit)
        except ProcessGone:
            shown = None
        if shown is not None and self._is_not_later(shown.start_ticks, boot_ns):
            process, user, container = replace(shown.process, entity_id=""), shown.user, shown.container
            ticks = shown.start_ticks
            gaps = _gaps(process)
        self._remember(event.pid, known._replace(parent=process.ppid, start_ticks=ticks, execed=True))
        parent_ticks = self._ticks_of(process.ppid, boot_ns) if process.ppid else 0
        return ProcessExec(self._clock.unix_ns(boot_ns), process, user, ticks, parent_ticks, container, gaps)

    def _exit(self, event: ProcessEvent, boot_ns: int) -> ProcessExit:
        ticks = self._ticks_of(event.pid, boot_ns)
        known = self._known.pop(event.pid, None) or _Known(0, ticks, None, execed=True)
        return ProcessExit(
            ts_ns=self._clock.unix_ns(boot_ns),
            pid=event.pid,
            ppid=event.parent or known.parent,
            start_ticks=ticks,
            status=event.status,
            lifetime_ns=None if known.forked_ns is None else boot_ns - known.forked_ns,
            execed=known.execed,
        )

    def _remember(self, pid: int, known: _Known) -> None:
        self._known[pid] = known
        self._known.move_to_end(pid)
        if len(self._known) > _KNOWN_MOST:
            self._known.popitem(last=False)

    def _ticks_of(self, pid: int, boot_ns: int) -> int:
        """Return the start of a process that was there at `boot_ns`, 0 where it is not known."""
        known = self._known.get(pid)
        return known.start_ticks if known is not None else self._start_ticks(pid, boot_ns)

    def _start_ticks(self, pid: int, boot_ns: int) -> int:
        try:
            ticks = self._procfs.start_ticks(pid)
        except ProcessGone:
            return 0
        return ticks if self._is_not_later(ticks, boot_ns) else 0

    def _is_not_later(self, ticks: int, boot_ns: int) -> bool:
        """Whether a process with this start can be the one an event is about, not a later one with its pid."""
        return ticks * TICK_NS <= boot_ns + _CLOCK_SLACK_NS


def _gaps(process: Process) -> tuple[str, ...]:
    gaps = (
        (not process.exe, "the executable could not be read"),
        (not process.args, "the arguments could not be read"),
        (not process.cwd, "the working directory could not be read"),
        (process.namespaces is None, "the namespaces could not be read"),
    )
    return tuple(text for missing, text in gaps if missing)
