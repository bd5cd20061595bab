"""What the witnesses of logins have in common: each reads one kind of trace and says how far it has come."""

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from shield.collector.linux.identity.told_once import Rank
from shield.record import LogRecord

Testimony = Iterator[tuple[Rank, LogRecord]]


class Witness(Protocol):
    """A log, or a stream of the kernel's; `remedies` say what to do about each reason in `dropped`."""

    name: str
    remedies: dict[str, str]

    @property
    def seen(self) -> int:
        """How many records there were since it was made: the sum of what `read` yielded, `filtered` and `dropped`."""
        ...

    @property
    def filtered(self) -> Counter[str]:
        """What is left out on purpose, by reason."""
        ...

    @property
    def dropped(self) -> Counter[str]:
        """What was lost, by reason."""
        ...

    def open(self) -> None:
        """Begin, or go on from where it was. Raises SourceUnavailable."""
        ...

    def read(self) -> Testimony:
        """Yield what has come since, oldest first, a bounded number; never blocks. Raises OSError."""
        ...

    def state(self) -> bytes:
        """Return how far it has come."""
        ...

    def restore(self, state: bytes) -> None:
        """Go on from an earlier `state`; call it before `open`. Raises msgspec.MsgspecError for what is none."""
        ...

    def close(self) -> None:
        """Stop; `open` goes on from here. May be called twice."""
        ...
