"""Recorded events, whatever stands in their file."""

import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay.damage import Damaged
from shield.collector.replay.jsonl import LINE_MOST, read
from shield.record import RecordedEvent

EVENT = b'{"category":"process_start","data":{"process":{"pid":7}}}'


def outcome(text: bytes) -> list[RecordedEvent | Damaged]:
    return [recorded for _, recorded in read(io.BytesIO(text), "events.jsonl")]


def test_a_line_that_is_no_event_is_told_with_its_place_and_the_others_are_read() -> None:
    good, bad, last = outcome(EVENT + b"\n\n{torn\n" + EVENT)
    assert isinstance(good, RecordedEvent)
    assert isinstance(last, RecordedEvent)
    assert isinstance(bad, Damaged)
    assert (bad.source, bad.line) == ("events.jsonl", 3)


@pytest.mark.parametrize(
    "line",
    [
        b"null",
        b"[]",
        b'"text"',
        b"[" * 100_000,
        b'{"category":"nothing","data":{}}',
        b'{"category":"process_start"}',
        b'{"category":"process_start","data":{"process":{}}}',
        b'{"category":"process_start","data":{"process":{"pid":"7"}}}',
        b'{"category":"process_start","data":{"process":{"pid":7,"name":"\xff"}}}',
        b'{"category":"process_start","data":{"process":{"pid":7,"name":"\\ud800"}}}',
        b'{"category":"process_start","data":{},"ts":-1}',
        b'{"category":"process_start","data":{},"ts":100000000000000000}',
        b'{"category":"process_start","data":{},"ts_ns":18446744073709551615}',
    ],
)
def test_what_is_no_event_is_damage_not_an_error(line: bytes) -> None:
    (recorded,) = outcome(line)
    assert isinstance(recorded, Damaged)
    assert recorded.problem


@given(st.binary(max_size=300))
def test_no_bytes_at_all_raise(text: bytes) -> None:
    outcome(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_no_value_in_a_field_raises(value: Any) -> None:
    for name in ("ts", "host", "data", "category", "gaps", "severity"):
        outcome(json.dumps({"category": "heartbeat", "data": {}, name: value}).encode())


def test_a_line_of_the_greatest_length_is_an_event_and_a_longer_one_is_not() -> None:
    end = b"\n" + EVENT
    fits, last = outcome(EVENT.ljust(LINE_MOST - 1) + end)
    assert isinstance(fits, RecordedEvent)
    assert isinstance(last, RecordedEvent)
    too_long, last = outcome(EVENT.ljust(LINE_MOST + 1) + end)
    assert isinstance(too_long, Damaged)
    assert "longer than 16 MiB" in too_long.problem
    assert isinstance(last, RecordedEvent)


class Endless(io.RawIOBase):
    """256 MiB without a newline, that are nowhere."""

    left = 256 << 20

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        number = min(len(buffer), self.left)
        self.left -= number
        buffer[:number] = bytes(number)
        return number


def test_an_endless_line_is_not_held_in_memory() -> None:
    tracemalloc.start()
    ((_, recorded),) = read(io.BufferedReader(Endless()), "zero")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(recorded, Damaged)
    assert peak < 5 * LINE_MOST
