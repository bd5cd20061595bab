"""The host whose records are normalized, and the events that it gives: without a verdict yet."""

from collections.abc import Callable
from typing import NamedTuple

from shield.event import Category, Data, Event, Platform


class Origin(NamedTuple):
    """The host whose records are normalized."""

    host: str
    os: Platform
    new_id: Callable[[int], str]
    """Gives each event its id, from its time in Unix nanoseconds."""

    def draft(self, category: Category, ts_ns: int, data: Data, story: str, gaps: tuple[str, ...]) -> Event:
        """Return an event without a verdict: action ALLOW, score 0, no signals, no sequence number."""
        return Event(
            ts=ts_ns // 1_000_000_000,
            host=self.host,
            category=category,
            action="ALLOW",
            score=0,
            rationale="low_signal",
            data=data,
            policy_version="",
            dedupe_key="",
            correlation_id=story,
            event_id=self.new_id(ts_ns),
            ts_ns=ts_ns,
            os=self.os,
            evidence_complete=not gaps,
            gaps=gaps,
        )
