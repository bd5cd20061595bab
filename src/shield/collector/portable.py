"""The sources of a platform that has no folder of its own yet: polling, and nothing else."""

from collections.abc import Iterator

from shield.collector.options import SourceOptions
from shield.collector.polling import PollingSource
from shield.collector.select import Group
from shield.record import ProcessSnapshot


class Sources:
    """Processes that are there at each poll."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options

    def groups(self) -> list[Group]:
        """Return the one source there is, not opened."""
        return [Group("process", [PollingSource(self._options.poll_seconds)])]

    def provenances(self) -> None:
        """Return nothing: no package database is known here."""

    def snapshot(self) -> Iterator[ProcessSnapshot]:
        """Return nothing: what runs before the first poll is not described here."""
        return iter(())
