"""The clock being set: the kernel's cancelling of the timer and the shift are made up, since the host's clock stays."""

import errno
import os
import time

import pytest

from shield.collector.linux.kernel.clock_set import ClockSet
from shield.record import Observation

HOUR_NS = 3_600_000_000_000


class Host:
    """A host whose wall clock can be set, as far as Python asks the system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shift_ns = 0
        self.cancelled = False
        self._time_ns = time.time_ns
        self._read = os.read
        monkeypatch.setattr(time, "time_ns", lambda: self._time_ns() + self.shift_ns)
        monkeypatch.setattr(os, "read", self.read)

    def set_clock(self, shift_ns: int) -> None:
        self.shift_ns += shift_ns
        self.cancelled = True

    def read(self, descriptor: int, most: int) -> bytes:
        if self.cancelled:
            self.cancelled = False
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        return self._read(descriptor, most)


@pytest.mark.parametrize("shift_ns", [HOUR_NS, -HOUR_NS])
def test_a_set_clock_is_told_with_its_shift_once(monkeypatch: pytest.MonkeyPatch, shift_ns: int) -> None:
    host, clock = Host(monkeypatch), ClockSet()
    clock.open()
    assert list(clock.look()) == []
    host.set_clock(shift_ns)
    (told,) = clock.look()
    assert isinstance(told, Observation)
    assert told.category == "system_change"
    assert told.system is not None
    assert told.system.kind == "clock_set"
    assert abs(told.system.shift_ns - shift_ns) < 50_000_000
    assert list(clock.look()) == []
    host.set_clock(shift_ns)
    assert len(list(clock.look())) == 1
    clock.close()


def test_a_small_correction_is_counted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    host, clock = Host(monkeypatch), ClockSet()
    clock.open()
    host.set_clock(20_000_000)
    assert list(clock.look()) == ["small_correction"]
    clock.close()
