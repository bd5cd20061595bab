"""The protocol every source of telemetry follows: open, read batches, stop, read what is left, close.

A source never blocks in `read` and never loses silently: whatever it could not deliver is in `count()`.
"""

from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from shield.record import Record

Kind = Literal["process", "network", "dns", "file", "identity", "account", "persistence", "privilege", "kernel"]
"""What a host is watched for."""


class SourceUnavailable(Exception):
    """This source cannot run on this host now. `reason` says why, `remedy` what would change that."""

    def __init__(self, source: str, reason: str, remedy: str) -> None:
        super().__init__(f"{source}: {reason}; {remedy}")
        self.source = source
        self.reason = reason
        self.remedy = remedy


class Count(Struct, frozen=True):
    """What a source has seen since it was opened, in records.

    `filtered` and `dropped` are by reason; `pending` records are captured but not read. What is left of `seen` was
    returned by `read`: seen = read + filtered + dropped + pending.
    """

    seen: int
    filtered: dict[str, int]
    dropped: dict[str, int]
    pending: int


class Source(Protocol):
    """A stream of raw records from the host."""

    @property
    def provides(self) -> frozenset[Kind]:
        """The kinds of telemetry it gives; of several sources that give the same kind, one is used."""
        ...

    @property
    def name(self) -> str:
        """Short name used in the ledger, for example `ebpf`."""
        ...

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """What this source can't see, each a sentence a user understands."""
        ...

    @property
    def remedies(self) -> dict[str, str]:
        """For each reason in `Count.dropped`, what the user can do about it."""
        ...

    @property
    def interval(self) -> float | None:
        """Seconds between reads for a source that must be polled; None where `fileno` becomes readable instead."""
        ...

    def open(self) -> None:
        """Start capturing. Raises SourceUnavailable; nothing is left behind then."""
        ...

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable when there is something to read, None for a polled source."""
        ...

    def read(self) -> list[Record]:
        """Return the records captured since the last call, oldest first, at most a bounded batch; never blocks.

        Raises OSError where the source has died; it can be closed and opened again then.
        """
        ...

    def count(self) -> Count:
        """Return the totals since `open`. After `close`, the final totals."""
        ...

    def stop(self) -> None:
        """Capture no more; what was captured before can still be read. May be called twice."""
        ...

    def close(self) -> None:
        """Stop, and remove everything this source set up in the kernel. May be called twice."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """What remembers something from one run to the next."""

    def state(self) -> bytes:
        """Return what to remember; also after `close`."""
        ...

    def restore(self, state: bytes) -> None:
        """Take in what `state` once gave, before `open`. Raises ValueError where it can't be used."""
        ...
