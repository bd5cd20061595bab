"""The sources of a platform that has no folder of its own yet: polling, and nothing else."""

from collections.abc import Iterator

from msgspec import Struct

from shield.collector.polling import PollingSource
from shield.collector.select import Group
from shield.record import ProcessSnapshot


class SourceOptions(Struct, frozen=True):
    """The time between polls in seconds; sizes have no meaning here and are taken as they come."""

    ring_bytes: int = 0
    args_limit: int = 0
    poll_seconds: float = 1.0


def groups(options: SourceOptions) -> list[Group]:
    """Return the one source there is, not opened."""
    return [Group("process", [PollingSource(options.poll_seconds)])]


def snapshot() -> Iterator[ProcessSnapshot]:
    """Return nothing: what runs before the first poll is not described here."""
    return iter(())
