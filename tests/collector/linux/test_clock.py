"""The boot clock and the wall clock."""

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.clock import TICK_NS, BootClock, start_ticks

SECOND_NS = 1_000_000_000


def test_now_on_the_boot_clock_is_now_on_the_wall() -> None:
    clock = BootClock()
    before = time.time_ns()
    now = clock.unix_ns(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    assert abs(now - before) < SECOND_NS


@given(st.integers(0, 2**62))
def test_there_and_back_is_the_same_moment(boot_ns: int) -> None:
    clock = BootClock()
    assert clock.boot_ns(clock.unix_ns(boot_ns)) == boot_ns


@pytest.mark.parametrize("jump_ns", [3600 * SECOND_NS, -3600 * SECOND_NS])
def test_a_jump_of_the_wall_clock_moves_what_comes_after_a_refresh(
    monkeypatch: pytest.MonkeyPatch, jump_ns: int
) -> None:
    clock = BootClock()
    earlier, later = clock.unix_ns(0), clock.unix_ns(SECOND_NS)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + jump_ns)
    assert clock.unix_ns(0) == earlier
    clock.refresh()
    assert abs(clock.unix_ns(0) - earlier - jump_ns) < SECOND_NS
    assert clock.unix_ns(SECOND_NS) - clock.unix_ns(0) == later - earlier


def test_ticks_are_those_of_proc() -> None:
    assert os.sysconf("SC_CLK_TCK") == SECOND_NS // TICK_NS
    assert start_ticks(12 * TICK_NS + TICK_NS - 1) == 12
