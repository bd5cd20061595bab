"""Process starts and ends from comparing the process list with the one before: works everywhere, needs no privilege.

What a poll finds new is reported as started, what it misses as ended. The list at `open` is the one to compare with;
nothing on it is reported.
"""

import errno
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import psutil

from shield.collector.source import Count, Kind, SourceUnavailable
from shield.event import Process, User
from shield.record import ProcessExec, ProcessExit, Record
from shield.text import decode

_BATCH = 1024

StartTicks = Callable[[int], int]
"""Gives a process's start, which tells it from a later one with its pid. Raises psutil.NoSuchProcess."""

Answer = TypeVar("Answer")


class _Identity(NamedTuple):
    pid: int
    start_ticks: int


def creation_ticks(pid: int) -> int:
    """Return when a process was created, in hundredths of a second of Unix time. Raises psutil.NoSuchProcess."""
    return round(psutil.Process(pid).create_time() * 100)


class PollingSource:
    """The processes that are there at each poll, `interval` seconds apart."""

    provides: frozenset[Kind] = frozenset(("process",))
    name = "psutil"
    remedies: dict[str, str] = {  # noqa: RUF012
        "ended_before_read": "Poll more often, or run Shield as root so that it can use a kernel source."
    }

    def __init__(self, interval: float = 1.0, start_ticks: StartTicks = creation_ticks) -> None:
        self.interval: float | None = interval
        self.blind_spots: tuple[str, ...] = (
            f"Processes that start and end between two polls ({interval:g} s apart) are not seen.",
            "A process that replaces its program is seen once, as the program it was at the poll.",
            "Exit codes, exact end times and forks are not seen.",
            "Without root, the arguments and files of other users' processes may be hidden.",
        )
        self._start_ticks = start_ticks
        self._running: dict[int, int] = {}
        self._ready: deque[Record] = deque()
        self._dropped: Counter[str] = Counter()
        self._seen = 0
        self._polls = False

    def open(self) -> None:
        """Take the list to compare with. Raises SourceUnavailable."""
        try:
            self._running = self._list()
        except OSError as error:
            reason = f"the processes can't be listed ({error.strerror})"
            raise SourceUnavailable(self.name, reason, "mount /proc, and let Shield read it") from None
        self._polls = True

    def fileno(self) -> int | None:
        """Return None: this source is polled."""
        return None

    def read(self) -> list[Record]:
        """Return what changed since the last poll, ends before starts, at most 1,024 records."""
        if self._polls and not self._ready:
            self._poll()
        return [self._ready.popleft() for _ in range(min(_BATCH, len(self._ready)))]

    def count(self) -> Count:
        """Return the totals; what no poll saw is in none of them."""
        return Count(self._seen, filtered={}, dropped=dict(self._dropped), pending=len(self._ready))

    def stop(self) -> None:
        """Poll no more."""
        self._polls = False

    def close(self) -> None:
        """Poll no more; there is nothing else to undo."""
        self.stop()

    def _list(self) -> dict[int, int]:
        """Return the start of every process, by pid. Raises OSError where the host shows none."""
        try:
            pids = psutil.pids()
        except IndexError:  # psutil takes for granted that there is one
            raise FileNotFoundError(errno.ENOENT, "none is shown") from None
        running: dict[int, int] = {}
        for pid in pids:
            try:
                running[pid] = self._start_ticks(pid)
            except psutil.NoSuchProcess:
                continue
        return running

    def _poll(self) -> None:
        before, self._running = self._running, self._list()
        now = time.time_ns()
        gone = before.items() - self._running.items()
        new = self._running.items() - before.items()
        self._seen += len(gone) + len(new)
        for pid, ticks in sorted(gone):
            self._ready.append(ProcessExit(ts_ns=now, pid=pid, start_ticks=ticks))
        self._ready.extend(sorted(self._starts(new), key=lambda start: start.ts_ns))

    def _starts(self, new: set[tuple[int, int]]) -> list[ProcessExec]:
        starts: list[ProcessExec] = []
        for pid, ticks in new:
            try:
                starts.append(self._start(_Identity(pid, ticks)))
            except psutil.NoSuchProcess:
                self._dropped["ended_before_read"] += 1
        return starts

    def _start(self, identity: _Identity) -> ProcessExec:
        asked = _Asked(psutil.Process(identity.pid))
        with asked.process.oneshot():
            process = asked.details()
            user = asked.user()
        return ProcessExec(
            ts_ns=process.start_ns,
            process=process,
            user=user,
            start_ticks=identity.start_ticks,
            parent_start_ticks=self._running.get(process.ppid, 0),
            gaps=tuple(asked.gaps),
        )


class _Asked:
    """Questions to one process, of which some may be refused; raises psutil.NoSuchProcess where it ended."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.gaps: list[str] = []

    def details(self) -> Process:
        process = self.process
        argv = [os.fsencode(arg) for arg in self._answer(process.cmdline, "arguments", [])]
        args = tuple(decode(arg) for arg in argv)
        return Process(
            pid=process.pid,
            ppid=process.ppid(),
            name=_text(process.name()),
            exe=_text(self._answer(process.exe, "executable", "")),
            args=args,
            cmdline=" ".join(args),
            args_length=sum(len(arg) + 1 for arg in argv),
            cwd=_text(self._answer(process.cwd, "working directory", "")),
            start_ns=self._start_ns(),
            tty=self._tty(),
        )

    def user(self) -> User:
        name = self._answer(self.process.username, "user", "")
        if not hasattr(self.process, "uids"):
            return User(name=name)
        uids, gids = self.process.uids(), self.process.gids()
        return User(
            id=uids.real,
            name=name,
            effective_id=uids.effective,
            group_id=gids.real,
            effective_group_id=gids.effective,
        )

    def _start_ns(self) -> int:
        """Return when it started, or now where the host hides when it was booted, which that is counted from."""
        try:
            return round(self.process.create_time() * 1_000_000_000)
        except OSError:
            self.gaps.append("the start time could not be read")
            return time.time_ns()

    def _tty(self) -> str:
        """Return the terminal as the kernel names it, `pts0` for /dev/pts/0."""
        if not hasattr(self.process, "terminal"):
            return ""
        return (self.process.terminal() or "").removeprefix("/dev/").replace("/", "")

    def _answer(self, question: Callable[[], Answer], what: str, refused: Answer) -> Answer:
        try:
            return question()
        except (psutil.AccessDenied, psutil.ZombieProcess):
            self.gaps.append(f"the {what} could not be read")
            return refused


def _text(name: str) -> str:
    return decode(os.fsencode(name))
