"""Recorded telemetry, in whatever format, as events without a verdict."""

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from shield.collector.replay.damage import Damaged, Item
from shield.collector.replay.detect import Items, open_reader
from shield.event import Event, Ledger
from shield.normalizer.lineage import Lineage
from shield.normalizer.log import LogNormalizer
from shield.normalizer.recorded import RecordedNormalizer
from shield.record import LogRecord

_RANDOM_BITS = 74
_AT_ONCE_BYTES = 1 << 16
"""So much is made events in one go: a stage's code and tables stay in the processor's caches meanwhile."""


class Recording:
    """Reads files one after the other, as one stream of events; `on_damage` is told of every part that is no event."""

    def __init__(self, on_damage: Callable[[Damaged], None]) -> None:
        self._events = RecordedNormalizer(Lineage("replay"))
        self._logs = LogNormalizer()
        self._on_damage = on_damage
        self._seen = self._damaged = 0

    def drafts(self, file: BinaryIO, source: str) -> Iterator[Event]:
        """Yield what is in `file`, whose name is `source`. Raises UnknownFormat, and OSError where reading fails."""
        enough = _AT_ONCE_BYTES if file.seekable() else 0  # what comes through a pipe is told without waiting for more
        for items in _batches(open_reader(file, source).items, enough):
            yield from [draft for raw, item in items if (draft := self._draft(raw, item)) is not None]

    def _draft(self, raw: bytes, item: Item) -> Event | None:
        self._seen += 1
        if isinstance(item, LogRecord):
            return self._logs.event(item, self._bits(raw))
        if isinstance(item, Damaged):
            self._damaged += 1
            self._on_damage(item)
            return None
        return self._events.event(item, self._bits(raw))

    @property
    def ledger(self) -> Ledger:
        """What became of everything that was read so far."""
        dropped = {"not_an_event": self._damaged} if self._damaged else {}
        return Ledger(source="replay", seen=self._seen, kept=self._seen - self._damaged, dropped=dropped)

    def _bits(self, raw: bytes) -> int:
        """Return what makes the id of an event without one: its text and its place, so that each run gives the same."""
        digest = hashlib.blake2b(raw + self._seen.to_bytes(8, "big"), digest_size=16).digest()
        return int.from_bytes(digest, "big") & (1 << _RANDOM_BITS) - 1


def _batches(items: Items, enough: int) -> Iterator[list[tuple[bytes, Item]]]:
    """Yield `items` in lists that hold `enough` bytes of text; those before an error come before it."""
    batch: list[tuple[bytes, Item]] = []
    held = 0
    try:
        for item in items:
            batch.append(item)
            held += len(item[0])
            if held >= enough:
                yield batch
                batch, held = [], 0
    except OSError:
        yield batch
        raise
    yield batch
