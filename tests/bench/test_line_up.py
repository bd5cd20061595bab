"""The order of turns, and what a series of processes looks like."""

from collections import Counter

import pytest

line_up = pytest.importorskip("bench.line_up", reason="the benchmarks run on Linux only")
spawning = pytest.importorskip("bench.spawning", reason="the benchmarks run on Linux only")


def test_every_round_has_every_contestant_once_and_begins_with_another() -> None:
    turns = list(line_up.turns(line_up.ALL, 5))
    assert Counter(turns) == Counter((number, each) for number in range(5) for each in line_up.ALL)
    first = dict(reversed(turns))
    assert len(set(first.values())) > 2


def test_no_two_processes_have_the_same_arguments_and_long_ones_are_as_long_as_asked() -> None:
    work = spawning.series(200, padding=32_000)
    vectors = {tuple(work.argv(index)) for index in range(work.count)}
    assert len(vectors) == work.count
    assert {len(vector[-1]) for vector in vectors} == {32_000}
