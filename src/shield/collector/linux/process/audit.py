"""Process starts from the kernel's audit system (audit(7)), for hosts where BPF can't be used.

The kernel writes the records while the process waits, so arguments and credentials are those of that moment. What
only /proc knows (start time, namespaces, container) is missing for a process that ended within a few milliseconds.
"""

import errno
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

from msgspec.structs import replace

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.netlink import HEADER, from_kernel, open_socket
from shield.collector.linux.process.audit_control import NETLINK_AUDIT, AuditControl
from shield.collector.linux.process.audit_rule import ABIS
from shield.collector.linux.process.audit_setup import AuditSetup
from shield.collector.linux.process.audit_stream import AuditStream
from shield.collector.linux.procfs import ARGS_LIMIT, ProcessGone, ProcfsReader
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.event import Process, User
from shield.record import ProcessExec, ProcessSnapshot, Record

_REPLACE = 1329
_FIRST_RECORD = 1100
_RECORD_BYTES = 16_384
_BATCH = 512
_DATAGRAMS = 8192
_WATCH_S = 1.0
_STEP_ASIDE_S = 10.0
_SETTLE_S = 0.5
# The kernel stamps audit events with a coarse clock, and /proc gives a start in ticks.
_CLOCK_SLACK_NS = 20_000_000

_ENDED = "the process ended before /proc was read"
_PARENT_ENDED = "the parent ended before /proc was read"


class AuditSource:
    """Every successful exec on the host.

    `buffer_bytes` sizes the socket, `backlog` the kernel's queue before it in records (about seven an exec);
    `args_limit` bytes of argv are kept.
    """

    provides: frozenset[Kind] = frozenset(("process",))
    name = "audit"
    interval: float | None = None
    blind_spots: tuple[str, ...] = (
        "Forks and process ends are not seen, so lifetimes and exit codes are unknown.",
        "Start time, namespaces and container of a process that ends within milliseconds are unknown.",
        "A program that was running before auditing was first enabled since boot is not seen replacing itself.",
        "Programs that an earlier audit rule excludes (action never, or the exclude list) are not seen.",
        "Programs using the x32 interface are not seen.",
    )
    remedies: dict[str, str] = {  # noqa: RUF012
        "kernel_backlog": "Give the agent more CPU; check rate_limit and backlog_limit with `auditctl -s`.",
        "not_delivered": "Give the agent more CPU, or raise the audit source's receive buffer.",
        "incomplete": "Give the agent more CPU, or raise the audit source's receive buffer.",
        "unreadable": "Report it: the kernel wrote an audit record in an unknown form.",
    }

    def __init__(self, buffer_bytes: int = 1 << 25, backlog: int = 1 << 14, args_limit: int = ARGS_LIMIT) -> None:
        self._buffer_bytes = buffer_bytes
        self._backlog = backlog
        self._clock = BootClock()
        self._names = UserNames()
        self._procfs = ProcfsReader(self._clock, self._names)
        self._abis = ABIS.get(os.uname().machine, ())
        self._stream = AuditStream(self._abis, args_limit)
        self._read = 0
        self._lost = 0
        self._watched = 0.0
        self._aside_until = 0.0
        self._stopped = False
        self._control: AuditControl | None = None
        self._events: socket.socket | None = None
        self._setup: AuditSetup | None = None

    def open(self) -> None:
        """Receive records and add the rules that are missing. Raises SourceUnavailable."""
        if not self._abis:
            raise SourceUnavailable(self.name, f"its calls on {os.uname().machine} are not known", "use another source")
        try:
            self._control = AuditControl()
            self._events = open_socket(NETLINK_AUDIT, buffer_bytes=self._buffer_bytes)
            self._setup = AuditSetup(self._control, self._events, self._start_ticks, self._backlog)
            self._lost = self._control.status().lost
            self._setup.begin(self._abis)
        except SourceUnavailable:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise SourceUnavailable(self.name, *_why(error)) from None

    def fileno(self) -> int | None:
        """Return the socket; it becomes readable with every record."""
        return self._events.fileno() if self._events else None

    def read(self) -> list[Record]:
        """Return about 512 records at most, oldest first."""
        if self._events is None:
            return []
        now = time.monotonic()
        if now - self._watched >= _WATCH_S:
            self._watch(now)
        records: list[Record] = []
        for kind, payload in self._datagrams():
            found = self._stream.feed(kind, payload, now)
            if found is not None:
                records.append(self._completed(found))
                if len(records) >= _BATCH:
                    break
        records += [self._completed(overdue) for overdue in self._stream.expire(now)]
        self._read += len(records)
        return records

    def count(self) -> Count:
        """Return the totals in audit events of any kind; `pending` ones are not complete.

        `not_delivered` is exact. `kernel_backlog` is what the kernel counts, single records: never fewer than events.
        """
        if self._control is not None:
            self._note_lost(self._control.status().lost)
        stream = self._stream
        filtered, dropped = dict(stream.filtered), dict(stream.dropped)
        decided = self._read + sum(filtered.values()) + sum(dropped.values())
        return Count(stream.seen, filtered, dropped, pending=stream.seen - decided)

    def stop(self) -> None:
        """Remove the rules, and let the kernel deliver what it still holds."""
        if self._setup is None or self._control is None or self._stopped:
            return
        self._stopped = True
        self._setup.remove_rules()
        deadline = time.monotonic() + _SETTLE_S
        while self._control.status().backlog and time.monotonic() < deadline:
            time.sleep(_SETTLE_S / 100)

    def close(self) -> None:
        """Put back the rules, the settings and the daemon's role as they were."""
        with suppress(OSError):  # each of these steps is worth trying where another failed
            self.stop()
        with suppress(OSError):
            self.count()
        if self._setup is not None:
            with suppress(OSError):
                self._setup.end()
            self._setup = None
        if self._events is not None:
            for kind, payload in self._datagrams():
                self._stream.feed(kind, payload, time.monotonic())
            self._stream.expire(math.inf)
            self._events.close()
            self._events = None
        if self._control is not None:
            self._control.close()
            self._control = None

    def _datagrams(self) -> Iterator[tuple[int, bytes]]:
        """Yield type and text of the records that are there, a bounded number."""
        for raw in from_kernel(self._events, _DATAGRAMS, _RECORD_BYTES) if self._events is not None else ():
            if raw is None:
                continue  # the numbers of the events that follow show how many were lost
            # The kernel's header tells another length in a copy than in the original; a datagram is one record.
            kind = HEADER.unpack_from(raw)[1] if len(raw) >= HEADER.size else 0
            if kind == _REPLACE:
                self._step_aside()
            elif kind >= _FIRST_RECORD:
                yield kind, raw[HEADER.size :]

    def _watch(self, now: float) -> None:
        """Once a second: follow the clock and the account names, and take the daemon's role where it fell vacant."""
        self._watched = now
        self._clock.refresh()
        self._names.refresh()
        if self._stopped or self._control is None or self._setup is None:
            return
        with suppress(OSError):  # asked again in a second
            status = self._control.told_status()
            self._control.ask_status()
            if status is None:
                return
            self._note_lost(status.lost)
            if not self._setup.holds_role and now >= self._aside_until and self._setup.is_vacant(status):
                self._setup.take_over()

    def _step_aside(self) -> None:
        """Make room for the audit daemon whose start the kernel announced; it has a moment to try again."""
        if self._setup is not None and self._setup.holds_role:
            self._aside_until = time.monotonic() + _STEP_ASIDE_S
            self._setup.step_aside()

    def _note_lost(self, lost: int) -> None:
        # An administrator may set the kernel's counter back to 0.
        self._stream.lose("kernel_backlog", lost - self._lost if lost >= self._lost else lost)
        self._lost = lost

    def _completed(self, event: ProcessExec) -> ProcessExec:
        """Add what /proc still shows of the process, and the names of its users."""
        shown = self._shown(event)
        gaps = event.gaps if shown else (*event.gaps, _ENDED)
        parent_ticks = self._start_ticks(event.process.ppid)
        if parent_ticks is None:
            gaps = (*gaps, _PARENT_ENDED)
        return replace(
            event,
            process=_merged(event, shown) if shown else event.process,
            user=self._named(event.user),
            start_ticks=shown.start_ticks if shown else 0,
            parent_start_ticks=parent_ticks or 0,
            container=shown.container if shown else None,
            gaps=gaps,
        )

    def _shown(self, event: ProcessExec) -> ProcessSnapshot | None:
        """Return the process as /proc shows it, None where it ended, or another one already has its pid."""
        try:
            shown = self._procfs.read(event.process.pid)
        except ProcessGone:
            return None
        return shown if shown.process.start_ns <= event.ts_ns + _CLOCK_SLACK_NS else None

    def _start_ticks(self, pid: int) -> int | None:
        try:
            return self._procfs.start_ticks(pid)
        except ProcessGone:
            return None

    def _named(self, user: User) -> User:
        return replace(
            user,
            name=self._names.name(user.id),
            effective_name=self._names.name(user.effective_id),
            audit_name=self._names.name(user.audit_id),
        )


def _merged(event: ProcessExec, shown: ProcessSnapshot) -> Process:
    """Return the process of `event` with what only /proc knows; the rest stays as it was at the exec."""
    seen = shown.process
    same_image = seen.exe == event.process.exe
    return replace(
        event.process,
        start_ns=seen.start_ns,
        session=seen.session,
        ns_pid=seen.ns_pid,
        namespaces=seen.namespaces,
        capabilities=seen.capabilities if same_image else 0,
        env=seen.env if same_image else {},
    )


def _why(error: OSError) -> tuple[str, str]:
    """Return reason and remedy for a refusal of the kernel."""
    if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
        return "the kernel has no audit system", "boot without audit=0, on a kernel with CONFIG_AUDITSYSCALL"
    if error.errno in (errno.EPERM, errno.EACCES, errno.ECONNREFUSED):
        return "audit is not permitted here", "run Shield as root, on the host rather than in a container"
    return str(error), "look at `auditctl -s`"
