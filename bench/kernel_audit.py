"""The kernel's audit system: borrowed while nobody else uses it, and given back exactly as it was.

A host has one. It is borrowed only while no daemon is registered and no rule is loaded (`auditctl -s`, `-l`).
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from bench.daemon import NotRunning, undisturbed

_POLITE_S = 240.0
_LOOK_S = 1.0


class Status(Struct, frozen=True):
    """What `auditctl -s` reports, as far as it can be set or matters here; see auditctl(8)."""

    enabled: int
    failure: int
    pid: int
    rate_limit: int
    backlog_limit: int
    lost: int
    backlog: int
    backlog_wait_time: int


class NotRestored(Exception):
    """The audit system isn't as it was before; says in what."""


def status() -> Status:
    """Return the state of the kernel's audit system. Raises NotRunning without the privilege."""
    fields = dict(line.split()[:2] for line in control("-s").splitlines() if len(line.split()) > 1)
    return Status(**{name: int(fields[name]) for name in Status.__struct_fields__})


def rules() -> str:
    """Return the loaded rules, nothing where there are none."""
    listed = control("-l").strip()
    return "" if listed == "No rules" else listed


def control(*arguments: str) -> str:
    """Run auditctl; return what it prints. Raises NotRunning where it refuses."""
    done = subprocess.run(["auditctl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRunning(f"auditctl {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


@contextmanager
def borrowed() -> Iterator[Status]:
    """Wait for the audit system to be free, lend it out, restore its settings.

    Raises NotRunning where it isn't free after four minutes, NotRestored where it couldn't be given back as it was.
    """
    before = _when_free()
    try:
        yield before
    finally:
        with undisturbed():
            _restore(before)


def _when_free() -> Status:
    end = time.monotonic() + _POLITE_S
    while (now := status()).pid or rules():
        if time.monotonic() > end:
            raise NotRunning(
                f"the kernel's audit system is in use (daemon {now.pid}, rules: {rules() or 'none'}); "
                "stop that audit daemon and unload its rules, or measure on another host"
            )
        time.sleep(_LOOK_S)
    return now


def _restore(before: Status) -> None:
    control("-e", str(before.enabled), "-f", str(before.failure), "-r", str(before.rate_limit))
    control("-b", str(before.backlog_limit), "--backlog_wait_time", str(before.backlog_wait_time))
    if not before.lost:
        control("--reset-lost")
    now = status()
    changed = [
        name
        for name in ("enabled", "failure", "pid", "rate_limit", "backlog_limit", "backlog_wait_time")
        if getattr(now, name) != getattr(before, name)
    ]
    if changed or rules():
        raise NotRestored(f"the kernel's audit system was {before}, is now {now}; rules: {rules() or 'none'}")
