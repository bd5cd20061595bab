"""A long-running program under measurement: started, watched until it is ready, ended by its pid."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_READY_S = 60.0
_END_S = 180.0
_LOOK_S = 0.02


class NotRunning(Exception):
    """A contestant could not be brought to run; says why and what to do."""


class Daemon:
    """One program in a session of its own, so that a Ctrl-C doesn't reach it. What it prints goes to files."""

    def __init__(self, command: Sequence[str], folder: Path, output: Path | None = None) -> None:
        self._errors = folder / "stderr"
        with self._errors.open("wb") as errors, (output or folder / "stdout").open("wb") as out:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True
            )
        self._command = command[0]

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def said(self) -> str:
        """Return what the program has printed to stderr."""
        return self._errors.read_text(errors="replace")

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready`. Raises NotRunning where the program ends before, or takes longer than a minute."""
        wait_until(ready, _READY_S, f"{self._command} was not ready after {_READY_S:.0f} s", self._check)

    def stop(self) -> None:
        """Ask the program to end, give it time to write what it holds, end it by force after three minutes."""
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _check(self) -> None:
        code = self._process.poll()
        if code is not None:
            raise NotRunning(f"{self._command} ended with exit code {code}: {self.said().strip()[-600:]}")


def wait_until(
    ready: Callable[[], bool], seconds: float, otherwise: str, check: Callable[[], None] = lambda: None
) -> None:
    """Wait until `ready`. Raises NotRunning, saying `otherwise`, after so many seconds."""
    end = time.monotonic() + seconds
    while not ready():
        check()
        if time.monotonic() > end:
            raise NotRunning(otherwise)
        time.sleep(_LOOK_S)


def wait_until_quiet(path: Path, quiet_s: float = 0.6, most_s: float = 60.0) -> None:
    """Wait until the file hasn't grown for `quiet_s` seconds, `most_s` at most."""
    end = time.monotonic() + most_s
    size, since = -1, time.monotonic()
    while (now := time.monotonic()) < end and now - since < quiet_s:
        if (seen := path.stat().st_size if path.exists() else 0) != size:
            size, since = seen, now
        time.sleep(_LOOK_S)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put off SIGINT and SIGTERM while something is being undone."""
    asked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, asked)
