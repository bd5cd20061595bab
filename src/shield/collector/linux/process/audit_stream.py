"""Audit records into events: which belong together, which events are process starts, and which never arrived.

The kernel numbers its events one by one, whatever they are about, so a number that never shows up is an event lost on
the way, and every event has one fate. Events on several CPUs overlap: a number may be late, never by long.
"""

from collections import Counter, OrderedDict

from shield.collector.linux.process.audit_record import EOE, ExecEvent, number_of, parse_stamp
from shield.collector.linux.process.audit_rule import Abi
from shield.record import ProcessExec

PATIENCE_S = 2.0
"""How long the rest of an event, or a number not seen yet, is waited for."""

_OPEN_MOST = 4096
_AWAITED_MOST = 65_536
_SERIALS = 1 << 32


class AuditStream:
    """Takes records in the order they arrive; `now` is any clock in seconds that never jumps."""

    def __init__(self, abis: tuple[Abi, ...], args_limit: int) -> None:
        self._exec_calls = {(abi.arch, call) for abi in abis for call in (abi.execve, abi.execveat)}
        self._args_limit = args_limit
        self._open: OrderedDict[int, tuple[float, ExecEvent]] = OrderedDict()
        self._awaited: OrderedDict[int, float] = OrderedDict()
        self._first = self._next = -1
        self.seen = 0
        self.filtered: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    @property
    def pending(self) -> int:
        """The number of events that are not complete yet."""
        return len(self._open) + len(self._awaited)

    def feed(self, kind: int, payload: bytes, now: float) -> ProcessExec | None:
        """Take in one record of a type of linux/audit.h; return the process start that it completes."""
        stamp = parse_stamp(payload)
        if stamp is None:
            self._drop("unreadable")
            return None
        waiting = self._open.get(stamp.serial)
        if waiting is None:
            if not self._is_new(stamp.serial, now):
                return None
            waiting = self._open[stamp.serial] = (now + PATIENCE_S, ExecEvent(stamp.ts_ns, self._args_limit))
        waiting[1].add(kind, stamp.body)
        return self._end(stamp.serial) if kind == EOE else None

    def expire(self, now: float) -> list[ProcessExec]:
        """Give up waiting for what is overdue; return the process starts of which enough arrived."""
        while self._awaited and next(iter(self._awaited.values())) <= now:
            self._give_up()
        overdue: list[ProcessExec] = []
        while self._open:
            serial, (deadline, _) = next(iter(self._open.items()))
            if deadline > now and len(self._open) <= _OPEN_MOST:
                break
            record = self._end(serial)
            if record is not None:
                overdue.append(record)
        return overdue

    def lose(self, reason: str, events: int) -> None:
        """Count events that the kernel says it lost before it numbered them."""
        if events:
            self._drop(reason, events)

    def _drop(self, reason: str, events: int = 1) -> None:
        self.seen += events
        self.dropped[reason] += events

    def _is_new(self, serial: int, now: float) -> bool:
        """Note a number; return whether it starts an event, rather than repeating one that is over."""
        if self._first < 0 or serial < self._next - _SERIALS // 2:
            self._first = self._next = serial
        if self._awaited.pop(serial, None) is not None:
            return True
        if self._first <= serial < self._next:
            return False
        self._await(range(self._next, serial), now)
        self._next = max(self._next, serial + 1)
        self.seen += 1
        return True

    def _await(self, serials: range, now: float) -> None:
        self.seen += len(serials)
        hopeless = max(0, len(serials) - _AWAITED_MOST)
        if hopeless:
            self.dropped["not_delivered"] += hopeless
        self._awaited.update((serial, now + PATIENCE_S) for serial in serials[hopeless:])
        while len(self._awaited) > _AWAITED_MOST:
            self._give_up()

    def _give_up(self) -> None:
        self._awaited.popitem(last=False)
        self.dropped["not_delivered"] += 1

    def _end(self, serial: int) -> ProcessExec | None:
        """Decide the fate of an event."""
        _, event = self._open.pop(serial)
        call = event.syscall
        if not call:
            if event.of_a_syscall:
                self.dropped["incomplete"] += 1
            else:
                self.filtered["other_event"] += 1
        elif (number_of(call.get(b"arch"), 16), number_of(call.get(b"syscall"))) not in self._exec_calls:
            self.filtered["other_event"] += 1
        elif call.get(b"success") != b"yes":
            self.filtered["failed_exec"] += 1
        elif number_of(call.get(b"pid")) is None:
            self.dropped["incomplete"] += 1
        else:
            return event.record()
        return None
