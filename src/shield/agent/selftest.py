"""The self-test: does what happens on this host really arrive, and how quickly?

A probe does one harmless thing of each kind in a process of its own (`shield.agent.probe`). What comes of it through
the whole agent is recognised by the probe's pid or a token in its name. What doesn't come in time has failed: a blind
spot that nobody would notice otherwise.
"""

import queue
import secrets
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

from msgspec import Struct

from shield.agent import child
from shield.agent.companion import Change, Told
from shield.agent.probe import DONE, name_asked_for
from shield.collector.source import Kind
from shield.event import Event, Tamper

FOLDER = "self-test"
"""The folder, below the state's, in which a probe makes its files; it has to be watched."""

_WAIT_S = 15.0
_SETTLE_S = 3.0
_NOT_PROBED: dict[Kind, str] = {
    "account": "not probed: it would change this host's accounts",
    "persistence": "not probed: it would make something run again",
    "privilege": "not probed: it would look like an attack",
    "kernel": "not probed: it would change the kernel or the mounts",
}


class Outcome(Struct, frozen=True):
    """What became of one kind: `arrived` after `delay_ms` milliseconds, or not; None where it could not be probed."""

    kind: Kind
    arrived: bool | None
    detail: str
    delay_ms: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether something was done that never arrived."""
        return self.arrived is False


class SelfTest:
    """Runs probes: the first a few seconds after the start, then every `every_s` seconds. A companion of the watch.

    `provided` says what the host is watched for now, `folder` is where the probe makes its files.
    """

    def __init__(self, folder: Path, provided: Callable[[], Iterable[Kind]], every_s: float = 3600.0) -> None:
        self.outcomes: tuple[Outcome, ...] = ()
        self.finished_ns = 0
        self._folder = folder
        self._provided = provided
        self._every_s = every_s
        self._due = time.monotonic() + _SETTLE_S
        self._probe: subprocess.Popen[bytes] | None = None
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._done = False
        self._token = ""
        self._began_ns = 0
        self._deadline = 0.0
        self._awaited: set[Kind] = set()
        self._found: dict[Kind, Outcome] = {}

    @property
    def running(self) -> bool:
        """Whether a probe's traces are being waited for."""
        return self._probe is not None

    def note(self, events: Sequence[Event]) -> None:
        """Look for the probe's traces in `events`."""
        for event in events:
            kind = self._kind(event)
            if kind in self._awaited:
                delay_ms = round((time.time_ns() - max(self._began_ns, event.ts_ns)) / 1e6, 1)
                self._found[kind] = Outcome(kind, True, f"arrived as {event.category}", delay_ms)
                self._awaited.discard(kind)

    def care(self) -> Sequence[Told]:
        """Begin or end a test where it is time to; tell of what did not arrive."""
        now = time.monotonic()
        if self._probe is None:
            return self._begin(now) if now >= self._due else ()
        self._hear()
        if (self._awaited or not self._done) and now < self._deadline:
            return ()
        self._end(self._probe)
        return self._finish()

    def close(self) -> Sequence[Told]:
        """End the probe that may still run."""
        if self._probe is not None:
            self._end(self._probe)
        return ()

    def _begin(self, now: float) -> Sequence[Told]:
        self._token = f"shield-{secrets.token_hex(6)}"
        self._began_ns = time.time_ns()
        provided = frozenset(self._provided())
        self._awaited = {kind for kind in provided if kind not in _NOT_PROBED}
        self._found = {kind: Outcome(kind, None, why) for kind, why in _NOT_PROBED.items() if kind in provided}
        self._deadline = now + _WAIT_S
        self._due = now + self._every_s
        with suppress(OSError):  # it is watched from now on, or the probe says why there is none
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._start()
        except OSError as error:
            return (Tamper("the self-test could not be run", str(error)),)
        return ()

    def _start(self) -> None:
        """Start the probe, and a thread that waits for what it says. Raises OSError."""
        self._done, self._said = False, queue.SimpleQueue()
        command = [self._token, str(self._folder)]
        self._probe = child.start("shield.agent.probe", command, stdout=subprocess.PIPE)
        if self._probe.stdout is not None:
            Thread(target=_listen, args=(self._probe.stdout, self._said.put), daemon=True).start()

    def _end(self, probe: "subprocess.Popen[bytes]") -> None:
        """End the probe, which has done all that it could, or had its time."""
        probe.kill()
        probe.wait()
        self._probe = None

    def _hear(self) -> None:
        """Await no more what the probe says it was not let do."""
        while not self._said.empty():
            word, _, why = self._said.get().partition(" ")
            self._done |= word == DONE
            if word in self._awaited:
                self._awaited.discard(word)
                self._found[word] = Outcome(word, None, f"not probed: {why}")

    def _finish(self) -> Sequence[Told]:
        failed = [Outcome(kind, False, f"nothing arrived within {_WAIT_S:g} s") for kind in sorted(self._awaited)]
        self._awaited = set()
        before = {one.kind for one in self.outcomes if one.failed}
        self.outcomes = (*sorted(self._found.values(), key=lambda one: one.kind), *failed)
        self.finished_ns = time.time_ns()
        mended = before - {one.kind for one in failed}
        told: list[Told] = [Tamper("the self-test failed", f"{one.kind}: {one.detail}") for one in failed]
        return [*told, *([Change(f"the self-test works again: {', '.join(sorted(mended))}")] if mended else [])]

    def _kind(self, event: Event) -> Kind | None:
        """Return the kind of what the probe did and `event` tells of, None for what is none of its doing."""
        data = event.data
        match event.category:
            case "process_start" if data.process is not None and self._token in data.process.cmdline:
                return "process"
            case "network_connection" if self._is_the_probe(event):
                return "network"
            case "dns_query" if data.dns is not None and data.dns.query.rstrip(".") == name_asked_for(self._token):
                return "dns"
            case "file_create" | "file_write" | "file_rename" | "file_delete" if data.file is not None:
                return "file" if self._token in data.file.path else None
            case _:
                return "identity" if data.log is not None and self._token in data.log.message else None

    def _is_the_probe(self, event: Event) -> bool:
        process = event.data.process
        return process is not None and self._probe is not None and process.pid == self._probe.pid


def _listen(stream: IO[bytes], tell: Callable[[str], None]) -> None:
    """Pass on each line of `stream` until it ends, and close it."""
    with stream:
        for line in stream:
            tell(line.decode("utf-8", "replace").strip())
