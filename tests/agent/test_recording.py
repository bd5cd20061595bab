"""Recorded files become events a few at a time, and nobody can tell by what comes out."""

import errno
import io
import os
from itertools import islice
from typing import Any, BinaryIO

import pytest

from shield.agent.recording import Recording
from shield.collector.replay.damage import Damaged
from shield.event import Event

_MANY = 2_000
_LINE = b'{"category":"process_start","ts":%d,"data":{"process":{"pid":%d,"exe":"/usr/bin/true"}}}\n'


def recorded(count: int) -> bytes:
    return b"".join(_LINE % (1_700_000_000 + number, number + 10) for number in range(count))


def drafts(file: BinaryIO) -> tuple[list[Event], list[Damaged]]:
    damages: list[Damaged] = []
    return list(Recording(damages.append).drafts(file, "events")), damages


class Breaking(io.RawIOBase):
    """A file whose disk fails after `content`."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._content.seek(offset, whence)

    def readinto(self, buffer: Any, /) -> int:
        found = self._content.readinto(buffer)
        if not found:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return found


def test_every_record_of_a_long_file_is_told_in_its_order_and_counted() -> None:
    recording = Recording(lambda _: None)
    events = list(recording.drafts(io.BytesIO(recorded(_MANY)), "events"))
    pids = [event.data.process.pid for event in events if event.data.process]
    assert pids == list(range(10, _MANY + 10))
    assert recording.ledger.seen == recording.ledger.kept == _MANY


def test_the_same_file_gives_the_same_ids_each_time() -> None:
    once, again = (drafts(io.BytesIO(recorded(_MANY)))[0] for _ in range(2))
    assert once == again
    assert len({event.event_id for event in once}) == _MANY


def test_what_came_before_a_read_error_is_told_before_it() -> None:
    file, told = io.BufferedReader(Breaking(recorded(_MANY))), list[Event]()
    with pytest.raises(OSError, match="Input/output error"):
        told.extend(Recording(lambda _: None).drafts(file, "events"))
    assert len(told) > _MANY - 100


def test_what_comes_through_a_pipe_is_told_without_waiting_for_its_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(recorded(100))
        told = list(islice(Recording(lambda _: None).drafts(file, "-"), 90))
    assert len(told) == 90


def test_a_damaged_record_among_others_is_told_and_costs_only_itself() -> None:
    events, damages = drafts(io.BytesIO(recorded(3) + b"{broken\n" + recorded(3)))
    assert (len(events), len(damages)) == (6, 1)
