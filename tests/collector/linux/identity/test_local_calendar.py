"""Lines without year and zone: the moment they mean, over New Year, summer time and clocks that jump."""

import os
import time
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.identity.local_calendar import LocalCalendar

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def in_berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


class Clock:
    def __init__(self, *moment: int, fold: int = 0) -> None:
        self.now = datetime(*moment, tzinfo=BERLIN, fold=fold).timestamp()  # type: ignore[arg-type,misc]

    def __call__(self) -> float:
        return self.now


def seconds(*moment: int, fold: int = 0) -> int:
    return int(datetime(*moment, tzinfo=BERLIN, fold=fold).timestamp())  # type: ignore[arg-type,misc]


def dated(clock: Clock, month: int, day: int, at: str) -> int:
    return LocalCalendar(clock).ns(month, day, at) // 1_000_000_000


def test_a_line_is_of_the_hosts_own_zone() -> None:
    assert dated(Clock(2026, 7, 1, 12), 7, 1, "11:59:58") == seconds(2026, 7, 1, 11, 59, 58)
    assert dated(Clock(2026, 12, 1, 12), 12, 1, "11:59:58") == seconds(2026, 12, 1, 11, 59, 58)


def test_a_line_is_of_the_newest_year_in_which_it_is_not_of_the_future() -> None:
    assert dated(Clock(2026, 1, 1, 0, 0, 5), 12, 31, "23:59:59") == seconds(2025, 12, 31, 23, 59, 59)
    assert dated(Clock(2025, 12, 31, 23, 59, 58), 1, 1, "00:00:00") == seconds(2026, 1, 1), "a clock that is behind"
    assert dated(Clock(2026, 3, 1), 5, 1, "00:00:00") == seconds(2025, 5, 1)
    assert dated(Clock(2026, 3, 1), 2, 29, "01:00:00") == seconds(2024, 2, 29, 1)


def test_the_hour_that_comes_twice_is_told_apart_by_the_line_before() -> None:
    clock = Clock(2026, 10, 25, 2, 59, 59)
    calendar = LocalCalendar(clock)
    assert calendar.ns(10, 25, "02:59:59") == seconds(2026, 10, 25, 2, 59, 59) * 1_000_000_000
    clock.now += 1
    assert calendar.ns(10, 25, "02:00:00") == seconds(2026, 10, 25, 2, fold=1) * 1_000_000_000
    clock.now += 1800
    assert calendar.ns(10, 25, "02:30:00") == seconds(2026, 10, 25, 2, 30, fold=1) * 1_000_000_000


def test_without_a_line_before_the_hour_that_comes_twice_is_the_one_nearest_to_now() -> None:
    assert dated(Clock(2026, 10, 25, 2, 30), 10, 25, "02:29:59") == seconds(2026, 10, 25, 2, 29, 59)
    assert dated(Clock(2026, 10, 25, 2, 30, fold=1), 10, 25, "02:29:59") == seconds(2026, 10, 25, 2, 29, 59, fold=1)


def test_a_clock_that_was_set_back_or_ahead_leads_no_line_astray() -> None:
    clock = Clock(2026, 6, 1, 12)
    calendar = LocalCalendar(clock)
    calendar.ns(6, 1, "12:00:00")
    clock.now = Clock(2026, 5, 1, 12).now
    assert calendar.ns(5, 1, "12:00:00") == seconds(2026, 5, 1, 12) * 1_000_000_000
    clock.now = Clock(2031, 5, 1, 12).now
    assert calendar.ns(5, 1, "11:59:59") == seconds(2031, 5, 1, 11, 59, 59) * 1_000_000_000


def test_a_change_of_the_zone_is_followed() -> None:
    clock = Clock(2026, 7, 1, 12)
    os.environ["TZ"] = "UTC"
    assert dated(clock, 7, 1, "10:00:00") == seconds(2026, 7, 1, 12)


@given(st.integers(0, 99), st.integers(0, 99), st.from_regex(r"\d\d:\d\d:\d\d", fullmatch=True))
def test_a_time_there_is_not_is_none(month: int, day: int, at: str) -> None:
    assert 0 <= LocalCalendar(Clock(2026, 7, 1)).ns(month, day, at) < 1 << 63
