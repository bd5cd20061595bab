"""The sources of the platform this runs on: the one place that knows which folder is this platform's."""

import sys
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from shield.agent.configuration import Configuration
from shield.agent.enrichment import Enrichment
from shield.agent.feed import Feed
from shield.agent.feeds import Feeds
from shield.agent.state import Remembered
from shield.collector.options import SourceOptions
from shield.collector.select import Group, only
from shield.collector.source import Kind, Remembering
from shield.record import ProcessSnapshot

if sys.platform == "linux":
    from shield.collector.linux import sources as platform
else:
    from shield.collector import portable as platform


_POSITION_SAVED_S = 1.0


class HostSources:
    """What this host is watched with, as the settings want it; nothing is open yet.

    Raises ValueError for a source that isn't known here, or a place that can't be watched.
    """

    def __init__(self, settings: Configuration, extra_places: Sequence[str] = ()) -> None:
        options = _options(settings, extra_places)
        self.kinds = options.kinds
        self._platform = platform.Sources(options)
        self.groups = self._platform.groups()
        if settings.source.use != "auto":
            first, *rest = self.groups
            self.groups = [Group(first.kind, only(first.candidates, settings.source.use)), *rest]
        self._provenances = self._platform.provenances() if settings.provenance.enabled else None
        self.enrichment = Enrichment(self._provenances) if self._provenances is not None else None

    def feeds(self, window_ns: int) -> Feeds:
        """Return the feeds of this host; a loss taints evidence for `window_ns`."""
        return Feeds([Feed(group.kind, group.candidates, window_ns) for group in self.groups])

    def remembered(self) -> list[Remembered]:
        """Return what sources remember from one run to the next."""
        sources = [source for group in self.groups for source in group.candidates]
        kept: dict[str, Remembering] = {one.name: one for one in sources if isinstance(one, Remembering)}
        if self._provenances is not None:
            kept["provenance"] = self._provenances
        told = [Remembered(name, one.state, one.restore) for name, one in kept.items()]
        # How far a log was read is kept at once: what was told must not be told again after a crash.
        return [replace(one, every_s=_POSITION_SAVED_S) if one.name == "identity" else one for one in told]

    def snapshot(self) -> Iterator[ProcessSnapshot]:
        """Yield the processes that run now, parents first."""
        return self._platform.snapshot()


def _options(settings: Configuration, extra_places: Sequence[str]) -> SourceOptions:
    source, files = settings.source, settings.files
    own = {"shield": tuple(extra_places)} if extra_places else {}
    return SourceOptions(
        kinds=_kinds(settings),
        ring_bytes=source.ring_bytes,
        args_limit=source.args_limit,
        poll_seconds=source.poll_seconds,
        places=files.places | own,
        exclude=files.exclude,
        hash_bytes=files.hash_bytes,
        logs=settings.identity.logs,
        program_bytes=settings.provenance.max_bytes,
    )


def _kinds(settings: Configuration) -> frozenset[Kind]:
    wanted: dict[Kind, bool] = {
        "process": True,
        "network": settings.network.enabled,
        "dns": settings.network.enabled,
        "file": settings.files.enabled,
        "identity": settings.identity.enabled,
        "account": settings.identity.enabled,
        "persistence": settings.persistence.enabled,
        "privilege": settings.kernel.enabled,
        "kernel": settings.kernel.enabled,
    }
    return frozenset(kind for kind, enabled in wanted.items() if enabled)
