"""The agent about itself: heartbeats, losses, tampering, and the balance of what it has seen."""

import time
from pathlib import Path
from typing import NamedTuple

import psutil

from shield.agent.identity import Identity
from shield.event import Action, Category, Data, Event, Health, Ledger, Loss, Severity, Tamper, uuid7


class _Standing(NamedTuple):
    """How much an event about the agent itself matters."""

    category: Category
    action: Action
    score: int
    severity: Severity
    rationale: str


_HEARTBEAT = _Standing("heartbeat", "ALLOW", 0, "informational", "low_signal")
_LOSS = _Standing("loss", "WATCH", 40, "medium", "telemetry_loss")
_TAMPER = _Standing("tamper", "ALERT", 70, "high", "tamper")


class Usage:
    """The CPU time and memory of this process since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._cpu = time.process_time()

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def cpu_s(self) -> float:
        """CPU seconds used since the start, user and system."""
        return time.process_time() - self._cpu

    @property
    def rss_bytes(self) -> int:
        """The memory that is resident now; 0 where the host doesn't show it."""
        try:
            return psutil.Process().memory_info().rss
        except psutil.Error:
            return 0

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory that was resident."""
        # getrusage(2) would count what ran in this process before it became Shield, such as a shell or a test runner.
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            return self.rss_bytes
        return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024


def notice(identity: Identity, content: Health | Loss | Tamper, now_ns: int, random_bits: int) -> Event:
    """Return an event about the agent itself, without its sequence number."""
    match content:
        case Health():
            standing, data = _HEARTBEAT, Data(health=content)
        case Loss():
            standing, data = _LOSS, Data(loss=content)
        case Tamper():
            standing, data = _TAMPER, Data(tamper=content)
    return Event(
        ts=now_ns // 1_000_000_000,
        host=identity.host,
        category=standing.category,
        action=standing.action,
        score=standing.score,
        rationale=standing.rationale,
        data=data,
        policy_version="",
        dedupe_key=f"{standing.category}:{identity.agent_id}",
        correlation_id=identity.agent_id,
        event_id=uuid7(now_ns // 1_000_000, random_bits),
        ts_ns=now_ns,
        os=identity.os,
        severity=standing.severity,
    )


def imbalance(ledger: Ledger) -> int:
    """Return how many records of a ledger have no known fate: 0 when it balances."""
    return ledger.seen - ledger.accounted
