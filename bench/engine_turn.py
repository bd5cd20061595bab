"""One contestant's turn: a process of its own, held to one core, which reads its task and answers in JSON.

Nothing of the other contestant is loaded into it, and nothing is left of the turn before.
"""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import msgspec

from bench.engine_task import Convert, Detect, Load, LoadQueries, Match, MatchBySql, Ran, Run, Stages, Task

TURN = [sys.executable, "-m", "bench.engine_turn"]
_ROOT = Path(__file__).parents[1]
_LINES_TOLD = 8

T = TypeVar("T")


class Failed(Exception):
    """A contestant didn't finish its turn; the text says what it said last."""


@contextmanager
def one_core() -> Generator[int, None, None]:
    """Hold this process, and so all that it starts, to one core: the last that it may use."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield max(allowed)
    finally:
        os.sched_setaffinity(0, allowed)


def ask(task: Task, answer: type[T]) -> T:
    """Return the answer to a task, carried out in a process of its own. Raises Failed."""
    ran = subprocess.run(TURN, input=msgspec.json.encode(task), capture_output=True, cwd=_ROOT, check=False)
    if ran.returncode:
        raise Failed(f"{type(task).__name__}: {_end(ran.stderr)}")
    return msgspec.json.decode(ran.stdout, type=answer)


def main() -> None:
    """Carry out the task on standard input."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    sys.stdout.buffer.write(msgspec.json.encode(_carried_out(task)))


def _carried_out(task: Task) -> object:
    if isinstance(task, Match | Stages | Load):
        from bench import engine_shield as shield  # noqa: PLC0415  a contestant loads nothing of the other

        if isinstance(task, Match):
            return shield.match(task)
        return shield.stages(task) if isinstance(task, Stages) else shield.load(task)
    if isinstance(task, Run):
        return _run(task)
    from bench import engine_sqlite as peer  # noqa: PLC0415

    match task:
        case MatchBySql():
            return peer.match(task)
        case LoadQueries():
            return peer.load(task)
        case Convert():
            return peer.convert(task)
        case Detect():
            return peer.detect(task)


def _run(task: Run) -> Ran:
    """Run it from here: a process of this size, so that the memory of who asks isn't taken for the program's."""
    with TemporaryFile() as given, TemporaryFile() as output, TemporaryFile() as errors:
        given.write(task.given.encode())
        given.seek(0)
        began = time.perf_counter()
        environment = os.environ | task.environment
        started = subprocess.Popen(task.command, stdin=given, stdout=output, stderr=errors, cwd=_ROOT, env=environment)
        _, status, usage = os.wait4(started.pid, 0)
        seconds = time.perf_counter() - began
        started.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        return Ran(
            cpu_s=usage.ru_utime + usage.ru_stime,
            seconds=seconds,
            peak_mib=round(usage.ru_maxrss / 1024, 1),
            code=started.returncode,
            output=output.read().decode(errors="replace"),
            errors=_end(errors.read()),
        )


def _end(said: bytes) -> str:
    return "\n".join(said.decode(errors="replace").strip().splitlines()[-_LINES_TOLD:])


if __name__ == "__main__":
    main()
