"""Changes of the host's kernel state, on the running kernel; mounts only in a mount namespace of a child's own."""

import ctypes
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.kernel.clock_set import ClockSet
from shield.collector.linux.kernel.hidden import HiddenProcesses
from shield.collector.linux.kernel.state import KernelOptions, KernelSource
from shield.collector.linux.procfs import ProcfsReader
from shield.record import Observation

QUICK = KernelOptions(poll_seconds=0.1, sweep_seconds=0.3)


class Reading:
    """An open source, and how many records it gave."""

    def __init__(self, options: KernelOptions) -> None:
        self.source = KernelSource(options)
        self.told = 0
        self.source.open()

    def until(self, wanted: Callable[[Observation], bool], patience_s: float = 8) -> list[Observation]:
        """Wait for the descriptor and read until a wanted observation is there; return all that were wanted."""
        found: list[Observation] = []
        deadline = time.monotonic() + patience_s
        while not found and time.monotonic() < deadline:
            descriptor = self.source.fileno()
            assert descriptor is not None
            select.select([descriptor], [], [], 0.2)
            records = self.source.read()
            self.told += len(records)
            found += [one for one in records if isinstance(one, Observation) and wanted(one)]
        return found


@contextmanager
def reading(options: KernelOptions = QUICK) -> Iterator[Reading]:
    opened = Reading(options)
    try:
        yield opened
    finally:
        opened.source.close()
    count = opened.source.count()
    known = opened.told + sum(count.filtered.values()) + sum(count.dropped.values()) + count.pending
    assert count.seen == known
    assert not count.dropped


class Room:
    """A shell in a mount namespace of its own."""

    def __init__(self) -> None:
        command = ["unshare", "--mount", "--propagation", "private", "sh"]
        self.shell = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.run("true")
        self.options = KernelOptions(sweep_seconds=60, mountinfo=f"/proc/{self.shell.pid}/mountinfo")

    def run(self, command: str) -> None:
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(f"{command}; echo $?\n")
        self.shell.stdin.flush()
        assert self.shell.stdout.readline() == "0\n"


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.shell.communicate()


def about(kind: str, path: str | Path = "") -> Callable[[Observation], bool]:
    def wanted(one: Observation) -> bool:
        return one.system is not None and one.system.kind == kind and (not path or one.system.path == str(path))

    return wanted


def test_a_file_system_mounted_over_the_system_is_told_and_so_is_its_end(room: Room) -> None:
    with reading(room.options) as opened:
        room.run("mount -t tmpfs -o size=1m,noexec nothing /usr/games")
        (made,) = opened.until(about("mount"))
        room.run("umount /usr/games")
        (undone,) = opened.until(about("unmount"))
    assert made.category == "system_change"
    assert made.system is not None
    assert (made.system.path, made.system.type, made.system.covers) == ("/usr/games", "tmpfs", "/usr")
    assert "noexec" in made.system.options
    assert undone.system is not None
    assert undone.system.path == "/usr/games"


def test_a_file_bound_over_another_is_told_wherever_it_is(room: Room, tmp_path: Path) -> None:
    hidden, shown = tmp_path / "hid den\n", tmp_path / "shown"
    hidden.touch()
    shown.touch()
    with reading(room.options) as opened:
        room.run(f"mount --bind {shown} '{tmp_path}'/hid*")
        (told,) = opened.until(about("mount"))
    assert told.system is not None
    assert told.system.path == str(hidden)
    assert told.system.source.endswith(str(shown))


def test_a_mount_elsewhere_is_counted_only(room: Room, tmp_path: Path) -> None:
    with reading(room.options) as opened:
        room.run(f"mount -t tmpfs nothing {tmp_path}")
        assert opened.until(about("mount"), patience_s=0.8) == []
        assert opened.source.count().filtered == {"ordinary_place": 1}


def test_what_protected_a_mount_and_is_gone_is_told(room: Room, tmp_path: Path) -> None:
    room.run(f"mount -t tmpfs -o ro,noexec,nosuid nothing {tmp_path}")
    with reading(room.options) as opened:
        room.run(f"mount -o remount,rw,noexec,nosuid {tmp_path}")
        (told,) = opened.until(about("remount"))
        room.run(f"mount -o remount,ro,noexec,nosuid {tmp_path}")
        assert opened.until(about("remount"), patience_s=0.8) == []
    assert told.system is not None
    assert told.system.path == str(tmp_path)
    assert "ro" in told.system.old_options.split(",")
    assert "rw" in told.system.options.split(",")


TRIVIAL_PROGRAM = """
import ctypes, sys
library = ctypes.CDLL("libbpf.so.1", use_errno=True)
code = bytes.fromhex("b700000000000000" "9500000000000000")  # r0 = 0; exit
descriptor = library.bpf_prog_load(1, b"harmless", b"GPL", code, ctypes.c_size_t(2), None)
print(descriptor > 0, flush=True)
sys.stdin.readline()
"""


def test_a_bpf_program_of_another_process_is_told_with_its_loader() -> None:
    with reading() as opened:
        loader = subprocess.Popen(
            [sys.executable, "-c", TRIVIAL_PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert loader.stdout is not None
        assert loader.stdout.readline() == "True\n"
        (told,) = opened.until(lambda one: one.module is not None and one.module.name == "harmless")
        loader.communicate()
    assert told.category == "module_load"
    assert told.module is not None
    assert (told.module.kind, told.module.type, told.module.size) == ("bpf_program", "socket_filter", 16)
    assert told.actor is not None
    assert told.actor.pid == loader.pid
    assert told.actor.start_ticks > 0
    assert told.user is not None
    assert told.user.name == "root"
    assert abs(told.ts_ns - time.time_ns()) < 60_000_000_000


def test_a_bpf_program_of_ones_own_is_counted_only() -> None:
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    code = bytes.fromhex("b7000000000000009500000000000000")
    with reading() as opened:
        descriptor = library.bpf_prog_load(1, b"own", b"GPL", code, ctypes.c_size_t(2), None)
        assert descriptor > 0
        found = opened.until(lambda one: one.module is not None and one.module.name == "own", patience_s=0.6)
        os.close(descriptor)
        assert opened.source.count().filtered["own_program"] >= 1
    assert found == []


def test_a_program_that_was_deleted_while_it_runs_is_told_once(tmp_path: Path) -> None:
    program = tmp_path / "worker"
    shutil.copy("/bin/cat", program)
    with reading() as opened:
        process = subprocess.Popen([program], stdin=subprocess.PIPE)
        program.unlink()
        (told,) = opened.until(about("deleted_program", program))
        again = opened.until(about("deleted_program", program), patience_s=1)
        process.communicate()
    assert again == []
    assert told.actor is not None
    assert told.actor.pid == process.pid
    assert told.actor.process is not None
    assert told.actor.process.exe_deleted


def test_a_program_that_an_update_replaced_is_ordinary(tmp_path: Path) -> None:
    program = tmp_path / "worker"
    shutil.copy("/bin/cat", program)
    with reading() as opened:
        process = subprocess.Popen([program], stdin=subprocess.PIPE)
        program.unlink()
        shutil.copy("/bin/cat", program)
        assert opened.until(about("deleted_program", program), patience_s=1) == []
        process.communicate()
        assert opened.source.count().filtered["replaced_program"] >= 1


def test_programs_in_memory_are_told_by_the_kind_of_memory() -> None:
    shared = Path("/dev/shm") / f"shield-test-{os.getpid()}"
    shutil.copy("/bin/cat", shared)
    memory = os.memfd_create("shield-test")
    with open(memory, "wb", closefd=False) as file:
        file.write(Path("/bin/cat").read_bytes())
    command = f"import os; os.execve({memory}, ['cat'], {{}})"
    try:
        with reading() as opened:
            in_memfd = subprocess.Popen([sys.executable, "-c", command], stdin=subprocess.PIPE, pass_fds=[memory])
            in_shared = subprocess.Popen([shared], stdin=subprocess.PIPE)
            (first,) = opened.until(about("memory_program", "/memfd:shield-test"))
        with reading() as opened:
            (second,) = opened.until(about("memory_program", shared))
        in_memfd.communicate()
        in_shared.communicate()
    finally:
        os.close(memory)
        shared.unlink()
    for told, kind, pid in ((first, "memfd", in_memfd.pid), (second, "shm", in_shared.pid)):
        assert told.system is not None
        assert told.system.type == kind
        assert told.actor is not None
        assert told.actor.pid == pid


HIDING_LIBRARY = """
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
struct dirent *readdir(DIR *folder) {
    struct dirent *(*real)(DIR *) = dlsym(RTLD_NEXT, "readdir"), *entry;
    while ((entry = real(folder)) && !strcmp(entry->d_name, getenv("HIDE_PID")));
    return entry;
}
struct dirent64 *readdir64(DIR *folder) {
    struct dirent64 *(*real)(DIR *) = dlsym(RTLD_NEXT, "readdir64"), *entry;
    while ((entry = real(folder)) && !strcmp(entry->d_name, getenv("HIDE_PID")));
    return entry;
}
"""
LOOKS = """
import sys
from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.kernel.hidden import HiddenProcesses
from shield.collector.linux.procfs import ProcfsReader
reader = ProcfsReader(BootClock(), UserNames())
for one in HiddenProcesses(reader, numbers_most=1 << 16).look(reader.pids()):
    print(one.actor.pid, one.system.kind, one.actor.process.name)
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_process_hidden_by_a_preloaded_library_is_found(tmp_path: Path) -> None:
    source, library = tmp_path / "hide.c", tmp_path / "hide.so"
    source.write_text(HIDING_LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    hidden = subprocess.Popen(["sleep", "60"])
    try:
        env = {**os.environ, "LD_PRELOAD": str(library), "HIDE_PID": str(hidden.pid)}
        looked = subprocess.run([sys.executable, "-c", LOOKS], env=env, capture_output=True, text=True, check=True)
    finally:
        hidden.kill()
        hidden.wait()
    assert looked.stdout == f"{hidden.pid} hidden_process sleep\n"


def test_a_process_hidden_by_a_mount_is_found(room: Room) -> None:
    hidden = subprocess.Popen(["sleep", "60"])
    try:
        room.run(f"mount -t tmpfs nothing /proc/{hidden.pid}")
        command = ["nsenter", f"--mount=/proc/{room.shell.pid}/ns/mnt", sys.executable, "-c"]
        looks = LOOKS.replace("one.actor.process.name", "one.actor.process")
        looked = subprocess.run([*command, looks], capture_output=True, text=True, check=True)
    finally:
        hidden.kill()
        hidden.wait()
    assert looked.stdout == f"{hidden.pid} hidden_process None\n"


def test_on_an_honest_host_nothing_is_hidden_whatever_starts_and_ends() -> None:
    reader = ProcfsReader(BootClock(), UserNames())
    hidden = HiddenProcesses(reader)
    for _ in range(5):
        pids = [os.posix_spawn("/bin/true", ["true"], {}) for _ in range(50)]
        assert list(hidden.look(reader.pids())) == []
        for pid in pids:
            os.waitpid(pid, 0)


def test_an_unset_clock_is_no_change_and_its_descriptor_stays_quiet() -> None:
    clock = ClockSet()
    descriptors = clock.open()
    assert select.select(list(descriptors), [], [], 0) == ([], [], [])
    assert list(clock.look()) == []
    clock.close()
    clock.close()


def test_without_privilege_it_works_with_the_rest_and_says_what_it_lacks() -> None:
    program = (
        "from shield.collector.linux.kernel.state import KernelSource\n"
        "source = KernelSource(); source.open(); source.read(); source.close()\n"
        "print(*source.blind_spots, sep='\\n')\n"
    )
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "BPF programs are not watched" in printed


def test_closing_twice_and_unopened_is_no_error() -> None:
    source = KernelSource()
    source.close()
    source.open()
    source.close()
    source.close()
    assert source.read() == []
    assert source.fileno() is None
    source.open()
    assert source.fileno() is not None
    source.close()
