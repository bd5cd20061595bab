"""The wall clock being set: a timer that the kernel cancels then (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET)."""

import select
import time
from collections.abc import Iterator

from shield.collector.linux.timerfd import TimerFd
from shield.event import System
from shield.record import Observation


class ClockSet:
    """Tells by how much the clock was set, from `least_ns` on: time services make small corrections all the time."""

    def __init__(self, least_ns: int = 1_000_000_000) -> None:
        self._least_ns = least_ns
        self._offset_ns = 0
        self._timer: TimerFd | None = None

    def open(self) -> dict[int, int]:
        """Begin to watch; return what to wait for, epoll events by descriptor. Raises OSError."""
        self._timer = TimerFd(time.CLOCK_REALTIME)
        self._timer.arm_on_clock_set()
        self._offset_ns = _offset_ns()
        return {self._timer.fileno(): select.EPOLLIN}

    def look(self) -> Iterator[Observation | str]:
        """Yield the change since the last look, if there was one, or why it is not told."""
        before, self._offset_ns = self._offset_ns, _offset_ns()
        if self._timer is None or not self._timer.due():
            return
        self._timer.arm_on_clock_set()
        shift_ns = self._offset_ns - before
        if abs(shift_ns) < self._least_ns:
            yield "small_correction"  # also a host that woke up: its clocks go on together
        else:
            yield Observation(time.time_ns(), "system_change", system=System("clock_set", shift_ns=shift_ns))

    def close(self) -> None:
        """Stop watching; may be called twice."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None


def _offset_ns() -> int:
    """Return how far the wall clock is ahead of the time since boot, which nobody can set."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
