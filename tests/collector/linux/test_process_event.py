"""Messages of the process events connector, as the kernel lays them out."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.process_event import (
    EXEC,
    EXIT,
    FORK,
    GID,
    LISTEN,
    NONE,
    PTRACE,
    UID,
    ProcessEvent,
    SequenceGaps,
    choice,
    parse,
    subscription,
)

LARGEST = 2**32 - 1
number = st.integers(0, LARGEST)


def message(what: int, data: bytes, cpu: int = 0, sequence: int = 0, ids: tuple[int, int] = (1, 1)) -> bytes:
    return struct.pack("=IIIIHHIIQ", *ids, sequence, 7, 40, 0, what, cpu, 123) + data


@given(number, number, number)
def test_a_fork_names_child_and_parent(parent: int, thread: int, pid: int) -> None:
    event = parse(message(FORK, struct.pack("=6I", parent + 1 & LARGEST, parent, thread, pid, 0, 0)))
    assert event is not None
    assert (event.what, event.parent, event.thread, event.pid) == (FORK, parent, thread, pid)
    assert event.of_thread == (thread != pid)


def test_an_exec_names_its_process() -> None:
    event = parse(message(EXEC, struct.pack("=6I", 12, 12, 0, 0, 0, 0), cpu=3, sequence=9))
    assert event == ProcessEvent(EXEC, 3, 9, 7, 123, pid=12, thread=12)


def test_an_exit_holds_a_wait_status_and_the_parent_where_the_kernel_tells_it() -> None:
    whole = struct.pack("=6I", 12, 12, 256, 17, 4, 3)
    event = parse(message(EXIT, whole))
    assert event is not None
    assert (event.pid, event.status, event.parent) == (12, 256, 3)
    older = parse(message(EXIT, whole[:16]))
    assert older is not None
    assert older.parent == 0


@given(st.sampled_from((UID, GID)), number, number, number, number)
def test_a_change_of_ids_tells_the_new_ones(what: int, thread: int, pid: int, real: int, effective: int) -> None:
    event = parse(message(what, struct.pack("=6I", thread, pid, real, effective, 0, 0)))
    assert event is not None
    assert (event.what, event.thread, event.pid, event.real, event.effective) == (what, thread, pid, real, effective)
    assert parse(message(what, bytes(12))) is None


def test_an_attaching_debugger_is_named() -> None:
    event = parse(message(PTRACE, struct.pack("=6I", 12, 12, 8, 7, 0, 0)))
    assert event is not None
    assert (event.pid, event.tracer) == (12, 7)


def test_a_choice_of_events_is_a_mask() -> None:
    assert struct.unpack("=IIIIHHII", choice(UID | GID)) == (1, 1, 0, 0, 8, 0, LISTEN, 0x44)


def test_other_connectors_and_short_messages_are_nothing() -> None:
    assert parse(message(EXEC, bytes(24), ids=(2, 1))) is None
    assert parse(message(EXEC, bytes(4))) is None
    assert parse(b"") is None


@given(st.binary(max_size=120) | st.tuples(number, st.binary(max_size=60)).map(lambda drawn: message(*drawn)))
def test_garbage_never_raises(payload: bytes) -> None:
    event = parse(payload)
    assert event is None or event.cpu >= 0


def test_a_subscription_is_acknowledged_by_one_more() -> None:
    assert struct.unpack("=IIIIHHI", subscription(LISTEN, 41)) == (1, 1, 0, 41, 4, 0, LISTEN)


def numbered(cpu: int, sequence: int) -> ProcessEvent:
    return ProcessEvent(EXEC, cpu, sequence, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200), st.lists(number, min_size=4, max_size=4))
def test_every_message_lost_between_two_others_is_counted(sent: list[tuple[int, bool]], first: list[int]) -> None:
    gaps, upcoming, missing, heard = SequenceGaps(), list(first), 0, dict.fromkeys(range(4), 0)
    lost_since = dict.fromkeys(range(4), 0)
    for cpu, arrives in sent:
        event = numbered(cpu, upcoming[cpu] & LARGEST)
        upcoming[cpu] += 1
        if not arrives:
            lost_since[cpu] += 1
            continue
        counted = gaps.before(event)
        assert counted == (lost_since[cpu] if heard[cpu] else 0)
        missing += counted
        heard[cpu], lost_since[cpu] = 1, 0


def test_a_straggler_is_no_gap() -> None:
    gaps = SequenceGaps()
    assert [gaps.before(numbered(0, sequence)) for sequence in (5, 7, 6, 8)] == [0, 1, 0, 0]


def test_an_acknowledgement_of_an_older_kernel_stands_outside_the_numbering() -> None:
    gaps = SequenceGaps()
    assert gaps.before(numbered(0, 5)) == 0
    assert gaps.before(ProcessEvent(NONE, LARGEST, 900, 0, 0)) == 0
    assert gaps.before(numbered(0, 6)) == 0
