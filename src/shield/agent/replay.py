"""Replaying recorded events through the stages: the same input gives the same output, but for the agent's id."""

import hashlib
from collections.abc import Callable, Iterable
from typing import BinaryIO

from msgspec import Struct

from shield.agent.losses import Losses
from shield.agent.pipeline import Pipeline, Tally
from shield.collector.replay.damage import Damaged
from shield.collector.replay.jsonl import read
from shield.event import Event, Ledger
from shield.normalizer.recorded import RecordedNormalizer

_RANDOM_BITS = 74


class Replayed(Struct, frozen=True):
    """What a replay has done."""

    tally: Tally
    ledger: Ledger


class Replay:
    """Feeds recorded events to a pipeline. `on_damage` is told of every line that is no event."""

    def __init__(
        self, normalizer: RecordedNormalizer, pipeline: Pipeline, on_damage: Callable[[Damaged], None]
    ) -> None:
        self._normalizer = normalizer
        self._pipeline = pipeline
        self._on_damage = on_damage
        self._seen = self._damaged = 0

    def events(self, file: BinaryIO, source: str) -> Iterable[Event]:
        """Yield the finished event of each line in `file`, whose name is `source`."""
        for line, recorded in read(file, source):
            self._seen += 1
            if isinstance(recorded, Damaged):
                self._damaged += 1
                self._on_damage(recorded)
            else:
                yield self._pipeline.finish(self._normalizer.event(recorded, self._bits(line)))

    def summary(self) -> Replayed:
        """Return the totals so far."""
        dropped = {"not_an_event": self._damaged} if self._damaged else {}
        kept = self._pipeline.tally.events
        return Replayed(self._pipeline.tally, Ledger(source="replay", seen=self._seen, kept=kept, dropped=dropped))

    def _bits(self, line: bytes) -> int:
        """Return what makes the id of an event without one: its line and its place, so that each run gives the same."""
        digest = hashlib.blake2b(line + self._seen.to_bytes(8, "big"), digest_size=16).digest()
        return int.from_bytes(digest, "big") & (1 << _RANDOM_BITS) - 1


class RecordedLosses:
    """Holds the losses that the recorded events tell of against the alerts after them."""

    def __init__(self, window_ns: int) -> None:
        self._dropped: dict[str, int] = {}
        self._losses = Losses("the recorded source", lambda: self._dropped, {}, window_ns)

    def note(self, event: Event) -> None:
        """Take in one event, in its order."""
        if event.data.loss is None:
            return
        for reason, number in event.data.loss.dropped.items():
            self._dropped[reason] = self._dropped.get(reason, 0) + number
        self._losses.news(event.ts_ns)

    def gaps(self, event: Event) -> tuple[str, ...]:
        """Return what the evidence of `event` may lack."""
        return self._losses.gaps(event)
