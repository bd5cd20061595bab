"""The eBPF source against the real kernel."""

import ctypes
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from shield.collector.linux.process.exec import EbpfSource
from shield.collector.source import SourceUnavailable
from shield.normalizer.lineage import Lineage
from shield.normalizer.origin import Origin
from shield.normalizer.process import ProcessNormalizer
from shield.record import ProcessExec, ProcessExit, ProcessFork, Record
from shield.text import encode

TRUE = "/bin/true"


@pytest.fixture
def source() -> Iterator[EbpfSource]:
    opened = EbpfSource()
    opened.open()
    yield opened
    opened.close()


def spawn(*args: str | bytes, exe: str = TRUE, env: dict[str, str] | None = None) -> int:
    """Start `exe`, wait for its end, and return its pid."""
    pid = os.posix_spawn(exe, args, env or {})
    os.waitpid(pid, 0)
    return pid


def drained(source: EbpfSource) -> list[Record]:
    source.stop()
    records: list[Record] = []
    while batch := source.read():
        records += batch
    return records


def execs(records: list[Record], mark: str) -> list[ProcessExec]:
    return [record for record in records if isinstance(record, ProcessExec) and mark in record.process.cmdline]


def only(records: list[Record], mark: str) -> ProcessExec:
    (found,) = execs(records, mark)
    return found


@pytest.fixture
def mark() -> str:
    """A text that tells this test's processes from all others on the host."""
    return f"shield-test-{uuid.uuid4().hex}"


def balances(source: EbpfSource, records: list[Record]) -> bool:
    count = source.count()
    lost = sum(count.dropped.values()) + sum(count.filtered.values())
    return count.seen == len(records) + lost + count.pending


def test_ten_thousand_execs_in_a_row_are_all_seen_with_their_arguments(source: EbpfSource, mark: str) -> None:
    pids, records = [], []
    for number in range(10_000):
        pids.append(spawn("true", mark, str(number)))
        if number % 500 == 0:
            records += source.read()
    records += drained(source)
    found = execs(records, mark)
    assert [record.process.args for record in found] == [("true", mark, str(number)) for number in range(10_000)]
    assert [record.process.pid for record in found] == pids
    ids = {(record.process.pid, record.start_ticks) for record in found}
    assert ids <= {(one.pid, one.start_ticks) for one in records if isinstance(one, ProcessFork)}
    assert ids <= {(one.pid, one.start_ticks) for one in records if isinstance(one, ProcessExit)}
    assert not source.count().dropped
    assert balances(source, records)


def test_eight_spawners_at_once_lose_nothing(source: EbpfSource, mark: str) -> None:
    spawners = [
        threading.Thread(target=lambda n=n: [spawn("true", mark, f"{n}-{i}") for i in range(250)]) for n in range(8)
    ]
    for spawner in spawners:
        spawner.start()
    for spawner in spawners:
        spawner.join()
    records = drained(source)
    assert {one.process.args[2] for one in execs(records, mark)} == {f"{n}-{i}" for n in range(8) for i in range(250)}
    assert balances(source, records)


def test_a_ring_that_is_too_small_loses_and_says_exactly_how_many(mark: str) -> None:
    source = EbpfSource(ring_bytes=4096)
    source.open()
    try:
        for number in range(200):
            spawn("true", mark, str(number))
        records = drained(source)
        count = source.count()
        assert count.dropped["ring_full_exec"] >= 200 - len(execs(records, mark))
        assert count.pending == 0
        assert balances(source, records)
    finally:
        source.close()


def test_long_arguments_are_kept_to_the_last_byte(source: EbpfSource, mark: str) -> None:
    long = "x" * 100_000
    spawn("true", mark, long)
    found = only(drained(source), mark).process
    assert found.args == ("true", mark, long)
    assert not found.truncated


def test_arguments_beyond_the_limit_are_cut_and_their_true_length_is_told(mark: str) -> None:
    source = EbpfSource(args_limit=32_768)
    source.open()
    try:
        spawn("true", mark, "y" * 60_000)
        found = only(drained(source), mark).process
    finally:
        source.close()
    assert found.truncated
    assert found.args_length == len("true") + len(mark) + 60_000 + 3
    assert len(found.cmdline) == 32_768


def test_hostile_arguments_survive_byte_for_byte(source: EbpfSource, mark: str) -> None:
    hostile = [b"\xff\xfe", b"", b"two\nlines", b"\x1b[31mred", "\u202egnp.exe".encode(), bytes(range(1, 256))]
    spawn(b"\xfftrue", mark.encode(), *hostile)
    found = only(drained(source), mark).process
    assert [encode(arg) for arg in found.args] == [b"\xfftrue", mark.encode(), *hostile]


def test_a_process_is_told_with_its_place_user_and_parent(source: EbpfSource, mark: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(TRUE)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(tmp_path)
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.execve("./link", ["link", mark], {"LD_PRELOAD": "/nowhere.so", "SECRET": "kept out"})
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    record = only(drained(source), mark)
    found = record.process
    assert (found.pid, found.ppid) == (pid, os.getpid())
    assert (found.exe, found.invoked, found.cwd) == (os.path.realpath(TRUE), "./link", str(tmp_path))
    assert (record.user.id, record.user.effective_id, record.user.name) == (65534, 65534, "nobody")
    assert found.env == {"LD_PRELOAD": "/nowhere.so"}
    assert found.session == os.getsid(0)
    assert found.capabilities == 0


def test_the_start_is_the_one_that_proc_shows(source: EbpfSource) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"running\n")  # Popen returns a moment before the kernel tells of the exec
        assert child.stdout.readline() == b"running\n"
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        inode = Path(f"/proc/{child.pid}/ns/net").stat().st_ino
        child.kill()
    found = [one for one in drained(source) if isinstance(one, ProcessExec) and one.process.pid == child.pid]
    assert [one.start_ticks for one in found] == [int(fields[19])]
    assert found[0].process.namespaces
    assert found[0].process.namespaces.net == inode


def test_a_deleted_program_and_one_in_memory_are_told_apart(source: EbpfSource, mark: str, tmp_path: Path) -> None:
    image = Path(TRUE).read_bytes()
    gone = tmp_path / "gone"
    gone.write_bytes(image)
    gone.chmod(0o755)
    descriptor = os.open(gone, os.O_RDONLY)
    gone.unlink()
    spawn("deleted", mark, exe=f"/proc/self/fd/{descriptor}")
    memory = os.memfd_create("payload", 0)
    os.write(memory, image)
    spawn("memory", mark, exe=f"/proc/self/fd/{memory}")
    os.close(descriptor)
    os.close(memory)
    deleted, in_memory = (record.process for record in execs(drained(source), mark))
    assert (deleted.exe_deleted, deleted.exe_memfd) == (True, False)
    assert (in_memory.exe_deleted, in_memory.exe_memfd) == (False, True)
    assert in_memory.exe == "/memfd:payload"


def test_a_script_is_its_interpreter_and_names_itself(source: EbpfSource, mark: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    pid = spawn("script", mark, exe=str(script))
    records = drained(source)
    found = only(records, mark).process
    assert found.exe == os.path.realpath("/bin/sh")
    assert found.invoked == str(script)
    (ended,) = [one for one in records if isinstance(one, ProcessExit) and one.pid == pid]
    assert ended.status is not None
    assert os.waitstatus_to_exitcode(ended.status) == 3
    assert ended.lifetime_ns
    assert ended.execed


def test_a_killed_process_tells_its_signal(source: EbpfSource) -> None:
    with subprocess.Popen(["/bin/sleep", "30"]) as child:
        child.send_signal(signal.SIGKILL)
    (ended,) = [one for one in drained(source) if isinstance(one, ProcessExit) and one.pid == child.pid]
    assert ended.status == signal.SIGKILL


def test_a_path_deeper_than_can_be_followed_is_a_gap(source: EbpfSource, mark: str, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 60)
    deep.mkdir(parents=True)
    program = deep / "true"
    program.write_bytes(Path(TRUE).read_bytes())
    program.chmod(0o755)
    spawn("true", mark, exe=str(program))
    record = only(drained(source), mark)
    assert "a path deeper than 48 folders was cut" in record.gaps
    assert record.process.exe.endswith("/d/true")


def test_a_thread_that_execs_takes_over_the_pid(source: EbpfSource, mark: str) -> None:
    code = """
import os, sys, threading, time
threading.Thread(target=lambda: os.execv("/bin/true", ["true", sys.argv[1]])).start()
time.sleep(9)
"""
    with subprocess.Popen([sys.executable, "-c", code, mark]) as child:
        child.wait(10)
    last = execs(drained(source), mark)[-1].process
    assert (last.pid, last.args) == (child.pid, ("true", mark))


def test_nothing_is_left_in_the_kernel_after_closing() -> None:
    before = programs()
    source = EbpfSource()
    source.open()
    ours = programs() - before
    assert len(ours) == 3
    source.close()
    source.close()
    deadline = time.monotonic() + 10  # the kernel frees programs some time after the last use
    while programs() & ours and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not programs() & ours


def test_only_root_may_open_it() -> None:
    code = (
        "import os\nfrom shield.collector.linux.process.exec import EbpfSource\nos.setuid(65534)\nEbpfSource().open()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "SourceUnavailable: ebpf: only root may load BPF programs; run Shield as root" in done.stderr


def test_without_the_compiled_program_it_says_how_to_make_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shield.collector.linux.process.exec.object_path", lambda: tmp_path / "none.o")
    with pytest.raises(SourceUnavailable, match="make setup"):
        EbpfSource().open()


def test_a_process_of_many_threads_ends_once_and_as_what_it_ran(source: EbpfSource) -> None:
    code = """
import os, threading, time
for _ in range(8):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
os._exit(3)
"""
    pids = [spawn("python", "-S", "-E", "-c", code, exe=sys.executable) for _ in range(40)]
    records = drained(source)
    started = {(one.process.pid, one.start_ticks) for one in records if isinstance(one, ProcessExec)}
    ends = [one for one in records if isinstance(one, ProcessExit) and (one.pid, one.start_ticks) in started]
    ends = [one for one in ends if one.pid in pids]
    assert sorted(one.pid for one in ends) == sorted(pids)
    assert {(one.status, one.execed) for one in ends} == {(3 << 8, True)}


def test_a_file_that_calls_itself_memfd_is_none(source: EbpfSource, mark: str, tmp_path: Path) -> None:
    program = tmp_path / "memfd:payload"
    program.write_bytes(Path(TRUE).read_bytes())
    program.chmod(0o755)
    spawn("true", mark, exe=str(program))
    found = only(drained(source), mark).process
    assert (found.exe, found.exe_memfd, found.exe_deleted) == (str(program), False, False)


def test_paths_of_ten_kilobytes_are_whole_and_hide_no_terminal(source: EbpfSource, mark: str, tmp_path: Path) -> None:
    names = [str(number).rjust(250, "d") for number in range(30)]
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(tmp_path)
            for name in names:
                Path(name).mkdir()
                os.chdir(name)
            Path("true").write_bytes(Path(TRUE).read_bytes())
            Path("true").chmod(0o755)
            os.execv("./true", ["true", mark])
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    os.close(terminal)
    record = only(drained(source), mark)
    found = record.process
    assert (found.cwd, found.exe) == ("/".join([str(tmp_path), *names]), "/".join([str(tmp_path), *names, "true"]))
    assert found.tty.startswith("pts")
    assert found.session == pid
    assert record.gaps == ()
    shutil.rmtree(tmp_path / names[0])


def test_places_are_told_as_the_process_sees_them(source: EbpfSource, mark: str, tmp_path: Path) -> None:
    for name in ("real", "bound"):
        (tmp_path / name).mkdir()
    program = tmp_path / "real/true"
    program.write_bytes(Path(TRUE).read_bytes())
    program.chmod(0o755)
    bind = 'mount --bind real bound && cd bound && exec "$PWD/true" "$0"'
    subprocess.run(["unshare", "--mount", "sh", "-c", bind, f"{mark}-bound"], cwd=tmp_path, check=True)
    subprocess.run(["unshare", "--root", "/usr", "/bin/true", f"{mark}-root"], check=True)
    records = drained(source)
    bound = execs(records, f"{mark}-bound")[-1].process
    assert (bound.exe, bound.cwd) == (str(tmp_path / "bound/true"), str(tmp_path / "bound"))
    below = execs(records, f"{mark}-root")[-1].process
    assert (below.exe, below.cwd) == ("/bin/true", "/")


def test_in_a_pid_namespace_both_pids_are_told(source: EbpfSource, mark: str) -> None:
    subprocess.run(["unshare", "--pid", "--fork", TRUE, mark], check=True)
    *_, last = execs(drained(source), mark)
    assert last.process.ns_pid == 1
    assert last.process.pid > 1


def test_what_has_ended_leaves_the_lineage(source: EbpfSource) -> None:
    lineage = Lineage("test")
    normalizer = ProcessNormalizer(Origin("host", "linux", lambda _: ""), lineage)
    records: list[Record] = []
    for _ in range(6):
        for _ in range(500):
            spawn("true")
        records += source.read()
    for record in records + drained(source):
        if isinstance(record, ProcessFork | ProcessExec | ProcessExit):
            normalizer.event(record)
    assert len(lineage) < 300


def programs() -> set[int]:
    """The ids of all BPF programs in the kernel that are called as ours are."""
    libbpf = ctypes.CDLL("libbpf.so.1")
    found: set[int] = set()
    current = ctypes.c_uint32(0)
    while libbpf.bpf_prog_get_next_id(current, ctypes.byref(current)) == 0:
        descriptor = libbpf.bpf_prog_get_fd_by_id(current)
        if descriptor < 0:
            continue
        info, size = ctypes.create_string_buffer(216), ctypes.c_uint32(216)
        libbpf.bpf_obj_get_info_by_fd(descriptor, info, ctypes.byref(size))
        os.close(descriptor)
        if info.raw[64:80].rstrip(b"\0") in (b"on_exec", b"on_fork", b"on_exit"):
            found.add(current.value)
    return found
