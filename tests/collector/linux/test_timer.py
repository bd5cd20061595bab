"""A timer wakes whoever waits for it."""

import select
from collections.abc import Iterator

import pytest

from shield.collector.linux.timer import Timer


@pytest.fixture
def timer() -> Iterator[Timer]:
    made = Timer()
    yield made
    made.close()
    made.close()


def ready(timer: Timer, seconds: float) -> bool:
    return select.select([timer.fd], [], [], seconds)[0] == [timer.fd]


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.01])
def test_it_wakes_after_its_time(timer: Timer, seconds: float) -> None:
    timer.set(seconds)
    assert ready(timer, 20)


def test_a_later_time_takes_the_place_of_an_earlier_one(timer: Timer) -> None:
    timer.set(0)
    assert ready(timer, 20)
    timer.set(3600)
    assert not ready(timer, 0)
