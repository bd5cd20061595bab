"""Gains of power by running processes, on the running kernel."""

import ctypes
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shield.collector.linux.event_socket import EventSocket
from shield.collector.linux.privilege.credentials import CredentialsOptions, CredentialsSource
from shield.collector.linux.process_event import EXEC, EXIT, FORK, GID, UID
from shield.collector.source import SourceUnavailable
from shield.record import Observation

NOBODY, DAEMON = 65534, 1
_PTRACE_SEIZE = 0x4206


class Reading:
    """An open source, and how many records it gave."""

    def __init__(self, options: CredentialsOptions) -> None:
        self.source = CredentialsSource(options)
        self.told = 0
        self.source.open()

    def gains(self, wanted: Callable[[Observation], bool], patience_s: float = 5) -> list[Observation]:
        """Read until a wanted observation is there; return all that were wanted."""
        found: list[Observation] = []
        deadline = time.monotonic() + patience_s
        while not found and time.monotonic() < deadline:
            found += [one for one in self._read() if wanted(one)]
        return found

    def balanced(self) -> bool:
        count = self.source.count()
        known = self.told + sum(count.filtered.values()) + sum(count.dropped.values()) + count.pending
        return count.seen == known

    def _read(self) -> list[Observation]:
        descriptor = self.source.fileno()
        assert descriptor is not None
        select.select([descriptor], [], [], 0.2)
        records = self.source.read()
        self.told += len(records)
        return [one for one in records if isinstance(one, Observation)]


@pytest.fixture
def reading() -> Iterator[Reading]:
    reading = Reading(CredentialsOptions(sweep_seconds=0.2))
    yield reading
    reading.source.close()
    assert reading.balanced()


def of(pid: int) -> Callable[[Observation], bool]:
    return lambda one: one.actor is not None and one.actor.pid == pid


def patient(program: str) -> subprocess.Popen[bytes]:
    """Start Python code that prints a line after each of its steps and waits for one before the next."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import os, sys\n{program}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def step(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


RETURNS_TO_ROOT = f"""
os.setresuid({NOBODY}, {NOBODY}, 0)
sys.stdin.readline()
os.seteuid(0)
sys.stdin.readline()
os.seteuid({NOBODY})
os.seteuid(0)
sys.stdin.readline()
"""


def test_a_process_that_becomes_root_without_a_setuid_program_is_told_once(reading: Reading) -> None:
    process = patient(RETURNS_TO_ROOT)
    step(process)
    (told,) = reading.gains(of(process.pid))
    assert told.category == "privilege_change"
    assert told.privilege is not None
    assert (told.privilege.kind, told.privilege.old_id, told.privilege.new_id) == ("user_id", NOBODY, 0)
    assert (told.privilege.old_name, told.privilege.new_name) == ("nobody", "root")
    assert told.privilege.gained == ()
    assert told.actor is not None
    assert told.actor.start_ticks > 0
    assert told.actor.process is not None
    assert told.actor.process.exe == os.path.realpath(sys.executable)
    assert told.user is not None
    assert (told.user.id, told.user.effective_id) == (NOBODY, 0)
    assert abs(told.ts_ns - time.time_ns()) < 60_000_000_000
    step(process)
    assert reading.gains(of(process.pid), patience_s=0.3) == []
    process.communicate()
    assert reading.source.count().filtered["repeated"] == 1


def test_a_setuid_program_outside_of_the_system_is_told_with_the_power_it_gives(
    reading: Reading, tmp_path: Path
) -> None:
    copy = tmp_path / "tool"
    shutil.copy("/bin/cat", copy)
    copy.chmod(0o4755)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    process = subprocess.Popen([copy], stdin=subprocess.PIPE, user=NOBODY)
    (told,) = reading.gains(of(process.pid))
    process.communicate()
    assert told.privilege is not None
    assert told.privilege.old_id == NOBODY
    assert "CAP_SYS_ADMIN" in told.privilege.gained


def test_daemons_that_drop_root_and_setuid_programs_of_the_system_are_filtered(reading: Reading) -> None:
    dropping = patient(f"os.setresuid({NOBODY}, {NOBODY}, {NOBODY}); sys.stdin.readline()")
    asking = subprocess.Popen(
        ["su", "root", "-c", "true"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=DAEMON
    )
    asking.wait()
    found = reading.gains(lambda one: of(asking.pid)(one) or of(dropping.pid)(one), patience_s=0.5)
    dropping.communicate()
    assert found == []
    assert reading.source.count().filtered["not_root"] >= 1


RAISES_CAPABILITY = f"""
import ctypes
c = ctypes.CDLL(None, use_errno=True)
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
c.prctl(8, 1, 0, 0, 0)
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
data[1] = 1 << 21
assert c.capset(header, data) == 0
print(flush=True)
sys.stdin.readline()
data[0] = 1 << 21
assert c.capset(header, data) == 0
sys.stdin.readline()
"""


def test_a_capability_put_to_use_is_found_by_the_sweep(reading: Reading) -> None:
    process = patient(RAISES_CAPABILITY)
    assert process.stdout is not None
    process.stdout.readline()
    assert reading.gains(of(process.pid), patience_s=1) == []
    step(process)
    (told,) = reading.gains(of(process.pid))
    process.communicate()
    assert told.privilege is not None
    assert (told.privilege.kind, told.privilege.gained) == ("capabilities", ("CAP_SYS_ADMIN",))


def trace(pid: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    assert library.ptrace(_PTRACE_SEIZE, pid, None, None) == 0


def test_tracing_another_users_process_is_told_with_both_sides(reading: Reading) -> None:
    target = subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=NOBODY)
    trace(target.pid)
    (told,) = reading.gains(lambda one: one.privilege is not None and one.privilege.target_pid == target.pid)
    target.communicate()
    assert told.privilege is not None
    assert told.actor is not None
    assert told.actor.pid == os.getpid()
    assert told.privilege.kind == "ptrace"
    assert told.privilege.target_user == "nobody"
    assert told.privilege.target_exe == os.path.realpath("/bin/cat")


def test_tracing_ones_own_process_is_ordinary(reading: Reading) -> None:
    target = patient("print(flush=True); sys.stdin.readline()")
    assert target.stdout is not None
    target.stdout.readline()
    trace(target.pid)
    found = reading.gains(lambda one: one.privilege is not None, patience_s=0.5)
    target.communicate()
    assert found == []
    assert reading.source.count().filtered["same_user"] >= 1


def test_starts_and_ends_of_processes_never_leave_the_kernel() -> None:
    events = EventSocket(1 << 20)
    events.open(UID | GID)
    for _ in range(50):
        subprocess.run(["true"], check=True)
    subprocess.run(["true"], user=NOBODY, check=True)
    received = list(events.receive(1000))
    events.close()
    kinds = {event.what for event in received if event is not None}
    assert kinds <= ({UID, GID} if _kernel() >= (6, 6) else {FORK, EXEC, EXIT, UID, GID})
    assert UID in kinds


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def test_events_that_did_not_fit_are_counted() -> None:
    reading = Reading(CredentialsOptions(buffer_bytes=1, sweep_seconds=60))
    number = 200
    patient(f"for _ in range({number}): os.seteuid({NOBODY}); os.seteuid(0)").communicate()
    reading.gains(lambda _: False, patience_s=0.3)
    reading.source.close()
    count = reading.source.count()
    assert count.dropped["not_delivered"] > 0
    assert count.seen >= 2 * number
    assert set(count.dropped) <= set(reading.source.remedies)
    assert reading.balanced()


def test_in_a_network_of_its_own_it_is_unavailable_and_says_why() -> None:
    program = (
        "from shield.collector.linux.privilege.credentials import CredentialsSource\n"
        "try: CredentialsSource().open()\n"
        "except Exception as refusal: print(type(refusal).__name__, refusal)\n"
    )
    command = ["unshare", "--net", "--fork", sys.executable, "-c", program]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith(SourceUnavailable.__name__)


def test_closing_twice_and_unopened_is_no_error() -> None:
    source = CredentialsSource()
    source.close()
    source.open()
    source.close()
    source.close()
    assert source.read() == []
    assert source.fileno() is None
