"""A timer wakes whoever waits for it."""

import select
from collections.abc import Iterator

import pytest

from shield.collector.linux.timerfd import TimerFd


@pytest.fixture
def timer() -> Iterator[TimerFd]:
    made = TimerFd()
    yield made
    made.close()
    made.close()


def ready(timer: TimerFd, seconds: float) -> bool:
    return select.select([timer.fileno()], [], [], seconds)[0] == [timer.fileno()]


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_it_wakes_after_its_time(timer: TimerFd, seconds: float) -> None:
    timer.arm(seconds)
    assert ready(timer, 20)


def test_a_later_time_takes_the_place_of_an_earlier_one(timer: TimerFd) -> None:
    timer.arm(0)
    assert ready(timer, 20)
    timer.arm(3600)
    assert not ready(timer, 0)
