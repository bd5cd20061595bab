"""Observations become events: joined to the process that did it, to those above it, and to its story.

Where a source can't know who changed a file, whoever wrote that file last, a moment ago, did: another source saw it.
"""

import msgspec

from shield.event import Ancestor, Category, Data, Event, File, Process
from shield.normalizer.lineage import Lineage, Node
from shield.normalizer.origin import Origin
from shield.normalizer.package_work import package_manager
from shield.record import Actor, Observation

_OF_FILES: frozenset[Category] = frozenset(
    ("file_create", "file_write", "file_rename", "file_delete", "file_attribute")
)
_WRITERS_MOST = 4096
_WRITERS_KEPT_NS = 60_000_000_000
_DOERS: frozenset[Category] = frozenset(
    (
        *("network_connection", "network_flow", "network_listen", "dns_query"),
        *_OF_FILES,
        *("privilege_change", "account_change", "persistence_change"),
    )
)
"""What somebody must have done: where nobody is known, that is a gap."""


class Writers:
    """Who wrote which file last: the latest few thousand, for a minute."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, Actor]] = {}

    def note(self, path: str, ts_ns: int, actor: Actor) -> None:
        """Remember that `actor` wrote `path` at `ts_ns`."""
        self._last.pop(path, None)
        self._last[path] = ts_ns, actor
        if len(self._last) > _WRITERS_MOST:
            del self._last[next(iter(self._last))]

    def of(self, path: str, ts_ns: int) -> Actor | None:
        """Return who wrote `path` within the minute around `ts_ns`."""
        written_ns, actor = self._last.get(path, (0, None))
        return actor if abs(ts_ns - written_ns) <= _WRITERS_KEPT_NS else None


class ObservationNormalizer:
    """Turns observations of one host into events, by the process tree that its process records make."""

    def __init__(self, origin: Origin, lineage: Lineage) -> None:
        self._origin = origin
        self._lineage = lineage
        self._writers = Writers()

    def event(self, seen: Observation) -> Event:
        """Return the event of an observation."""
        actor = seen.actor or self._writer(seen)
        if seen.file is not None and seen.actor is not None:
            self._writers.note(seen.file.path, seen.ts_ns, seen.actor)
        node = self._lineage.doer(actor.pid, actor.start_ticks, ended=actor.ended) if actor else None
        process = node.doing() if node is not None else None
        gaps = seen.gaps
        if process is None:
            process = _as_the_source_saw_it(actor)
            if seen.category in _DOERS:
                gaps = (*gaps, _unknown(actor))
        above = node.above if node else ()
        data = Data(
            process=process,
            parent=node.parent if node else None,
            ancestors=above,
            user=seen.user or (node.user if node else None) or (actor.user if actor else None),
            container=seen.container or (node.container if node else None),
            file=_file(seen, process, above),
            network=seen.network,
            dns=seen.dns,
            auth=seen.auth,
            account=seen.account,
            persistence=seen.persistence,
            privilege=seen.privilege,
            module=seen.module,
            system=seen.system,
        )
        return self._origin.draft(seen.category, seen.ts_ns, data, _story(node), gaps)

    def _writer(self, seen: Observation) -> Actor | None:
        path = seen.persistence.path if seen.persistence else seen.file.path if seen.file else ""
        return self._writers.of(path, seen.ts_ns) if path else None


def _file(seen: Observation, process: Process | None, above: tuple[Ancestor, ...]) -> File | None:
    """Return the file that a file event is about, with the package manager that was at work, if one was."""
    if seen.file is None or seen.category not in _OF_FILES:
        return None
    manager = package_manager(process, above)
    return msgspec.structs.replace(seen.file, package_manager=manager) if manager else seen.file


def _as_the_source_saw_it(actor: Actor | None) -> Process | None:
    if actor is None:
        return None
    entity_id = f"{actor.pid}-{actor.start_ticks}" if actor.start_ticks else ""
    shown = actor.process or Process(pid=actor.pid)
    return msgspec.structs.replace(shown, pid=actor.pid, entity_id=entity_id)


def _unknown(actor: Actor | None) -> str:
    if actor is None:
        return "the process that did it is not known"
    return (
        f"pid {actor.pid} ended before /proc was read" if actor.ended else f"the start of pid {actor.pid} was not seen"
    )


def _story(node: Node | None) -> str:
    return node.story if node else ""
