"""CPU time and memory, as the kernel accounts them."""

import os
import re
import resource
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
from msgspec import Struct

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_MIB_KIB = 1024


class Memory(Struct, frozen=True):
    """Resident memory of some processes, in MiB: `pss` counts a page shared by n processes as 1/n (proc(5))."""

    rss_mib: float
    pss_mib: float


class Reading(Struct, frozen=True):
    """CPU seconds used so far: by each process, by this one with its ended children, and by the whole machine."""

    processes: dict[int, float]
    workload: float
    machine: float
    at: float


class Used(Struct, frozen=True):
    """CPU seconds between two readings. `by_name` sums the processes of one name, `chain_s` all of them.

    `workload_s` is the spawner's and its children's, `machine_s` everything that ran on any core. What a contestant's
    hooks in the kernel use is charged to whoever made the system call: it is in these two and not in `chain_s`.
    """

    by_name: dict[str, float]
    chain_s: float
    workload_s: float
    machine_s: float
    seconds: float


def read(pids: Iterable[int]) -> Reading:
    """Read all the counters at about the same time."""
    return Reading({pid: _process_s(pid) for pid in pids}, _workload_s(), _machine_s(), time.monotonic())


def used(before: Reading, after: Reading) -> Used:
    """Return what was used between two readings. A process that is only in the second one started in between."""
    by_name: dict[str, float] = {}
    for pid, seconds in after.processes.items():
        name = _name(pid)
        by_name[name] = by_name.get(name, 0.0) + seconds - before.processes.get(pid, 0.0)
    return Used(
        by_name={name: round(seconds, 6) for name, seconds in by_name.items()},
        chain_s=sum(by_name.values()),
        workload_s=after.workload - before.workload,
        machine_s=after.machine - before.machine,
        seconds=after.at - before.at,
    )


def memory(pids: Iterable[int]) -> Memory:
    """Return the memory of these processes together, from /proc/PID/smaps_rollup; kernel threads have none."""
    rss = pss = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            rss += _kib("Rss", text)
            pss += _kib("Pss", text)
    return Memory(round(rss / _MIB_KIB, 2), round(pss / _MIB_KIB, 2))


def family(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def kernel_thread(name: str) -> list[int]:
    """Return the pid of the kernel's thread of that name, if there is one."""
    kthreadd = 2
    return [each.pid for each in psutil.process_iter(["name", "ppid"]) if _is(each, name, kthreadd)]


def processes_created() -> int:
    """Return how many processes and threads were created since boot (`processes` in /proc/stat)."""
    found = re.search(r"^processes (\d+)", Path("/proc/stat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _process_s(pid: int) -> float:
    """Return the process's CPU-time clock (clock_getcpuclockid(3)): in nanoseconds, ended threads included."""
    return time.clock_gettime((~pid << 3) | 2)


def _workload_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _machine_s() -> float:
    """Return the seconds that cores weren't idle: from idle time, which is measured, where busy time is sampled."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    idle, iowait, steal = fields[3], fields[4], fields[7]
    cores = os.cpu_count() or 1
    return time.monotonic() * cores - (idle + iowait + steal) * _TICK_S


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _kib(field: str, text: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _is(process: psutil.Process, name: str, ppid: int) -> bool:
    return process.info["name"] == name and process.info["ppid"] == ppid
