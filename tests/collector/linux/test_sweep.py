"""Sweeps over all processes, and the timers that pace them."""

import select
import time
from pathlib import Path

from shield.collector.linux.sweep import Sweep
from shield.collector.linux.timerfd import TimerFd


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def wait(descriptor: int) -> None:
    assert select.select([descriptor], [], [], 5)[0]


def test_a_round_meets_every_process_once_in_slices(tmp_path: Path) -> None:
    for name in ("1", "2", "3", "4", "5", "self", "uptime"):
        (tmp_path / name).mkdir()
    sweep = Sweep(seconds=0.01, most=2, root=tmp_path)
    sweep.open()
    assert sweep.slice() == []
    for _ in range(2):
        met: list[int] = []
        while not sweep.over:
            wait(sweep.fileno())
            part = sweep.slice()
            assert len(part) <= 2
            met += part
        assert sorted(met) == [1, 2, 3, 4, 5]
        sweep.over = False
    sweep.close()
    sweep.close()
    assert sweep.slice() == []


def test_a_timer_is_due_once() -> None:
    timer = TimerFd()
    assert not timer.due()
    timer.arm(0)
    wait(timer.fileno())
    assert timer.due()
    assert not timer.due()
    timer.close()


def test_a_timer_on_the_clock_waits_for_it_to_be_set() -> None:
    timer = TimerFd(time.CLOCK_REALTIME)
    timer.arm_on_clock_set()
    assert not select.select([timer.fileno()], [], [], 0)[0]
    before = open_descriptors()
    timer.close()
    timer.close()
    assert open_descriptors() == before - 1
