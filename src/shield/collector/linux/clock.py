"""Kernel time to Unix time: the kernel stamps events in nanoseconds since boot, people read UTC.

The boot clock counts suspended time and never jumps; the wall clock does. `refresh` follows a jump, so that events
after it carry the new wall time while their order and every lifetime still come from the boot clock.
"""

import os
import time

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Length of the clock tick in which /proc/PID/stat gives a process's start, in nanoseconds."""


class BootClock:
    """Converts between nanoseconds since boot (CLOCK_BOOTTIME) and Unix nanoseconds."""

    def __init__(self) -> None:
        self._offset_ns = 0
        self.refresh()

    def refresh(self) -> None:
        """Measure the distance between the two clocks again."""
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._offset_ns = wall - (before + after) // 2

    def unix_ns(self, boot_ns: int) -> int:
        """Return the Unix time of a moment on the boot clock."""
        return boot_ns + self._offset_ns

    def boot_ns(self, unix_ns: int) -> int:
        """Return the moment on the boot clock of a Unix time."""
        return unix_ns - self._offset_ns


def start_ticks(boot_ns: int) -> int:
    """Return a start time as /proc/PID/stat counts it (proc(5), field 22), given nanoseconds since boot."""
    return boot_ns // TICK_NS
