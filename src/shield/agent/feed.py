"""One stream of telemetry, kept flowing: the best source that works here, and after its death the best that is left.

A feed counts what became of every record, over the lives of all its sources. While none of them works it gives nothing
and tries again, in growing pauses; how long it was down is told when it is over.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from shield.agent.losses import Losses
from shield.collector.select import open_first
from shield.collector.source import Count, Kind, Source, SourceUnavailable
from shield.event import Event, Ledger, Loss
from shield.record import Record

_PAUSE_S, _PAUSE_MOST_S = 1.0, 60.0
_LAST_S, _LAST_POLL_S = 1.0, 0.01
"""How long to wait at the end for what was captured and isn't ready yet, and how often to look."""

_NOTHING = Count(seen=0, filtered={}, dropped={}, pending=0)


class Feed:
    """The `candidates` for telemetry of one `kind`, best first. `window_ns` is how long a loss taints evidence."""

    def __init__(self, kind: Kind, candidates: Sequence[Source], window_ns: int) -> None:
        self.kind = kind
        self.source: Source | None = None
        self.refused: tuple[SourceUnavailable, ...] = ()
        self.lives = 0
        self.blind_spots: tuple[str, ...] = ()
        self.kept = self.truncated = self.unattributed = 0
        self.folded: Counter[str] = Counter()
        self._candidates = candidates
        self._name = candidates[0].name if candidates else kind
        self._past = self._latest = _NOTHING
        self._losses = Losses(self._name, self._dropped, self._remedies(), window_ns)
        self._down_ns = 0
        self._death = ""
        self._pause_s = _PAUSE_S
        self._again = 0.0
        self._due = 0.0

    @property
    def name(self) -> str:
        """What the ledger calls it: the source in use, or the one that was last."""
        return self._name

    @property
    def provides(self) -> frozenset[Kind]:
        """What comes from here now."""
        return self.source.provides if self.source is not None else frozenset()

    def taint(self, window_ns: int) -> None:
        """Let a loss taint the evidence of what follows for so long."""
        self._losses.window_ns = window_ns

    def open(self) -> None:
        """Open the best source that works. Raises SourceUnavailable, with the reasons of all, for none."""
        try:
            selection = open_first(self._candidates)
        except SourceUnavailable as refusal:
            self.refused = (refusal,)
            raise
        self.source, self.refused = selection.source, selection.refused
        self.lives += 1
        self._name, self.blind_spots = self.source.name, self.source.blind_spots
        self._losses.source = self._name
        self._due = self._next(self.source, time.monotonic())

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable, None for a feed that is polled or down."""
        return self.source.fileno() if self.source is not None else None

    @property
    def polled(self) -> bool:
        """Whether the source in use has to be asked, for it doesn't call."""
        return self.source is not None and self.source.interval is not None

    def wait_s(self, now: float) -> float:
        """Return how long, from the monotonic time `now`, a polled feed can still wait; infinite for the others."""
        source = self.source
        if source is None or source.interval is None:
            return float("inf")
        return max(0.0, self._due - now)

    def read(self) -> list[Record]:
        """Return the next records; of a polled source, when they are due. A source that has died gives none."""
        source = self.source
        if source is None:
            return []
        if source.interval is None:
            return self._read(source)
        now = time.monotonic()
        if now < self._due:
            return []
        records = self._read(source)
        self._due = self._next(source, now)
        return records

    def last(self) -> Iterator[list[Record]]:
        """Yield what was captured until now, in batches, capturing no more; then close."""
        source = self.source
        if source is None:
            return
        yield self._read(source)  # a polled source sees only what is there when it is asked
        if self.source is not None:
            self._stop(source)
        end = time.monotonic() + _LAST_S
        while self.source is not None:
            if records := self._read(source):
                yield records
            elif self._count().pending and time.monotonic() < end:
                time.sleep(_LAST_POLL_S)  # something is still being worked out, such as a file's hash
            else:
                break
        self.close()

    def care(self, now_ns: int) -> Sequence[Loss]:
        """Bring a dead source back where it is time to; return what was lost since the last call."""
        return [loss for loss in (self._losses.news(now_ns), self._revived(now_ns)) if loss is not None]

    def gaps(self, event: Event) -> tuple[str, ...]:
        """Return what the evidence of `event` may lack because of this feed."""
        if self._down_ns:
            return (f"{self._name} has been down since {self._death}",)
        return self._losses.gaps(event)

    def ledger(self) -> Ledger:
        """Return what became of every record so far."""
        count = self._count()
        return Ledger(
            source=self._name,
            seen=count.seen,
            kept=self.kept,
            filtered=count.filtered,
            folded=dict(self.folded),
            dropped=count.dropped,
            pending=count.pending,
            truncated=self.truncated,
            unattributed=self.unattributed,
        )

    def close(self) -> None:
        """Close the source; its counts stay. May be called twice."""
        source, self.source = self.source, None
        if source is not None:
            with suppress(OSError):  # what has died may fail at its end as well
                source.close()
            with suppress(OSError):
                self._latest = source.count()
            self._past, self._latest = _sum(self._past, self._latest), _NOTHING

    def _count(self) -> Count:
        """Return the counts of all sources so far; one that can't even count any more has died."""
        if self.source is not None:
            try:
                self._latest = self.source.count()
            except OSError as error:
                self._die(error)
        return _sum(self._past, self._latest)

    def _stop(self, source: Source) -> None:
        try:
            source.stop()
        except OSError as error:
            self._die(error)

    def _next(self, source: Source, now: float) -> float:
        """Return when to read a polled source next: at once where it has more."""
        return now if not source.interval or self._count().pending else now + source.interval

    def _read(self, source: Source) -> list[Record]:
        try:
            return source.read()
        except OSError as error:
            self._die(error)
            return []

    def _die(self, error: OSError) -> None:
        self._down_ns = time.time_ns()
        self._death = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} ({error.strerror or error})"
        self._again = time.monotonic()
        self.close()

    def _revived(self, now_ns: int) -> Loss | None:
        """Return the gap, bounded, where this ended it."""
        if not self._down_ns or time.monotonic() < self._again:
            return None
        before = self._name
        try:
            self.open()
        except SourceUnavailable:
            self._again = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _PAUSE_MOST_S)
            return None
        began, self._down_ns, self._pause_s = self._down_ns, 0, _PAUSE_S
        remedy = f"Look in the kernel's log for why {before} died; {self._name} took over."
        return Loss(source=before, dropped={"source_died": 1}, remedy=remedy, from_ns=began, until_ns=now_ns)

    def _dropped(self) -> dict[str, int]:
        return self._count().dropped

    def _remedies(self) -> dict[str, str]:
        return {reason: remedy for source in self._candidates for reason, remedy in source.remedies.items()}


def _sum(past: Count, latest: Count) -> Count:
    """Return what both count; of what is pending, what is so now."""
    return Count(
        seen=past.seen + latest.seen,
        filtered=dict(Counter(past.filtered) + Counter(latest.filtered)),
        dropped=dict(Counter(past.dropped) + Counter(latest.dropped)),
        pending=latest.pending,
    )
