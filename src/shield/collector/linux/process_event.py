"""Messages of the kernel's process events connector (linux/connector.h, linux/cn_proc.h)."""

import struct
from typing import NamedTuple

NONE, FORK, EXEC, EXIT = 0, 1, 2, 0x8000_0000
UID, GID, PTRACE = 4, 0x40, 0x100
LISTEN, IGNORE = 1, 2

_CN_MSG = struct.Struct("=IIIIHH")
_EVENT = struct.Struct("=IIQ")
_DATA_AT = _CN_MSG.size + _EVENT.size
_PROC = (1, 1)
_FORK = struct.Struct("=IIII")
_EXEC = struct.Struct("=II")
_EXIT = struct.Struct("=IIII")
_ID = struct.Struct("=IIII")
_PTRACE = struct.Struct("=IIII")
_PARENT = struct.Struct("=II")
_ACK = struct.Struct("=I")
_NO_CPU = _NEWEST = 0xFFFF_FFFF
_SIZES = {
    NONE: _ACK.size,
    FORK: _FORK.size,
    EXEC: _EXEC.size,
    EXIT: _EXIT.size,
    UID: _ID.size,
    GID: _ID.size,
    PTRACE: _PTRACE.size,
}


class ProcessEvent(NamedTuple):
    """One message. `sequence` counts messages of `cpu`; `monotonic_ns` is CLOCK_MONOTONIC.

    `pid` and `thread` are the process and thread id of the one that was created, replaced its image or ended; `parent`
    is its parent process, 0 where the kernel doesn't say. `status` is the wait status of an exit, the error of an
    acknowledgement. `real` and `effective` are the ids, in the host's user namespace, that a process has after a change
    of its user or group. `tracer` is the process that attached to this one, 0 where one let it go.
    """

    what: int
    cpu: int
    sequence: int
    acknowledges: int
    monotonic_ns: int
    pid: int = 0
    thread: int = 0
    parent: int = 0
    status: int = 0
    real: int = 0
    effective: int = 0
    tracer: int = 0

    @property
    def of_thread(self) -> bool:
        """Whether this is about a thread other than a process's first."""
        return self.pid != self.thread


def parse(payload: bytes) -> ProcessEvent | None:
    """Return the event in a netlink payload, None for one of another connector or one cut short."""
    if len(payload) < _DATA_AT:
        return None
    index, value, sequence, acknowledges, _, _ = _CN_MSG.unpack_from(payload)
    what, cpu, monotonic_ns = _EVENT.unpack_from(payload, _CN_MSG.size)
    data = payload[_DATA_AT:]
    event = ProcessEvent(what, cpu, sequence, acknowledges, monotonic_ns)
    if (index, value) != _PROC or len(data) < _SIZES.get(what, 0):
        return None
    if what == FORK:
        _, parent, thread, pid = _FORK.unpack_from(data)
        return event._replace(pid=pid, thread=thread, parent=parent)
    if what == EXEC:
        thread, pid = _EXEC.unpack_from(data)
        return event._replace(pid=pid, thread=thread)
    if what == EXIT:
        thread, pid, status, _ = _EXIT.unpack_from(data)
        # Kernels before 4.18 do not name the parent.
        parent = _PARENT.unpack_from(data, _EXIT.size)[1] if len(data) >= _EXIT.size + _PARENT.size else 0
        return event._replace(pid=pid, thread=thread, parent=parent, status=status)
    if what in (UID, GID):
        thread, pid, real, effective = _ID.unpack_from(data)
        return event._replace(pid=pid, thread=thread, real=real, effective=effective)
    if what == PTRACE:
        thread, pid, _, tracer = _PTRACE.unpack_from(data)
        return event._replace(pid=pid, thread=thread, tracer=tracer)
    return event._replace(status=_ACK.unpack_from(data)[0]) if what == NONE else event


def subscription(operation: int, acknowledges: int) -> bytes:
    """Return the payload that starts or ends the flow of events; the answer acknowledges one more.

    The short form, without a choice of events: a choice is made before messages are counted, and loss shows only in
    the count of all.
    """
    return _CN_MSG.pack(*_PROC, 0, acknowledges, 4, 0) + struct.pack("=I", operation)


def choice(events: int) -> bytes:
    """Return the payload that narrows a flow to those `events`, a bit mask; kernels before 6.6 ignore it.

    What is chosen is numbered together with what is not, so that a gap in the numbers says nothing any more.
    """
    return _CN_MSG.pack(*_PROC, 0, 0, 8, 0) + struct.pack("=II", LISTEN, events)


class SequenceGaps:
    """The messages that each CPU numbered and that never came."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def before(self, event: ProcessEvent) -> int:
        """Return how many messages of the event's CPU are missing just before it."""
        if event.cpu == _NO_CPU:
            return 0
        missing = event.sequence - self._next.get(event.cpu, event.sequence) & _NEWEST
        if missing > _NEWEST // 2:  # a straggler, of a number that was passed already
            return 0
        self._next[event.cpu] = event.sequence + 1 & _NEWEST
        return missing
