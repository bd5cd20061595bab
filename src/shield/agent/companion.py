"""What works beside the watch: the watch looks after it once a second, and tells of what it has to tell."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from shield.event import Loss, Tamper


class Change(Struct, frozen=True):
    """Something the agent has changed about itself, in words."""

    text: str


Told = Change | Loss | Tamper


class Companion(Protocol):
    """Something that works beside the watch."""

    def care(self) -> Sequence[Told]:
        """Do what is due, return at once, and tell what there is to tell."""
        ...

    def close(self) -> Sequence[Told]:
        """Come to an end, and tell what there is left to tell."""
        ...
