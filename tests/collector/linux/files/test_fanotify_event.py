"""fanotify's events, as the kernel lays them out."""

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.files.fanotify_call import FAN_CREATE, FAN_MOVED_FROM, FAN_MOVED_TO, FAN_RENAME
from shield.collector.linux.files.fanotify_event import NO_PIDFD, FanotifyEvent, paired, parse

FSID = b"fsid-of8"
DFID_NAME, PIDFD, ERROR, OLD_NAME, NEW_NAME = 2, 4, 5, 10, 12


def record(kind: int, payload: bytes) -> bytes:
    payload += b"\0" * (-len(payload) % 4)
    return struct.pack("=BBH", kind, 0, 4 + len(payload)) + payload


def named(kind: int, handle: bytes, name: bytes) -> bytes:
    return record(kind, FSID + struct.pack("=Ii", len(handle), 1) + handle + name + b"\0")


def folder(handle: bytes) -> bytes:
    return FSID + struct.pack("=Ii", len(handle), 1) + handle


def event(mask: int, pid: int, *records: bytes) -> bytes:
    body = b"".join(records)
    return struct.pack("=IBBHQii", 24 + len(body), 3, 0, 24, mask, -1, pid) + body


NAME = st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name)


@given(st.lists(st.tuples(st.integers(0, 2**63), st.integers(0, 2**31 - 1), st.binary(max_size=128), NAME), max_size=5))
def test_every_event_of_a_buffer_is_read_with_any_name(wanted: list[tuple[int, int, bytes, bytes]]) -> None:
    raw = b"".join(event(mask, pid, named(DFID_NAME, handle, name)) for mask, pid, handle, name in wanted)
    assert list(parse(raw)) == [
        FanotifyEvent(mask, pid, NO_PIDFD, folder(handle), name, b"", b"") for mask, pid, handle, name in wanted
    ]


def test_a_renaming_has_both_directories_and_names_and_the_descriptor_of_its_process() -> None:
    raw = event(
        FAN_RENAME,
        7,
        named(OLD_NAME, b"old-handle", b"a"),
        named(NEW_NAME, b"new-h", b"b\n"),
        record(ERROR, b"\0" * 8),
        record(PIDFD, struct.pack("=i", 42)),
    )
    assert list(parse(raw)) == [FanotifyEvent(FAN_RENAME, 7, 42, folder(b"old-handle"), b"a", folder(b"new-h"), b"b\n")]


@given(st.binary(max_size=200))
def test_anything_else_is_refused_and_never_looped_over(raw: bytes) -> None:
    try:
        list(parse(raw))
    except ValueError:
        return


@given(st.data())
def test_a_damaged_event_is_refused_or_read_but_never_more_than_is_there(data: st.DataObject) -> None:
    raw = bytearray(event(FAN_CREATE, 1, named(DFID_NAME, b"handle", b"name")) * 2)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert len(list(parse(bytes(raw)))) <= 2
    except ValueError:
        return


def half(mask: int, pid: int, name: bytes) -> FanotifyEvent:
    return FanotifyEvent(mask, pid, NO_PIDFD, b"folder " + name, name, b"", b"")


def test_the_halves_of_a_renaming_become_one_where_they_follow_each_other() -> None:
    events = [half(FAN_MOVED_FROM, 1, b"a"), half(FAN_MOVED_TO, 1, b"b"), half(FAN_CREATE, 1, b"c")]
    (renamed, created) = paired(events)
    assert renamed == FanotifyEvent(FAN_RENAME, 1, NO_PIDFD, b"folder a", b"a", b"folder b", b"b")
    assert created == events[2]


@pytest.mark.parametrize(
    "events",
    [
        [half(FAN_MOVED_FROM, 1, b"a"), half(FAN_MOVED_TO, 2, b"b")],
        [half(FAN_MOVED_FROM, 1, b"a"), half(FAN_CREATE, 1, b"c"), half(FAN_MOVED_TO, 1, b"b")],
        [half(FAN_MOVED_FROM, 1, b"a"), half(FAN_MOVED_FROM, 1, b"b")],
        [half(FAN_MOVED_TO, 1, b"a")],
    ],
)
def test_a_half_without_the_other_is_kept_as_it_is(events: list[FanotifyEvent]) -> None:
    assert list(paired(events)) == events


def test_joining_two_halves_leaves_no_descriptor_open() -> None:
    read, write = os.pipe()
    os.close(write)
    (renamed,) = paired([half(FAN_MOVED_FROM, 1, b"a")._replace(pidfd=read), half(FAN_MOVED_TO, 1, b"b")])
    assert renamed.pidfd == NO_PIDFD
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)
