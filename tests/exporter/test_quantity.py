"""Sizes and permissions as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.exporter.quantity import permissions, size


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (120_000, "120 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (3_400_000, "3.4 MB"),
        (9_960_000, "10 MB"),
        (5 * 10**12, "5 TB"),
        (1 << 64, "18 EB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit_that_fits(number: int, shown: str) -> None:
    assert size(number) == shown


@given(st.integers(0, (1 << 63) - 1))
def test_a_size_is_short(number: int) -> None:
    assert len(size(number)) <= 6


def test_permissions_are_written_as_chmod_takes_them() -> None:
    assert permissions(0o100644) == "0644"
    assert permissions(0o104755) == "4755"
