"""The audit source against the running kernel: what it sees, and that it leaves the audit system as it was."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shield.collector.linux.audit import AuditSource
from shield.collector.linux.audit_control import AuditControl, Status
from shield.collector.linux.audit_rule import ABIS, exec_rule
from shield.collector.source import Count, SourceUnavailable
from shield.record import ProcessExec
from shield.text import encode

TRUE = "/bin/true"
MARK = f"audit-live-{os.getpid()}"
ABI = ABIS.get(os.uname().machine, ())

# Holds the audit daemon's role until its standard input ends, reading what it is sent.
DAEMON = """
import select, sys
from shield.collector.linux.audit_control import NETLINK_AUDIT, AuditControl, take_role
from shield.collector.linux.netlink import open_socket
events, control = open_socket(NETLINK_AUDIT, buffer_bytes=1 << 25), AuditControl()
control.change(enabled=1, backlog_limit=16384)
take_role(events)
print(control.status().pid, flush=True)
while sys.stdin not in select.select([events, sys.stdin], [], [])[0]:
    events.recv(65536)
control.change(enabled=0, backlog_limit=int(sys.argv[1]))
control.change(pid=0)
"""

# Opens the source, says so, and waits to be killed.
KILLED = """
import sys
from shield.collector.linux.audit import AuditSource
source = AuditSource()
source.open()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def control() -> Iterator[AuditControl]:
    """Commands, and the promise every test here is under: afterwards the audit system is as it was before."""
    commands = AuditControl()
    before = state(commands)
    if before[0] != 0:
        pytest.skip("an audit daemon is running on this host")
    yield commands
    after = state(commands)
    commands.close()
    assert after == before


def state(control: AuditControl) -> tuple[object, ...]:
    status: Status = control.status()
    rules = sorted(rule.raw for rule in control.rules())
    return status.pid, status.enabled, status.backlog_limit, status.backlog_wait_time, status.failure, rules


@contextmanager
def opened(source: AuditSource) -> Iterator[AuditSource]:
    source.open()
    try:
        yield source
    finally:
        source.close()


@contextmanager
def helper(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate()


@contextmanager
def daemon(control: AuditControl) -> Iterator[subprocess.Popen[str]]:
    with helper(DAEMON, str(control.status().backlog_limit)) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        yield process


def run(*argv: bytes | str) -> None:
    os.waitpid(os.posix_spawn(TRUE, ["true", MARK, *argv], {}), 0)


def read_until(source: AuditSource, wanted: int, patience_s: float = 10) -> list[ProcessExec]:
    """Read until `wanted` of the marked processes are there, or nothing comes any more."""
    descriptor = source.fileno()
    assert descriptor is not None
    records: list[ProcessExec] = []
    deadline = time.monotonic() + patience_s
    while len(marked(records)) < wanted and time.monotonic() < deadline:
        select.select([descriptor], [], [], 0.1)
        records += [record for record in source.read() if isinstance(record, ProcessExec)]
    return records


def marked(records: list[ProcessExec]) -> list[ProcessExec]:
    return [record for record in records if record.process.args[1:2] == (MARK,)]


def balanced(count: Count, read: int) -> bool:
    return count.seen == read + sum(count.filtered.values()) + sum(count.dropped.values()) + count.pending


def test_every_exec_is_seen_with_its_arguments_and_the_books_balance() -> None:
    number = 300
    with opened(AuditSource()) as source:
        for index in range(number):
            run(str(index))
        records = read_until(source, number)
        assert [record.process.args[2] for record in marked(records)] == [str(index) for index in range(number)]
        assert all(record.process.ppid == os.getpid() for record in marked(records))
        assert all(record.user.id == 0 for record in marked(records))
        assert balanced(source.count(), len(records))
        assert not source.count().dropped
    assert balanced(source.count(), len(records))


def test_a_living_process_is_described_from_proc_as_well() -> None:
    with opened(AuditSource()) as source:
        process = subprocess.Popen([sys.executable, "-c", "input()", MARK], stdin=subprocess.PIPE, env={"LD_X": "1"})
        records = read_until(source, 1, patience_s=1)
        process.communicate(b"\n")
        (record,) = [one for one in records if one.process.pid == process.pid]
    assert record.start_ticks > 0
    assert record.parent_start_ticks > 0
    assert record.process.namespaces is not None
    assert record.process.env == {"LD_X": "1"}
    assert record.process.exe == os.path.realpath(sys.executable)
    assert record.process.exe_inode in (0, os.stat(sys.executable).st_ino)
    assert record.gaps == ()


def test_hostile_bytes_survive() -> None:
    hostile = [b"\xff\xfe", b'a"b', b" a0=x success=no", b"\x1b[31m\n", "\u202egnp.exe".encode(), b"", b"41", b"(null)"]
    with opened(AuditSource()) as source:
        run(*hostile)
        (record,) = marked(read_until(source, 1))
    assert [encode(argument) for argument in record.process.args[2:]] == hostile
    assert not record.process.truncated


@pytest.mark.parametrize("argument", [b"x" * 100_000, b"\xe9" * 100_000], ids=["plain", "encoded"])
def test_an_argument_of_100_kb_survives(argument: bytes) -> None:
    with opened(AuditSource()) as source:
        run(b"before", argument, b"after")
        (record,) = marked(read_until(source, 1))
    assert [encode(one) for one in record.process.args[2:]] == [b"before", argument, b"after"]
    assert record.process.args_length == sum(len(encode(one)) + 1 for one in record.process.args)
    assert not record.process.truncated


def test_of_an_argument_list_beyond_the_limit_the_true_length_is_told() -> None:
    many = [b"y" * 100] * 5000
    with opened(AuditSource()) as source:
        run(*many)
        (record,) = marked(read_until(source, 1))
    assert record.process.truncated
    assert record.process.args_length == len(b"true\0") + len(MARK) + 1 + 101 * len(many)
    assert 131_000 < len(record.process.cmdline) <= 131_072
    assert record.gaps == ()


def test_while_it_holds_the_role_no_process_waits_for_it(control: AuditControl) -> None:
    with opened(AuditSource()):
        status = control.status()
        assert (status.pid, status.enabled, status.backlog_wait_time) == (os.getpid(), 1, 0)


def test_a_loss_is_counted_and_the_books_balance() -> None:
    number = 400
    with opened(AuditSource(buffer_bytes=1)) as source, daemonless_burst(number):
        records = read_until(source, number, patience_s=4)
        count = source.count()
    dropped = sum(source.count().dropped.values())
    assert dropped > 0
    assert set(source.count().dropped) <= set(source.remedies)
    assert len(marked(records)) + dropped + source.count().pending >= number
    assert balanced(count, len(records))
    assert balanced(source.count(), len(records))
