"""The workload: short-lived processes, each with an argument of its own, in a row or at a steady rate.

A process is started with posix_spawn(3), which glibc makes of clone(CLONE_VM | CLONE_VFORK), and waited for. What a
spawn costs therefore holds the creation, the exec, the dynamic linker, the exit and Python's own few microseconds.
"""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from msgspec import Struct

TRUE = "/bin/true"
_SECOND_NS = 1_000_000_000


class Series(Struct, frozen=True):
    """`count` processes that can be told from all others by `mark`, with a last argument of `padding` bytes."""

    mark: str
    count: int
    padding: int = 0
    program: str = TRUE

    def argv(self, index: int) -> list[str]:
        """Return the argument vector of process number `index`, unlike that of any other."""
        start = [self.program, f"{self.mark}-{index}", "two words"]
        return [*start, (f"{index:07}." * (self.padding // 8 + 1))[: self.padding]] if self.padding else start


class Spawned(Struct, frozen=True):
    """How many processes were started in how much time."""

    count: int
    seconds: float

    @property
    def rate(self) -> float:
        """Processes a second."""
        return self.count / self.seconds


def series(count: int, padding: int = 0, program: str = TRUE) -> Series:
    """Return a series that no earlier one is confused with."""
    return Series(f"bench-{secrets.token_hex(6)}", count, padding, program)


def spawn(argv: list[str]) -> None:
    """Start a process with an empty environment and wait for its end."""
    os.waitpid(os.posix_spawn(argv[0], argv, {}), 0)


def in_a_row(work: Series) -> Spawned:
    """Start the whole series from this process, each after the end of the one before."""
    argvs = [work.argv(index) for index in range(work.count)]
    begin = time.monotonic_ns()
    for argv in argvs:
        spawn(argv)
    return Spawned(work.count, (time.monotonic_ns() - begin) / _SECOND_NS)


def in_parallel(work: Series, spawners: int, started: Callable[[int], None] = lambda _: None) -> Spawned:
    """Start the series from that many forked processes at once; `started` is called there with the spawner's number."""
    begin = time.monotonic_ns()
    pids: list[int] = []
    try:
        pids.extend(_forked(work, spawner, spawners, started) for spawner in range(spawners))
        while pids:
            _, status = os.waitpid(pids[0], 0)
            pids.pop(0)
            if status:
                raise RuntimeError(f"a spawner ended with wait status {status}")
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return Spawned(work.count, (time.monotonic_ns() - begin) / _SECOND_NS)


def _forked(work: Series, first: int, step: int, started: Callable[[int], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for index in range(first, work.count, step):
            spawn(work.argv(index))
            started(first)
        status = 0
    finally:
        os._exit(status)


def timed(seconds: float) -> list[int]:
    """Start processes in a row for so long; return the nanoseconds (CLOCK_MONOTONIC) that each took."""
    argv = series(0).argv(0)
    took: list[int] = []
    now = time.monotonic_ns()
    end = now + int(seconds * _SECOND_NS)
    while now < end:
        spawn(argv)
        before, now = now, time.monotonic_ns()
        took.append(now - before)
    return took


def paced(work: Series, rate: float) -> tuple[Spawned, list[int]]:
    """Start the series at `rate` a second, or as fast as it goes; return also when each began (monotonic ns)."""
    begin = time.monotonic_ns()
    asked: list[int] = []
    for index, argv in enumerate(_argvs(work)):
        ahead = begin + int(index * _SECOND_NS / rate) - time.monotonic_ns()
        if ahead > 0:
            time.sleep(ahead / _SECOND_NS)
        asked.append(time.monotonic_ns())
        spawn(argv)
    return Spawned(work.count, max(work.count / rate, (time.monotonic_ns() - begin) / _SECOND_NS)), asked


def _argvs(work: Series) -> Iterable[list[str]]:
    return [work.argv(index) for index in range(work.count)]
