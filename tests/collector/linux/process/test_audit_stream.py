"""Audit records into events, each with one fate."""

from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.process.audit_record import CWD, EOE, EXECVE, SYSCALL
from shield.collector.linux.process.audit_rule import ABIS
from shield.collector.linux.process.audit_stream import AuditStream
from shield.record import ProcessExec

LIMIT = 1000
Fed = tuple[int, bytes]


def stream() -> AuditStream:
    return AuditStream(ABIS["x86_64"], LIMIT)


def exec_records(serial: int, success: bytes = b"yes", call: bytes = b"59", arch: bytes = b"c000003e") -> list[Fed]:
    stamp = b"audit(1700000000.123:%d): " % serial
    return [
        (SYSCALL, stamp + b"arch=%s syscall=%s success=%s pid=%d ppid=1" % (arch, call, success, serial)),
        (EXECVE, stamp + b'argc=1 a0="true"'),
        (CWD, stamp + b'cwd="/"'),
        (EOE, stamp),
    ]


def feed(events: AuditStream, records: list[Fed], now: float = 0) -> list[ProcessExec]:
    return [found for kind, payload in records if (found := events.feed(kind, payload, now)) is not None]


def balanced(events: AuditStream, read: int) -> bool:
    return events.seen == read + sum(events.filtered.values()) + sum(events.dropped.values()) + events.pending


def test_execs_of_both_interfaces_come_out_and_nothing_else() -> None:
    events = stream()
    found = feed(events, exec_records(1)) + feed(events, exec_records(2, call=b"11", arch=b"40000003"))
    assert [record.process.pid for record in found] == [1, 2]
    assert not feed(events, exec_records(3, success=b"no")) + feed(events, exec_records(4, call=b"2"))
    assert events.filtered == {"failed_exec": 1, "other_event": 1}
    assert balanced(events, read=2)


def test_overlapping_events_are_kept_apart() -> None:
    events = stream()
    both = [record for pair in zip(exec_records(8), exec_records(7), strict=True) for record in pair]
    assert {record.process.pid for record in feed(events, both)} == {7, 8}
    assert balanced(events, read=2)
    assert not events.dropped


def test_a_number_that_never_comes_is_a_lost_event() -> None:
    events = stream()
    read = feed(events, exec_records(10)) + feed(events, exec_records(15))
    assert events.pending == 4
    assert not events.expire(10)
    assert events.dropped == {"not_delivered": 4}
    assert balanced(events, len(read))


def test_a_number_that_comes_late_is_not_lost() -> None:
    events = stream()
    read = feed(events, exec_records(10)) + feed(events, exec_records(12)) + feed(events, exec_records(11))
    assert len(read) == 3
    assert not events.expire(10)
    assert not events.dropped
    assert balanced(events, 3)


def test_an_event_whose_end_was_lost_comes_out_in_the_end() -> None:
    events = stream()
    assert not feed(events, exec_records(1)[:2])
    assert not events.expire(1)
    (record,) = events.expire(3)
    assert record.process.args == ("true",)
    assert record.gaps
    assert balanced(events, 1)


def test_an_exec_whose_head_was_lost_is_counted() -> None:
    events = stream()
    assert not feed(events, exec_records(1)[1:])
    assert events.dropped == {"incomplete": 1}
    assert balanced(events, 0)


def test_what_came_twice_counts_once() -> None:
    events = stream()
    assert len(feed(events, exec_records(1)) + feed(events, exec_records(1))) == 1
    assert events.seen == 1


def test_numbers_start_again_after_the_largest() -> None:
    events = stream()
    assert [len(feed(events, exec_records(serial))) for serial in (2**32 - 2, 0, 1)] == [1, 1, 1]
    assert not events.dropped


def test_a_leap_in_the_numbers_takes_no_memory() -> None:
    events = stream()
    feed(events, exec_records(1))
    feed(events, exec_records(2**31))
    assert events.pending <= 65_536
    assert events.seen == 2**31
    assert balanced(events, 2)


def test_an_endless_row_of_unfinished_events_takes_bounded_memory() -> None:
    events = stream()
    read = 0
    for serial in range(1, 6000):
        feed(events, exec_records(serial)[:1])
        read += len(events.expire(0))
    assert events.pending <= 4096
    assert balanced(events, read)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3), st.sampled_from([b"yes", b"no"])), max_size=80),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=60)), max_size=5),
)
def test_whatever_arrives_in_whatever_order_the_books_balance(
    arrivals: list[tuple[int, int, bytes]], garbage: list[Fed]
) -> None:
    events = stream()
    records = [exec_records(serial, success)[part] for serial, part, success in arrivals] + garbage
    read = len(feed(events, records))
    assert balanced(events, read)
    read += len(events.expire(100))
    assert events.pending == 0
    assert balanced(events, read)
