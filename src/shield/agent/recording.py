"""Recorded telemetry, in whatever format, as events without a verdict."""

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from shield.collector.replay.damage import Damaged
from shield.collector.replay.detect import open_reader
from shield.event import Event, Ledger
from shield.normalizer.lineage import Lineage
from shield.normalizer.log import LogNormalizer
from shield.normalizer.recorded import RecordedNormalizer
from shield.record import LogRecord

_RANDOM_BITS = 74


class Recording:
    """Reads files one after the other, as one stream of events; `on_damage` is told of every part that is no event."""

    def __init__(self, on_damage: Callable[[Damaged], None]) -> None:
        self._events = RecordedNormalizer(Lineage("replay"))
        self._logs = LogNormalizer()
        self._on_damage = on_damage
        self._seen = self._damaged = 0

    def drafts(self, file: BinaryIO, source: str) -> Iterator[Event]:
        """Yield what is in `file`, whose name is `source`. Raises UnknownFormat, and OSError where reading fails."""
        for raw, item in open_reader(file, source).items:
            self._seen += 1
            if isinstance(item, Damaged):
                self._damaged += 1
                self._on_damage(item)
            elif isinstance(item, LogRecord):
                yield self._logs.event(item, self._bits(raw))
            else:
                yield self._events.event(item, self._bits(raw))

    @property
    def ledger(self) -> Ledger:
        """What became of everything that was read so far."""
        dropped = {"not_an_event": self._damaged} if self._damaged else {}
        return Ledger(source="replay", seen=self._seen, kept=self._seen - self._damaged, dropped=dropped)

    def _bits(self, raw: bytes) -> int:
        """Return what makes the id of an event without one: its text and its place, so that each run gives the same."""
        digest = hashlib.blake2b(raw + self._seen.to_bytes(8, "big"), digest_size=16).digest()
        return int.from_bytes(digest, "big") & (1 << _RANDOM_BITS) - 1
