"""The audit source against the running kernel: what it sees, and that it leaves the audit system as it was."""

import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from shield.collector.linux.process.audit import AuditSource
from shield.collector.linux.process.audit_control import AuditControl, Status
from shield.collector.linux.process.audit_rule import ABIS, exec_rule
from shield.collector.source import Count, SourceUnavailable
from shield.record import ProcessExec
from shield.text import encode

TRUE = "/bin/true"
MARK = f"audit-live-{os.getpid()}"
ABI = ABIS.get(os.uname().machine, ())

# Asks for the audit daemon's role, says who has it, and holds it until its standard input ends, reading what it is
# sent. It changes a setting only while the role is its own, and puts back what it found.
DAEMON = """
import os, select, sys
from shield.collector.linux.process.audit_control import NETLINK_AUDIT, AuditControl, take_role
from shield.collector.linux.netlink import open_socket
events, control = open_socket(NETLINK_AUDIT, buffer_bytes=1 << 25), AuditControl()
before = control.status()
take_role(events)
holder = control.status().pid
mine = holder == os.getpid()
if mine:
    control.change(enabled=1, backlog_limit=16384)
print(holder, flush=True)
while sys.stdin not in select.select([events, sys.stdin], [], [])[0]:
    events.recv(65536)
if mine:
    control.change(enabled=before.enabled, backlog_limit=before.backlog_limit)
    control.change(pid=0)
"""

# Opens the source, says so, and waits to be killed.
KILLED = """
import sys
from shield.collector.linux.process.audit import AuditSource
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
def helper(program: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate()


@contextmanager
def daemon(control: AuditControl) -> Iterator[subprocess.Popen[str]]:
    with helper(DAEMON) as process:
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
    assert record.process.exe_inode in (0, Path(sys.executable).stat().st_ino)
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
    assert "some arguments were lost" not in record.gaps


def test_while_it_holds_the_role_no_process_waits_for_it(control: AuditControl) -> None:
    with opened(AuditSource()):
        status = control.status()
        assert (status.pid, status.enabled, status.backlog_wait_time) == (os.getpid(), 1, 0)


@pytest.mark.parametrize("beside_a_daemon", [False, True])
def test_a_loss_is_counted_and_the_books_balance(control: AuditControl, beside_a_daemon: bool) -> None:
    number = 200
    with daemon(control) if beside_a_daemon else nullcontext(), opened(AuditSource(1, backlog=1)) as source:
        for index in range(number):
            run(str(index))
        records: list[ProcessExec] = []
        accounted, deadline = 0, time.monotonic() + 10
        while accounted < number and time.monotonic() < deadline:
            # The number of a later event shows what was lost before it.
            run("later")
            records += read_until(source, 1, patience_s=0.2)
            count = source.count()
            assert balanced(count, len(records))
            accounted = count.seen - sum(count.filtered.values())
        assert accounted >= number
    final = source.count()
    assert sum(final.dropped.values()) > 0
    assert set(final.dropped) <= set(source.remedies)
    assert balanced(final, len(records))


def test_beside_a_daemon_it_reads_copies_and_leaves_the_role_and_the_settings_alone(control: AuditControl) -> None:
    number = 100
    with daemon(control) as process:
        before = state(control)
        with opened(AuditSource()) as source:
            assert control.status().pid == process.pid
            for index in range(number):
                run(str(index))
            records = read_until(source, number)
            assert state(control)[:-1] == before[:-1]
        assert [record.process.args[2] for record in marked(records)] == [str(index) for index in range(number)]
        assert balanced(source.count(), len(records))
        assert not source.count().dropped
        assert state(control) == before


def test_where_the_daemon_ends_it_takes_the_role(control: AuditControl) -> None:
    with daemon(control) as process, opened(AuditSource()) as source:
        process.communicate()
        deadline = time.monotonic() + 10
        while control.status().pid != os.getpid() and time.monotonic() < deadline:
            source.read()
            time.sleep(0.1)
        run("after")
        (record,) = marked(read_until(source, 1))
        assert record.process.args[2] == "after"


def test_it_steps_aside_for_a_daemon_that_starts(control: AuditControl) -> None:
    with opened(AuditSource()) as source:
        with helper(DAEMON) as refused:
            assert refused.stdout
            assert int(refused.stdout.readline()) == os.getpid()  # the kernel asks the holder first
            source.read()
        with daemon(control) as process:
            run("beside")
            (record,) = marked(read_until(source, 1))
            assert control.status().pid == process.pid
        assert record.process.args[2] == "beside"


def test_a_killed_run_leaves_nothing_behind_after_the_next(control: AuditControl) -> None:
    with helper(KILLED) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == "open\n"
        killed.send_signal(signal.SIGKILL)
    assert control.rules()
    with opened(AuditSource()) as source:
        run("next")
        assert len(marked(read_until(source, 1))) == 1
    # The fixture compares rules and settings with those before the killed run.


def test_the_rules_of_a_living_run_are_left_alone(control: AuditControl) -> None:
    with helper(KILLED) as living:
        assert living.stdout
        assert living.stdout.readline() == "open\n"
        before = state(control)
        with opened(AuditSource()):
            assert state(control) == before
        assert state(control) == before
        living.send_signal(signal.SIGKILL)
    with opened(AuditSource()):
        pass


def test_an_administrators_rule_is_used_and_stays(control: AuditControl) -> None:
    rule = exec_rule(ABI[0], b"theirs")
    control.add(rule)
    try:
        with opened(AuditSource()) as source:
            assert sum(found.covers(ABI[0]) for found in control.rules()) == 1
            run("theirs")
            assert len(marked(read_until(source, 1))) == 1
        assert [found.key for found in control.rules()] == [b"theirs"]
    finally:
        control.delete(rule)


def test_never_task_is_refused_with_a_remedy(control: AuditControl) -> None:
    rule = struct.pack("=260I", 1, 0, 0, *[0xFFFF_FFFF] * 64, *[0] * 193)
    control.add(rule)
    try:
        with pytest.raises(SourceUnavailable, match="never,task"):
            AuditSource().open()
    finally:
        control.delete(rule)


def test_what_was_captured_before_stop_can_still_be_read() -> None:
    with opened(AuditSource()) as source:
        run("before")
        source.stop()
        run("after")
        records = read_until(source, 2, patience_s=0.3)
    assert [record.process.args[2] for record in marked(records)] == ["before"]


def test_closing_twice_and_unopened_is_no_error() -> None:
    source = AuditSource()
    source.close()
    source.open()
    source.close()
    source.close()
    assert source.read() == []
    assert source.fileno() is None
