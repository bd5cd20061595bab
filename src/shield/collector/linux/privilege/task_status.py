"""A task's credentials, as /proc/PID/task/TID/status shows them (proc(5), credentials(7))."""

from pathlib import Path
from typing import NamedTuple

from shield.text import decode


class Credentials(NamedTuple):
    """Who a task acts as: real, effective and saved ids, and its capabilities as bit masks."""

    uid: int
    euid: int
    suid: int
    gid: int
    egid: int
    permitted: int = 0
    effective: int = 0


class Task(NamedTuple):
    """What /proc shows of a task. `pid` is its process, `tracer` who traces it, 0 for nobody.

    `ticks` is when it started, in clock ticks since boot.
    """

    name: str
    pid: int
    parent: int
    tracer: int
    credentials: Credentials
    ticks: int = 0


_WANTED = (b"Name", b"Tgid", b"PPid", b"TracerPid", b"Uid", b"Gid", b"CapPrm", b"CapEff")
_START_AT = 19


def read_task(root: Path, pid: int, thread: int) -> Task | None:
    """Return a thread of a process as /proc below `root` shows it now, None for one that is gone or can't be read.

    `ticks` are its process's.
    """
    folder = f"{root}/{pid}"
    try:
        with open(f"{folder}/task/{thread}/status", "rb") as status, open(f"{folder}/stat", "rb") as stat:
            task, ticks = parse_status(status.read()), _ticks(stat.read())
    except OSError:
        return None
    return None if task is None else task._replace(ticks=ticks)


def parse_status(raw: bytes) -> Task | None:
    """Return what a status file holds, None for one that lacks a line."""
    lines: dict[bytes, bytes] = {}
    for line in raw.split(b"\n"):
        key, separator, value = line.partition(b":\t")
        if separator and key in _WANTED:
            # The name stands first, and the kernel writes it without line breaks: no line can be forged with it.
            lines[key] = value
    try:
        name, pid, parent, tracer, users, groups, permitted, effective = (lines[key] for key in _WANTED)
        uid, euid, suid = map(int, users.split()[:3])
        gid, egid = map(int, groups.split()[:2])
        held = Credentials(uid, euid, suid, gid, egid, int(permitted, 16), int(effective, 16))
        return Task(decode(name), int(pid), int(parent), int(tracer), held)
    except (KeyError, ValueError):
        return None


def _ticks(raw: bytes) -> int:
    fields = raw[raw.rfind(b")") + 2 :].split()
    return int(fields[_START_AT]) if len(fields) > _START_AT else 0
