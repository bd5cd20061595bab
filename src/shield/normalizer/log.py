"""Log records become events: understood by their platform's rules, and joined into stories as live processes are.

Each host has a process tree of its own, for pids mean nothing beyond their host. A process enters the tree with its
start, or with the first record that names it: as its own doer or as a parent. So what one process does and what its
children do is one story, whether or not its start was recorded.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping

import msgspec

from shield.event import Data, Event, Log, Platform, Process, User, uuid7
from shield.normalizer import linux_log, windows_log
from shield.normalizer.interpretation import Interpretation
from shield.normalizer.lineage import Lineage, Node
from shield.record import LogRecord

_SECOND_NS = 1_000_000_000
_TICKS = 100
_HOSTS_MOST = 256
_PROCESSES_MOST = 32_768
_NOBODY = User()
_GUID_LENGTH = 36

_INTERPRETERS: dict[Platform, Callable[[LogRecord], Interpretation]] = {
    "windows": windows_log.interpret,
    "linux": linux_log.interpret,
}


class LogNormalizer:
    """Turns log records, in their order, into events without a verdict.

    `scope` names the run: it makes the stories of one differ from another's. The trees of the hosts longest untouched
    are forgotten where there are very many. `lineages` are the trees of hosts that are known from elsewhere.
    """

    def __init__(self, scope: str = "replay", lineages: Mapping[str, Lineage] | None = None) -> None:
        self._scope = scope
        known = (lineages or {}).items()
        self._lineages: OrderedDict[str, Lineage] = OrderedDict((host.casefold(), lineage) for host, lineage in known)
        self._host = ""
        self._lineage = Lineage(scope)

    def event(self, record: LogRecord, random_bits: int) -> Event:
        """Return the event of a record; `random_bits` (74) complete its id."""
        reading = _INTERPRETERS[record.os](record)
        if record.host != self._host:
            self._turn_to(record.host)
        data, story = self._joined(record, reading)
        ts_ns = record.ts_ns
        gaps = record.gaps + reading.gaps
        return Event(
            ts=ts_ns // _SECOND_NS,
            host=record.host,
            category=reading.category,
            action="ALLOW",
            score=0,
            rationale="low_signal",
            data=data,
            policy_version="",
            dedupe_key="",
            correlation_id=story,
            event_id=uuid7(ts_ns // 1_000_000, random_bits),
            ts_ns=ts_ns,
            os=record.os,
            evidence_complete=not gaps,
            gaps=gaps,
        )

    def _turn_to(self, host: str) -> None:
        key = host.casefold()
        lineage = self._lineages.pop(key, None)
        if lineage is None:
            lineage = Lineage(f"{self._scope}:{key}", _PROCESSES_MOST)
            if len(self._lineages) >= _HOSTS_MOST:
                self._lineages.popitem(last=False)
        self._lineages[key] = lineage
        self._host, self._lineage = host, lineage

    def _joined(self, record: LogRecord, reading: Interpretation) -> tuple[Data, str]:
        process, parent, ancestors = reading.process, None, ()
        node = None
        if process is not None and process.pid:
            if reading.category == "process_start":
                node = self._started(process, reading)
                parent, ancestors = node.parent, node.above
            elif reading.category == "process_exit":
                node = self._lineage.exit(process.pid, _ticks(process.entity_id))
                process, parent = _ended(process, node, record.ts_ns), node.parent if node else None
            else:
                node = self._doer(process, reading.user)
                process = _named(process, node)
        data = Data(
            process=process,
            parent=parent,
            ancestors=ancestors,
            user=reading.user,
            container=reading.container,
            file=reading.file,
            network=reading.network,
            dns=reading.dns,
            registry=reading.registry,
            auth=reading.auth,
            log=Log(
                record.os,
                reading.service,
                reading.sigma_category,
                record.provider,
                record.channel,
                record.code,
                record.record_id,
                record.message,
                record.fields | reading.aliases if reading.aliases else record.fields,
            ),
        )
        return data, node.story if node else self._without_process(process, reading.session)

    def _started(self, process: Process, reading: Interpretation) -> Node:
        ticks = _ticks(process.entity_id)
        parent_ticks = self._parent(reading.parent, reading.parent_user) if reading.parent else 0
        known = self._lineage.find(process.pid, ticks)
        if known is not None and not known.parent.known:
            self._lineage.exit(process.pid, ticks)  # known only from what it did; its start tells whose child it is
        node = self._lineage.exec(process, reading.user or _NOBODY, ticks, parent_ticks)
        if process.entity_id:
            node.entity_id = process.entity_id
        return node

    def _parent(self, parent: Process, user: str) -> int:
        """See to it that a parent is in the tree as its child's record shows it; return when it started, in ticks."""
        ticks = _ticks(parent.entity_id)
        if not parent.pid or not parent.exe:
            return ticks
        known = self._lineage.find(parent.pid, ticks)
        if known is not None and known.image.name.casefold() != parent.name.casefold():
            self._lineage.exit(parent.pid, ticks)  # its pid was used again
            known = None
        if known is None or (parent.cmdline and not known.image.cmdline):
            self._enter(parent, user, ticks)
        return ticks

    def _doer(self, process: Process, user: User | None) -> Node | None:
        """Return the process that did something, which enters the tree where its image is known."""
        ticks = _ticks(process.entity_id)
        node = self._lineage.doer(process.pid, ticks)
        if node is None and process.exe:
            return self._enter(process, user.effective_name or user.name if user else "", ticks)
        return node

    def _enter(self, one: Process, user: str, ticks: int) -> Node:
        known = self._lineage.find(one.pid, ticks)
        image = Process(
            pid=one.pid,
            ppid=known.parent.pid if known else 0,
            name=one.name,
            exe=one.exe,
            cmdline=one.cmdline,
            start_ns=one.start_ns or ticks * (_SECOND_NS // _TICKS) or (known.start_ns if known else 0),
        )
        node = self._lineage.exec(image, User(name=user), ticks, 0)
        if one.entity_id:
            node.entity_id = one.entity_id
        return node

    def _without_process(self, process: Process | None, session: str) -> str:
        if process is not None and process.entity_id:
            return process.entity_id
        return f"{self._host}/{session}" if session else ""


def _ticks(entity_id: str) -> int:
    """Return when a process started, which Sysmon writes into the middle of its GUID: Unix seconds, low half first.

    In ticks of 10 ms, 0 where the id is no such GUID.
    """
    if len(entity_id) != _GUID_LENGTH:
        return 0
    try:
        return int(entity_id[14:18] + entity_id[9:13], 16) * _TICKS
    except ValueError:
        return 0


def _named(process: Process, node: Node | None) -> Process:
    """Return a process of which the record knows only the pid as what its start showed."""
    if node is None or process.exe:
        return process
    name, exe, cmdline, _ = node.image
    return msgspec.structs.replace(process, entity_id=node.entity_id, name=name, exe=exe, cmdline=cmdline)


def _ended(process: Process, node: Node | None, ts_ns: int) -> Process:
    if node is None:
        return msgspec.structs.replace(process, end_ns=ts_ns)
    return msgspec.structs.replace(
        process,
        ppid=process.ppid or node.parent.pid,
        entity_id=process.entity_id or node.entity_id,
        name=process.name or node.image.name,
        exe=process.exe or node.image.exe,
        cmdline=process.cmdline or node.image.cmdline,
        start_ns=process.start_ns or node.start_ns,
        end_ns=ts_ns,
        lifetime_ns=max(ts_ns - node.start_ns, 0) if node.start_ns else None,
    )
