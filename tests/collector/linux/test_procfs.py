"""Processes as /proc shows them, with real ones."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import TICK_NS, BootClock
from shield.collector.linux.procfs import ProcessGone, ProcfsReader
from shield.text import encode

# Waits for its standard input to end. A copy of it can be given any name.
WAIT = shutil.which("cat") or "/bin/cat"


@pytest.fixture
def procfs() -> ProcfsReader:
    return ProcfsReader(BootClock(), UserNames())


@contextmanager
def waiting(*argv: bytes | str, program: bytes | str = WAIT, **options: object) -> Iterator[int]:
    process = subprocess.Popen(argv, executable=program, stdin=subprocess.PIPE, **options)  # type: ignore[call-overload]
    try:
        yield process.pid
    finally:
        process.communicate()


def test_this_process_is_described_as_it_is(procfs: ProcfsReader) -> None:
    shown = procfs.read(os.getpid())
    process, user = shown.process, shown.user
    assert (process.pid, process.ppid, process.session) == (os.getpid(), os.getppid(), os.getsid(0))
    assert process.exe == os.path.realpath(sys.executable)
    assert Path(process.cwd) == Path.cwd()
    assert (user.id, user.effective_id, user.group_id) == (os.getuid(), os.geteuid(), os.getgid())
    assert process.namespaces is not None
    assert process.namespaces.mnt == Path("/proc/self/ns/mnt").stat().st_ino
    assert process.entity_id == f"{os.getpid()}-{shown.start_ticks}"
    assert shown.start_ticks == procfs.start_ticks(os.getpid())


def test_a_start_is_given_in_unix_time(procfs: ProcfsReader) -> None:
    before = time.time_ns()
    with waiting("cat", "-") as pid:
        start_ns = procfs.read(pid).process.start_ns
        after = time.time_ns()
    assert before - 2 * TICK_NS <= start_ns <= after + 2 * TICK_NS


def test_a_process_forked_later_has_a_later_or_equal_start(procfs: ProcfsReader) -> None:
    with waiting("cat", "-") as first, waiting("cat", "-") as second:
        assert procfs.start_ticks(os.getpid()) <= procfs.start_ticks(first) <= procfs.start_ticks(second)


def test_hostile_arguments_survive(procfs: ProcfsReader) -> None:
    hostile = [b"\xff\xfe", b"a\nb", b"\x1b[31m", "\u202eexe".encode(), b"", b"-"]
    with waiting(b"cat", b"--", *hostile[:-1], b"-", stderr=subprocess.DEVNULL) as pid:
        shown = procfs.read(pid).process
    # cat reads its standard input last, so it is still there to be looked at.
    assert [encode(argument) for argument in shown.args] == [b"cat", b"--", *hostile]
    assert shown.args_length == sum(len(argument) + 1 for argument in [b"cat", b"--", *hostile])


def test_arguments_beyond_the_limit_are_cut_and_their_true_length_told(procfs: ProcfsReader) -> None:
    with waiting("cat", "-", "x" * 5000, stderr=subprocess.DEVNULL) as pid:
        shown = procfs.read(pid, args_limit=100).process
    assert shown.truncated
    assert shown.args_length == len("cat") + 1 + len("-") + 1 + 5001
    assert len("\0".join(shown.args)) == 100


@pytest.mark.parametrize(
    "name", [b") R 1 1 1 0 -1", b"a (b) c", b"x\nUid:\t7", b"y\rUid:\t7 7", b"\xff\xfe\xfd", b"((", b"))"]
)
def test_a_hostile_name_forges_nothing(procfs: ProcfsReader, tmp_path: Path, name: bytes) -> None:
    program = os.fsencode(tmp_path) + b"/" + name
    shutil.copy(WAIT, os.fsdecode(program))
    with waiting(b"cat", b"-", program=program) as pid:
        shown = procfs.read(pid)
    assert encode(shown.process.name) == name[:15]
    assert encode(shown.process.exe) == program
    assert (shown.process.ppid, shown.user.id) == (os.getpid(), os.getuid())


def test_a_program_removed_after_its_start_is_deleted(procfs: ProcfsReader, tmp_path: Path) -> None:
    program = tmp_path / "cat"
    shutil.copy(WAIT, program)
    with waiting("cat", "-", program=str(program)) as pid:
        program.unlink()
        shown = procfs.read(pid).process
    assert (shown.exe, shown.exe_deleted, shown.exe_memfd) == (str(program), True, False)


def test_a_program_in_memory_is_told_from_a_deleted_one(procfs: ProcfsReader) -> None:
    memory = os.memfd_create("hidden")
    os.write(memory, Path(WAIT).read_bytes())
    with waiting("cat", "-", program=f"/proc/self/fd/{memory}", pass_fds=(memory,)) as pid:
        shown = procfs.read(pid).process
    os.close(memory)
    assert (shown.exe, shown.exe_deleted, shown.exe_memfd) == ("/memfd:hidden", False, True)


def test_of_the_environment_only_what_matters_is_kept(procfs: ProcfsReader) -> None:
    environment = {"LD_LIBRARY_PATH": "/x", "PASSWORD": "secret", "HISTFILE": "/dev/null"}
    with waiting("cat", "-", env=environment) as pid:
        assert procfs.read(pid).process.env == {"LD_LIBRARY_PATH": "/x", "HISTFILE": "/dev/null"}


def test_a_process_that_ended_is_gone(procfs: ProcfsReader) -> None:
    with waiting("cat", "-") as pid:
        pass
    with pytest.raises(ProcessGone):
        procfs.read(pid)
    with pytest.raises(ProcessGone):
        procfs.start_ticks(pid)


def test_a_process_that_was_not_waited_for_can_be_read(procfs: ProcfsReader) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    shown = procfs.read(process.pid).process
    process.wait()
    assert (shown.name, shown.exe, shown.args) == ("true", "", ())


def test_the_snapshot_holds_this_process_and_its_child(procfs: ProcfsReader) -> None:
    with waiting("cat", "-") as pid:
        found = {shown.process.pid: shown for shown in procfs.snapshot()}
    assert {os.getpid(), pid} <= set(found)
    assert found[pid].process.ppid == os.getpid()


def test_a_kernel_thread_has_a_name_and_nothing_else(procfs: ProcfsReader) -> None:
    threads = [shown.process for shown in procfs.snapshot() if shown.process.ppid == 2]
    if not threads:
        pytest.skip("no kernel threads can be seen in this pid namespace")
    assert all(thread.name and thread.args == () for thread in threads)


def process_folder(root: Path, stat: bytes, status: bytes = b"", **files: bytes) -> ProcfsReader:
    folder = root / "7"
    folder.mkdir(exist_ok=True)
    for name, content in {"stat": stat, "status": status, **files}.items():
        (folder / name).write_bytes(content)
    return ProcfsReader(BootClock(), UserNames(), root)


STAT = b"7 (%s) S 1 7 9 34817 7 0 0 0 0 0 0 0 0 0 20 0 1 0 4321 0"


@given(st.binary(min_size=1, max_size=15).map(lambda raw: raw.replace(b"\0", b"")))
def test_any_name_can_stand_in_the_status_line(tmp_path_factory: pytest.TempPathFactory, name: bytes) -> None:
    shown = process_folder(tmp_path_factory.mktemp("proc"), STAT % name).read(7)
    assert encode(shown.process.name) == name
    assert (shown.process.ppid, shown.process.session, shown.start_ticks) == (1, 9, 4321)


@pytest.mark.parametrize(
    ("device", "tty"),
    [
        (0x8800, "pts0"),
        (0x88FF, "pts255"),
        (0x108801, "pts257"),
        (0x8901, "pts257"),
        (0x401, "tty1"),
        (0x440, "ttyS0"),
        (0, ""),
    ],
)
def test_terminals_are_named_as_users_know_them(tmp_path: Path, device: int, tty: str) -> None:
    stat = STAT.replace(b"34817", b"%d" % device) % b"x"
    assert process_folder(tmp_path, stat).read(7).process.tty == tty


def test_the_login_user_is_none_for_a_service(tmp_path: Path) -> None:
    reader = process_folder(tmp_path, STAT % b"x", loginuid=b"4294967295", sessionid=b"4294967295")
    assert (reader.read(7).user.audit_id, reader.read(7).user.audit_session) == (None, None)
    reader = process_folder(tmp_path, STAT % b"x", loginuid=b"0", sessionid=b"3")
    assert (reader.read(7).user.audit_id, reader.read(7).user.audit_session) == (0, 3)


def test_a_container_is_found_in_either_version_of_control_groups(tmp_path: Path) -> None:
    container = "4f" * 32
    for cgroup in (f"0::/docker/{container}\n", f"12:cpu:/\n5:pids:/docker/{container}\n0::/\n"):
        shown = process_folder(tmp_path, STAT % b"x", cgroup=cgroup.encode()).read(7)
        assert shown.container is not None
        assert shown.container.id == container
