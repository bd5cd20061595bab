"""Polling the process list, with real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from shield.collector.polling import PollingSource, creation_ticks
from shield.record import ProcessExec, ProcessExit, Record
from shield.text import encode

SLEEP = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def source() -> Iterator[PollingSource]:
    opened = PollingSource(0.1)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEP, stdin=subprocess.PIPE)
    yield process
    process.communicate()


def starts(records: list[Record], pid: int) -> list[ProcessExec]:
    return [one for one in records if isinstance(one, ProcessExec) and one.process.pid == pid]


def balanced(source: PollingSource, read: int) -> bool:
    count = source.count()
    return count.seen == read + sum(count.filtered.values()) + sum(count.dropped.values()) + count.pending


def test_a_process_is_reported_once_when_it_starts_and_once_when_it_ends(source: PollingSource) -> None:
    process = subprocess.Popen([*SLEEP, "caf\udce9"], stdin=subprocess.PIPE)
    first = source.read()
    (start,) = starts(first, process.pid)
    assert start.process.ppid == os.getpid()
    assert encode(start.process.args[-1]) == b"caf\xe9"
    assert start.process.args_length == sum(len(os.fsencode(arg)) + 1 for arg in [*SLEEP, "caf\udce9"])
    assert start.process.cwd == os.getcwd()  # noqa: PTH109
    assert start.start_ticks == creation_ticks(process.pid)
    assert start.parent_start_ticks == creation_ticks(os.getpid())
    assert start.gaps == ()
    second = source.read()
    assert not starts(second, process.pid)
    process.communicate()
    third = source.read()
    (end,) = [one for one in third if isinstance(one, ProcessExit) and one.pid == process.pid]
    assert (end.start_ticks, end.status) == (start.start_ticks, None)
    assert balanced(source, len(first + second + third))


def test_what_ran_before_is_not_reported_as_started(child: subprocess.Popen[bytes]) -> None:
    source = PollingSource()
    source.open()
    assert not starts(source.read(), child.pid)
    assert not starts(source.read(), os.getpid())


def test_a_pid_used_again_is_an_end_and_a_start(child: subprocess.Popen[bytes]) -> None:
    generation = iter(range(1, 100))
    source = PollingSource(start_ticks=lambda pid: next(generation) if pid == child.pid else 0)
    source.open()
    end, start = source.read()
    assert isinstance(end, ProcessExit)
    assert isinstance(start, ProcessExec)
    assert (end.pid, end.start_ticks) == (child.pid, 1)
    assert (start.process.pid, start.start_ticks) == (child.pid, 2)


def test_a_process_that_ends_while_it_is_looked_at_is_counted(
    source: PollingSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen(SLEEP, stdin=subprocess.PIPE)

    def gone(asked: psutil.Process) -> str:
        raise psutil.NoSuchProcess(asked.pid)

    with monkeypatch.context() as patched:
        patched.setattr(psutil.Process, "cwd", gone)
        records = source.read()
    process.communicate()
    assert not starts(records, process.pid)
    assert source.count().dropped["ended_before_read"] >= 1
    assert set(source.count().dropped) <= set(source.remedies)
    assert balanced(source, len(records))


def test_what_may_not_be_read_is_a_gap(source: PollingSource, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(SLEEP, stdin=subprocess.PIPE)

    def denied(asked: psutil.Process) -> str:
        raise psutil.AccessDenied(asked.pid)

    with monkeypatch.context() as patched:
        patched.setattr(psutil.Process, "exe", denied)
        (start,) = starts(source.read(), process.pid)
    process.communicate()
    assert start.process.exe == ""
    assert start.gaps == ("the executable could not be read",)


def test_after_stop_nothing_more_is_reported(source: PollingSource) -> None:
    source.stop()
    process = subprocess.Popen(SLEEP, stdin=subprocess.PIPE)
    assert source.read() == []
    process.communicate()


def test_the_blind_spots_name_the_interval() -> None:
    assert "(0.5 s apart)" in PollingSource(0.5).blind_spots[0]
