"""The sources of the platform this runs on: the one place that knows which folder is this platform's."""

import sys
from collections.abc import Iterator

from shield.agent.configuration import SourceSettings
from shield.agent.feed import Feed
from shield.agent.feeds import Feeds
from shield.collector.select import Group, only
from shield.record import ProcessSnapshot

if sys.platform == "linux":
    from shield.collector.linux import sources as platform
else:
    from shield.collector import portable as platform


def groups(settings: SourceSettings) -> list[Group]:
    """Return the sources that the settings allow, by what they tell of, none opened.

    Raises ValueError for one not known here.
    """
    found = platform.groups(platform.SourceOptions(settings.ring_bytes, settings.args_limit, settings.poll_seconds))
    if settings.use == "auto":
        return found
    first, *rest = found
    return [Group(first.kind, only(first.candidates, settings.use)), *rest]


def feeds(settings: SourceSettings, window_ns: int) -> Feeds:
    """Return the feeds of this host, none opened; a loss taints evidence for `window_ns`. Raises ValueError."""
    return Feeds([Feed(group.kind, group.candidates, window_ns) for group in groups(settings)])


def snapshot() -> Iterator[ProcessSnapshot]:
    """Yield the processes that run now, parents first."""
    return platform.snapshot()
