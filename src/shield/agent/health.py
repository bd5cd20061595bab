"""The agent about itself: heartbeats, losses, and the balance of what it has seen."""

import resource
import sys
import time
from typing import Literal

from shield.agent.identity import Identity
from shield.event import Category, Data, Event, Health, Ledger, Loss, uuid7

_NOTICE: dict[Category, tuple[Literal["ALLOW", "WATCH"], int, Literal["informational", "medium"], str]] = {
    "heartbeat": ("ALLOW", 0, "informational", "low_signal"),
    "loss": ("WATCH", 40, "medium", "telemetry_loss"),
}


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
    def peak_rss_bytes(self) -> int:
        """The most memory that was resident (getrusage(2): kilobytes on Linux, bytes on macOS)."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def notice(identity: Identity, content: Health | Loss, now_ns: int, random_bits: int) -> Event:
    """Return a heartbeat or loss event, without its sequence number."""
    category: Category = "heartbeat" if isinstance(content, Health) else "loss"
    action, score, severity, rationale = _NOTICE[category]
    data = Data(health=content) if isinstance(content, Health) else Data(loss=content)
    return Event(
        ts=now_ns // 1_000_000_000,
        host=identity.host,
        category=category,
        action=action,
        score=score,
        rationale=rationale,
        data=data,
        policy_version="",
        dedupe_key=f"{category}:{identity.agent_id}",
        correlation_id=identity.agent_id,
        event_id=uuid7(now_ns // 1_000_000, random_bits),
        ts_ns=now_ns,
        os=identity.os,
        severity=severity,
    )


def imbalance(ledger: Ledger) -> int:
    """Return how many records of a ledger have no known fate: 0 when it balances."""
    return ledger.seen - ledger.accounted
