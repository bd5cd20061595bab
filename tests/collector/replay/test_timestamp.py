"""Times as logs write them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay.timestamp import epoch_ns, unix_ns

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-04-17T05:24:53.088849Z", 1_776_403_493_088_849_000),
        ("2026-04-17T05:24:53.0888491Z", 1_776_403_493_088_849_100),
        ("2026-04-17T05:24:53.0888491 UTC", 1_776_403_493_088_849_100),
        ("2026-04-17 05:24:53.079", 1_776_403_493_079_000_000),
        ("2026-04-17 05:24:53", 1_776_403_493 * SECOND),
        ("2026-04-17T05:24:53,5-04:00", 1_776_417_893 * SECOND + SECOND // 2),
        ("2026-04-17T05:24:53+0200", 1_776_396_293 * SECOND),
        ("/Date(1776403493088)/", 1_776_403_493_088_000_000),
        ("\\/Date(1776403493088+0200)\\/", 1_776_403_493_088_000_000),
    ],
)
def test_a_time_is_read_to_its_last_digit(text: str, ns: int) -> None:
    assert unix_ns(text) == ns


@pytest.mark.parametrize(
    "text", ["", "now", "1601-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "30828-09-14T02:48:05Z", "2300-01-01T00:00:00Z"]
)
def test_what_is_no_time_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        unix_ns(text)


@pytest.mark.parametrize("number", [1_776_403_493, 1_776_403_493_000, 1_776_403_493_000_000, 1_776_403_493_000_000_000])
def test_the_unit_of_a_count_is_told_by_its_size(number: int) -> None:
    assert epoch_ns(number) == 1_776_403_493 * SECOND


def test_a_count_with_a_fraction_is_exact_to_the_microsecond() -> None:
    assert epoch_ns(1_776_403_493.25) == 1_776_403_493 * SECOND + SECOND // 4


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", fullmatch=True))
def test_no_text_gives_anything_but_a_time_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert 0 <= unix_ns(text) < 1 << 63


@given(st.floats() | st.integers())
def test_no_number_gives_anything_but_a_time_or_a_value_error(number: float) -> None:
    with suppress(ValueError):
        assert 0 <= epoch_ns(number) < 1 << 63
