"""The sources of the platform this runs on: the one place that knows which folder is this platform's."""

import sys
from collections.abc import Iterator

from shield.agent.configuration import SourceSettings
from shield.collector.select import Selection, only, open_first
from shield.collector.source import Source
from shield.record import ProcessSnapshot

if sys.platform == "linux":
    from shield.collector.linux import sources as platform
else:
    from shield.collector import portable as platform


def candidates(settings: SourceSettings) -> list[Source]:
    """Return the sources that the settings allow, best first, none opened. Raises ValueError for one not known here."""
    found = platform.candidates(platform.SourceOptions(settings.ring_bytes, settings.args_limit, settings.poll_seconds))
    return found if settings.use == "auto" else only(found, settings.use)


def select(settings: SourceSettings) -> Selection:
    """Open the best source there is. Raises SourceUnavailable with the reasons of all."""
    return open_first(candidates(settings))


def snapshot() -> Iterator[ProcessSnapshot]:
    """Yield the processes that run now, parents first."""
    return platform.snapshot()
