"""Processes that /proc does not list and the kernel knows, or whose entry there belongs to something else.

A rootkit takes a process out of the listing: in the C library, in the kernel's getdents, or by a mount over the
process's folder. A process that lives can still be opened by its number (pidfd_open(2)), which none of them touches.
"""

import os
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from shield.collector.linux.procfs import ProcessGone, ProcfsReader
from shield.collector.linux.sweep import listed
from shield.event import System
from shield.record import Actor, Observation

_FIRST = 2


class HiddenProcesses:
    """Compares the listing of `root` with the numbers that the kernel knows, `numbers_most` at a time."""

    def __init__(self, procfs: ProcfsReader, numbers_most: int = 4096, root: Path = Path("/proc")) -> None:
        self._procfs = procfs
        self._numbers_most = numbers_most
        self._root = root
        self._next = _FIRST
        self._told: set[int] = set()

    def look(self, pids: list[int]) -> Iterator[Observation | str]:
        """Yield those of the listed processes whose entry is covered, and the hidden ones in the next part of all."""
        for pid in pids:
            if _is_covered(self._root, pid):
                yield from self._tell(pid)
        for pid in self._unlisted():
            yield from self._tell(pid)

    def _unlisted(self) -> Iterator[int]:
        """Yield the living processes that are not listed, among the latest numbers and the next of all others."""
        shown = set(listed(self._root))
        last, most = _number(self._root, "ns_last_pid"), _number(self._root, "pid_max")
        latest = range(max(_FIRST, last - self._numbers_most // 2), last + 1)
        others = range(self._next, min(self._next + self._numbers_most // 2, most))
        self._next = others.stop if others.stop < most else _FIRST
        self._told = {pid for pid in self._told if _lives(pid)}
        for pid in sorted({*latest, *others} - shown):
            if _lives(pid) and pid not in listed(self._root) and _lives(pid):
                yield pid

    def _tell(self, pid: int) -> Iterator[Observation | str]:
        if pid in self._told:
            yield "repeated"
            return
        self._told.add(pid)
        process = user = container = None
        ticks = 0
        with suppress(ProcessGone, ValueError):
            shown = self._procfs.read(pid)
            process, user, ticks, container = shown.process, shown.user, shown.start_ticks, shown.container
        system = System("hidden_process", path=process.exe if process else "")
        yield Observation(
            time.time_ns(), "system_change", Actor(pid, ticks, process, user), container=container, system=system
        )


def _lives(pid: int) -> bool:
    """Whether `pid` is a process (not a thread of one) that has not ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        return not ended.poll(0)
    finally:
        os.close(descriptor)


def _is_covered(root: Path, pid: int) -> bool:
    """Whether a living process's folder is not its own: it says another number, or nothing."""
    try:
        with open(f"{root}/{pid}/stat", "rb") as file:
            return not file.read(16).startswith(b"%d (" % pid)
    except (FileNotFoundError, ProcessLookupError):
        return _lives(pid)
    except OSError:
        return False


def _number(root: Path, name: str) -> int:
    try:
        return int((root / "sys" / "kernel" / name).read_bytes())
    except (OSError, ValueError):
        return 1 << 15
