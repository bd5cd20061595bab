"""What the running agent says of itself to `shield status`: one small file, replaced every few seconds."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct

from shield.agent import statefolder
from shield.agent.companion import Told
from shield.agent.producers import Producer
from shield.agent.selftest import Outcome
from shield.event import Health

FOLDER_VARIABLE = "SHIELD_RUNTIME"
"""The environment variable that names the folder of the status file; empty keeps none."""

_NAME = "status.json"
_EVERY_S = 5.0
_STALE_S = 30.0
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)


class Status(Struct, frozen=True):
    """The state of the agent with the process id `pid` at `written_ns` (Unix time).

    `cpu_percent` is of one core, over the last seconds. `giving_up` says what the budget makes the agent give up,
    `shed` how many events that were, by reason. `producers` are the programs that most of the latest events come from.
    """

    host: str
    pid: int
    written_ns: int
    policy: str
    health: Health
    cpu_percent: float = 0.0
    giving_up: str = ""
    shed: dict[str, int] = {}
    producers: tuple[Producer, ...] = ()
    self_test: tuple[Outcome, ...] = ()
    self_test_ns: int = 0

    @property
    def age_s(self) -> float:
        """Seconds since it was written."""
        return max(0.0, (time.time_ns() - self.written_ns) / 1e9)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it should be, in words; empty where all is well."""
        found = [f"the agent has not said anything for {self.age_s:.0f} s"] if self.age_s > _STALE_S else []
        lost = {ledger.source: sum(ledger.dropped.values()) for ledger in self.health.ledgers}
        found += [f"{source} has lost {number:,} records" for source, number in lost.items() if number]
        found += [f"self-test: {one.kind}: {one.detail}" for one in self.self_test if one.failed]
        if self.giving_up:
            found.append(f"over its budget: {self.giving_up}")
        return tuple(found)


class NotRunning(Exception):
    """No agent is running here whose status can be read; the text says why."""


def default_file() -> Path | None:
    """Return where this user's agent keeps its status: /run/shield for root; None where that is switched off."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named is not None:
        return Path(named) / _NAME if named else None
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/run/shield") / _NAME
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(runtime) / "shield" if runtime.startswith("/") else statefolder.default_folder()
    return folder / _NAME if folder is not None else None


def read(path: Path) -> Status:
    """Return what the agent wrote last. Raises NotRunning."""
    try:
        status = msgspec.json.decode(path.read_bytes(), type=Status)
    except FileNotFoundError:
        raise NotRunning(f"{path}: there is no such file; start the agent with `shield run`") from None
    except OSError as error:
        raise NotRunning(f"{path}: {error.strerror}; ask as the user that the agent runs as") from None
    except msgspec.DecodeError as error:
        raise NotRunning(f"{path}: this is no status of this version ({error}); restart the agent") from None
    if not psutil.pid_exists(status.pid):
        raise NotRunning(f"the agent that wrote {path} has ended; start it with `shield run`")
    return status


class StatusFile:
    """Keeps `path` up to date with `current`; a companion of the watch. Where it can't be written, that is all."""

    def __init__(self, path: Path, current: Callable[[], Status]) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._current = current
        self._due = 0.0

    def care(self) -> Sequence[Told]:
        """Write the file where it is time to."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _EVERY_S
            self._write()
        return ()

    def close(self) -> Sequence[Told]:
        """Take the file away: nobody is running any more."""
        for file in (self._path, self._partial):
            with suppress(OSError):  # what stays behind names an agent that has ended
                file.unlink(missing_ok=True)
        return ()

    def _write(self) -> None:
        content = msgspec.json.encode(self._current())
        with suppress(OSError):  # a status that can't be read says the same
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._partial.unlink(missing_ok=True)  # a full disk, or a run that was killed, has left it
            with os.fdopen(os.open(self._partial, _NEW, 0o600), "wb") as file:
                file.write(content)
            self._partial.replace(self._path)
