"""How the watch is doing: what it has used, what became of every record, and what the budget makes it give up."""

import os
import time
from collections.abc import Sequence

from shield import __version__
from shield.agent.budget import Shedding, Stage, Usage
from shield.agent.companion import Change, Told
from shield.agent.health import Usage as Consumption
from shield.agent.parts import Parts
from shield.agent.producers import Producers
from shield.agent.status import Status
from shield.event import Event, Health, Ledger
from shield.normalizer.process import SNAPSHOT_FOLDED

NOTHING_NEW = "nothing_new"
"""What an event is folded for that was judged again, in the light of more, to the same end."""

_SNAPSHOT = "procfs_snapshot"
_GIVING_UP = {
    Stage.FULL: "",
    Stage.FOLDING: "repeats of events without a signal are counted, not kept",
    Stage.COUNTING: "events without a signal are counted, not kept",
}


class Vitals:
    """Follows one watch. `known` processes ran before it began."""

    def __init__(self, parts: Parts) -> None:
        self.usage = Consumption()
        self.known = 0
        self._parts = parts
        self._shedding = Shedding()
        self._producers = Producers()

    def keeps(self, event: Event) -> bool:
        """Count a finished event; return whether it is to be written."""
        self._producers.note(event)
        return self._shedding.stage is Stage.FULL or self._shedding.keeps(event)

    def left_out(self, reason: str) -> None:
        """Count a finished event that is not written."""
        self._shedding.shed[reason] += 1

    def care(self) -> Sequence[Told]:
        """Keep to the budget; tell where that changes what is kept. Once a second."""
        budget = self._parts.budget
        if budget is None or not budget.note(Usage(time.monotonic(), self.usage.cpu_s, self.usage.rss_bytes)):
            return ()
        self._shedding.stage = budget.stage
        return (Change(f"resource budget: {_GIVING_UP[budget.stage] or 'everything is kept again'}"),)

    def fade(self) -> None:
        """Let older events count less in who makes most of them. Once a heartbeat."""
        self._producers.fade()

    def health(self, changes: tuple[str, ...] = ()) -> Health:
        """Return what a heartbeat says."""
        parts = self._parts
        tally = parts.pipeline.tally
        return Health(
            version=__version__,
            uptime_s=round(self.usage.uptime_s, 3),
            cpu_s=round(self.usage.cpu_s, 3),
            rss_bytes=self.usage.peak_rss_bytes,
            source=", ".join(parts.feeds.names),
            rules=parts.pipeline.scorer.rules,
            events=dict(tally.categories),
            alerts=tally.actions.get("ALERT", 0),
            ledgers=self.ledgers(),
            blind_spots=parts.feeds.blind_spots,
            refused=tuple(str(refusal) for refusal in parts.feeds.refused),
            baseline=parts.baseline.status.summary if parts.baseline is not None else "",
            changes=changes,
        )

    def status(self) -> Status:
        """Return what `shield status` shows."""
        parts, budget, self_test = self._parts, self._parts.budget, self._parts.self_test
        return Status(
            host=parts.identity.host,
            pid=os.getpid(),
            written_ns=time.time_ns(),
            policy=parts.pipeline.policy.label,
            health=self.health(),
            cpu_percent=round(budget.share, 2) if budget is not None else 0.0,
            giving_up=_GIVING_UP[self._shedding.stage],
            shed=dict(self._shedding.shed),
            producers=self._producers.top(),
            self_test=self_test.outcomes if self_test is not None else (),
            self_test_ns=self_test.finished_ns if self_test is not None else 0,
        )

    def ledgers(self) -> tuple[Ledger, ...]:
        """Return what became of every record, by source, and of every event."""
        parts, known = self._parts, self.known
        writer = parts.writer
        return (
            *parts.feeds.ledgers(),
            Ledger(source=_SNAPSHOT, seen=known, folded={SNAPSHOT_FOLDED: known} if known else {}),
            Ledger(
                source="jsonl",
                seen=parts.pipeline.tally.events,
                kept=writer.written,
                folded=dict(self._shedding.shed),
                dropped=dict(writer.dropped),
                pending=writer.pending,
            ),
            *(one.ledger() for one in (parts.enrichment, parts.scanner) if one is not None),
        )
