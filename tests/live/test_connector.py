"""The process events connector against the running kernel."""

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shield.collector.linux.process.connector import ConnectorSource
from shield.collector.source import Count, SourceUnavailable
from shield.record import ProcessExec, ProcessExit, ProcessFork, Record
from shield.text import encode

# Ends when its standard input does, so that /proc can be read in time.
PATIENT = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@contextmanager
def opened(source: ConnectorSource) -> Iterator[ConnectorSource]:
    source.open()
    try:
        yield source
    finally:
        source.close()


def read_until_exit(source: ConnectorSource, pids: set[int], patience_s: float = 10) -> list[Record]:
    """Read until the exits of `pids` are there, or nothing comes any more."""
    descriptor = source.fileno()
    assert descriptor is not None
    records: list[Record] = []
    deadline = time.monotonic() + patience_s
    while not pids <= {one.pid for one in records if isinstance(one, ProcessExit)} and time.monotonic() < deadline:
        select.select([descriptor], [], [], 0.1)
        records += source.read()
    return records


def balanced(count: Count, read: int) -> bool:
    return count.seen == read + sum(count.filtered.values()) + sum(count.dropped.values()) + count.pending


def exec_of(records: list[Record], pid: int) -> ProcessExec:
    (found,) = [one for one in records if isinstance(one, ProcessExec) and one.process.pid == pid]
    return found


def fork_of(records: list[Record], pid: int) -> ProcessFork:
    (found,) = [one for one in records if isinstance(one, ProcessFork) and one.pid == pid]
    return found


def exit_of(records: list[Record], pid: int) -> ProcessExit:
    (found,) = [one for one in records if isinstance(one, ProcessExit) and one.pid == pid]
    return found


def test_every_fork_exec_and_exit_is_seen_and_the_books_balance() -> None:
    with opened(ConnectorSource()) as source:
        pids = [os.posix_spawn("/bin/true", ["true", str(index)], {}) for index in range(300)]
        for pid in pids:
            os.waitpid(pid, 0)
        records = read_until_exit(source, set(pids))
        for pid in pids:
            assert fork_of(records, pid).ppid == os.getpid()
            assert exec_of(records, pid).process.ppid == os.getpid()
            ended = exit_of(records, pid)
            assert (ended.status, ended.ppid, ended.execed) == (0, os.getpid(), True)
            assert ended.lifetime_ns is not None
            assert ended.lifetime_ns > 0
        assert balanced(source.count(), len(records))
        assert not source.count().dropped
    assert balanced(source.count(), len(records))


def test_a_living_process_is_fully_described() -> None:
    hostile = [b"\xff\xfe", b'a"b\n', b"\x1b[31m", b"", b"x" * 100_000]
    with opened(ConnectorSource()) as source:
        process = subprocess.Popen(
            [*PATIENT, *hostile], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={"LD_X": "1"}
        )
        records = read_until_exit(source, {process.pid}, patience_s=0.5)
        process.communicate()
        records += read_until_exit(source, {process.pid})
    start, end = exec_of(records, process.pid), exit_of(records, process.pid)
    assert [encode(arg) for arg in start.process.args[-len(hostile) :]] == hostile
    assert not start.process.truncated
    assert start.process.exe == os.path.realpath(sys.executable)
    assert start.process.env == {"LD_X": "1"}
    assert start.user.id == 0
    assert start.process.namespaces is not None
    assert start.gaps == ()
    assert start.start_ticks == end.start_ticks == fork_of(records, process.pid).start_ticks > 0
    assert start.parent_start_ticks > 0
    assert abs(start.ts_ns - time.time_ns()) < 60 * 1_000_000_000


def test_a_process_that_is_gone_is_reported_with_its_gap() -> None:
    with opened(ConnectorSource()) as source:
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(pid, 0)
        start = exec_of(read_until_exit(source, {pid}), pid)
    assert start.process.exe == ""
    assert start.gaps == ("the process ended before /proc was read",)


def test_an_exit_tells_code_signal_and_whether_there_was_an_exec() -> None:
    with opened(ConnectorSource()) as source:
        failing = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
        failing.wait()
        forked = os.fork()
        if forked == 0:
            os.kill(os.getpid(), 9)
        os.waitpid(forked, 0)
        records = read_until_exit(source, {failing.pid, forked})
    assert exit_of(records, failing.pid).status == 7 << 8
    ended = exit_of(records, forked)
    assert (ended.status, ended.execed) == (9, False)


def test_threads_are_no_processes() -> None:
    with opened(ConnectorSource()) as source:
        for _ in range(20):
            thread = threading.Thread(target=time.sleep, args=(0,))
            thread.start()
            thread.join()
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(pid, 0)
        records = read_until_exit(source, {pid})
        assert source.count().filtered["thread"] >= 20
        assert not [one for one in records if isinstance(one, ProcessExit) and one.pid == os.getpid()]


def test_a_loss_is_counted_exactly() -> None:
    number = 300
    with opened(ConnectorSource(buffer_bytes=1)) as source:
        before = source.count().seen
        pids = {os.posix_spawn("/bin/true", ["true"], {}) for _ in range(number)}
        for pid in pids:
            os.waitpid(pid, 0)
        records = source.read()
        # The next message of each CPU shows what was lost before it; both CPUs must have spoken before the loss, too.
        for cpu in os.sched_getaffinity(0):
            pid = _true_on(cpu)
            records += read_until_exit(source, {pid}, patience_s=0.2)
        count = source.count()
    assert count.dropped["not_delivered"] > 0
    assert set(count.dropped) <= set(source.remedies)
    assert count.seen > before
    assert balanced(count, len(records))
    assert balanced(source.count(), len(records))


def _true_on(cpu: int) -> int:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(pid, 0)
    finally:
        os.sched_setaffinity(0, allowed)
    return pid


def test_what_was_captured_before_stop_can_still_be_read() -> None:
    with opened(ConnectorSource()) as source:
        before = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(before, 0)
        source.stop()
        after = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(after, 0)
        records = read_until_exit(source, {before, after}, patience_s=0.2)
    assert exit_of(records, before)
    assert not [one for one in records if isinstance(one, ProcessFork) and one.pid == after]


@pytest.mark.parametrize("namespace", ["--net", "--pid"])
def test_in_a_namespace_of_its_own_it_is_unavailable_and_says_why(namespace: str) -> None:
    program = (
        "from shield.collector.linux.process.connector import ConnectorSource\n"
        "try: ConnectorSource().open()\n"
        "except Exception as refusal: print(type(refusal).__name__, refusal)\n"
    )
    command = ["unshare", namespace, "--fork", sys.executable, "-c", program]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith(SourceUnavailable.__name__)
    assert "run Shield in the host's own pid, user and network namespaces" in printed


def test_closing_twice_and_unopened_is_no_error() -> None:
    source = ConnectorSource()
    source.close()
    source.open()
    source.close()
    source.close()
    assert source.read() == []
    assert source.fileno() is None
