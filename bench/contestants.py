"""Who is measured: each is started in a folder of its own, watches this host, and is ended.

with contestant(folder) as running:
    ...                       # the workload
    running.finish()          # it writes what it still holds, and ends
    running.executions()      # what it has seen
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import msgspec
from msgspec import Struct

from bench import usage
from bench.daemon import Daemon, NotRunning, undisturbed

_SAFETY_S = 3600


class Contestant:
    """The base of all: by itself it is nobody, the machine as it is without any of them."""

    name: ClassVar[str] = "none"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: Path | None = None
        self.lost: dict[str, int] | None = None
        """What it says itself that it lost, by reason; None for one that doesn't know. Complete after `finish`."""
        self.disturbed: list[str] = []
        """What others did while it was measured that spoils the figures. Complete after `finish`."""
        self._cleanup = ExitStack()

    @classmethod
    def missing(cls) -> str:
        """Return what is missing on this host and how to install it; nothing where all is there."""
        return ""

    def __enter__(self) -> Self:
        """Start it, and wait until it captures. Raises NotRunning; nothing is left behind then."""
        try:
            self._start(self._cleanup)
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def finish(self) -> None:
        """End it after it has written everything, and undo all that was set up for it. May be called twice."""
        with undisturbed():
            self._cleanup.close()

    def processes(self) -> list[int]:
        """Return the ids of every process that works for it, kernel threads included."""
        return []

    def executions(self) -> Iterator[list[str]]:
        """Yield the argument vector of each exec in what it has written."""
        yield from ()

    def _start(self, cleanup: ExitStack) -> None:
        """Start what it takes, registering with `cleanup` how each step is undone."""


class _Process(Struct):
    args: list[str] = []


class _Data(Struct):
    process: _Process | None = None
    health: dict[str, Any] | None = None


SIGMAHQ = Path(__file__).parents[2] / "shared" / "data" / "sigmahq"


class _Event(Struct):
    category: str
    data: _Data


class Shield(Contestant):
    """`shield run` as it is installed beside this Python, with its own defaults but for the rotation of files."""

    name = "shield"
    settings: ClassVar[dict[str, Any]] = {"output": {"rotate_bytes": None, "rotate_hours": None}}

    def __init__(self, folder: Path, settings: dict[str, Any] | None = None) -> None:
        super().__init__(folder)
        self._settings = self.settings | {"state": str(folder / "state")} | (settings or {})
        self.log = folder / "events.jsonl"

    @classmethod
    def missing(cls) -> str:
        """Return how to install Shield where its command isn't beside this Python."""
        return "" if _shield().exists() else f"{_shield()} isn't there: run `make setup`"

    def processes(self) -> list[int]:
        """Return Shield's process and its descendants."""
        return usage.family(self._daemon.pid)

    def executions(self) -> Iterator[list[str]]:
        """Yield `data.process.args` of each process_start."""
        yield from (event.data.process.args for event in self._events("process_start") if event.data.process)

    def health(self) -> dict[str, Any]:
        """Return the content of its last heartbeat."""
        beats = [event.data.health for event in self._events("heartbeat") if event.data.health]
        if not beats:
            raise NotRunning(f"{self.log} holds no heartbeat")
        return beats[-1]

    def lines(self, category: str) -> int:
        """Return how many events of this category it has written."""
        return sum(1 for _ in self._events(category))

    def ledger(self) -> dict[str, Any]:
        """Return the ledger of its source of processes, the first one, in its last heartbeat."""
        return self.health()["ledgers"][0]

    def finish(self) -> None:
        """End it, and take over the losses that its ledgers name."""
        super().finish()
        if self.lost is None:
            ledgers = self.health()["ledgers"]
            self.lost = {
                f"{ledger['source']}_{reason}": count
                for ledger in ledgers
                for reason, count in ledger["dropped"].items()
            }

    def _start(self, cleanup: ExitStack) -> None:
        config = self.folder / "shield.yml"
        config.write_bytes(msgspec.json.encode(self._settings))  # JSON is YAML
        command = [_shield(), "run", "--config", config, "--output", self.log, "--duration", _SAFETY_S, "--no-console"]
        self._daemon = Daemon([str(word) for word in command], self.folder)
        cleanup.callback(self._daemon.stop)
        self._daemon.wait_until(lambda: " watches " in self._daemon.said())

    def _events(self, category: str) -> Iterator[_Event]:
        decoder = msgspec.json.Decoder(_Event)
        sought = f'"category":"{category}"'.encode()
        assert self.log is not None
        with self.log.open("rb") as lines:
            yield from (decoder.decode(line) for line in lines if sought in line)


class ShieldSigmaHq(Shield):
    """Shield with all public SigmaHQ rules beside its own; those about this platform are matched."""

    name = "shield+sigmahq"
    settings: ClassVar[dict[str, Any]] = Shield.settings | {"rules": ["shipped", str(SIGMAHQ)]}

    @classmethod
    def missing(cls) -> str:
        """Return what is missing where the rules aren't beside the clone."""
        return super().missing() or ("" if SIGMAHQ.is_dir() else f"the public rules aren't in {SIGMAHQ}")


class PsutilPoll(Contestant):
    """What many scripts do: list all processes with psutil every five seconds and write down the new ones."""

    name = "psutil_poll"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.log = folder / "processes.jsonl"

    def processes(self) -> list[int]:
        """Return the poller's process."""
        return usage.family(self._daemon.pid)

    def executions(self) -> Iterator[list[str]]:
        """Yield the argument vector of each process it has noticed."""
        assert self.log is not None
        with self.log.open("rb") as lines:
            yield from (msgspec.json.decode(line, type=list[str]) for line in lines)

    def _start(self, cleanup: ExitStack) -> None:
        self._daemon = Daemon([sys.executable, "-m", "bench.polling"], self.folder, self.log)
        cleanup.callback(self._daemon.stop)
        self._daemon.wait_until(lambda: "ready" in self._daemon.said())


def _shield() -> Path:
    return Path(sys.executable).with_name("shield")
