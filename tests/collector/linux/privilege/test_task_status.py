"""A task's credentials, as /proc shows them."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.privilege.task_status import Credentials, parse_status, read_task

STATUS = b"""Name:\tcat\\nUid:\t0\t0\t0\t0
Umask:\t0022
Tgid:\t12
Pid:\t13
PPid:\t7
TracerPid:\t3
Uid:\t1000\t0\t0\t0
Gid:\t100\t5\t5\t5
CapPrm:\t000001ffffffffff
CapEff:\t0000000000000001
"""


def test_ids_capabilities_and_tracer_are_read_and_a_name_forges_none() -> None:
    task = parse_status(STATUS)
    assert task is not None
    assert task.name.startswith("cat")
    assert (task.pid, task.parent, task.tracer) == (12, 7, 3)
    assert task.credentials == Credentials(1000, 0, 0, 100, 5, (1 << 41) - 1, 1)


def test_a_file_cut_short_is_nothing() -> None:
    assert parse_status(STATUS[:120]) is None
    assert parse_status(b"") is None


@given(st.binary(max_size=300))
def test_garbage_never_raises(garbage: bytes) -> None:
    parse_status(STATUS + garbage)
    parse_status(garbage)


def test_this_process_is_read_from_the_kernel() -> None:
    task = read_task(Path("/proc"), os.getpid(), os.getpid())
    assert task is not None
    assert (task.pid, task.parent, task.credentials.euid) == (os.getpid(), os.getppid(), os.geteuid())
    assert task.ticks > 0
    assert read_task(Path("/proc"), os.getpid(), 1) is None
