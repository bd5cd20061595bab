"""Running processes that gain power: another user id, a group, capabilities, or a hold on somebody else's process.

The kernel's process events connector tells each change of ids and each attaching debugger, without tracing system
calls. What the process was before is remembered; where nothing is, it had its parent's credentials. Capabilities are
not among those events, and a flaw in the kernel may change credentials without any: a slow sweep over /proc finds both.
"""

import grp
import select
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.event_socket import EventSocket, refusal
from shield.collector.linux.privilege import gain
from shield.collector.linux.privilege.image import Image, read_image
from shield.collector.linux.privilege.task_status import Credentials, Task, read_task
from shield.collector.linux.process_event import GID, PTRACE, UID, ProcessEvent
from shield.collector.linux.procfs import ARGS_LIMIT, ProcessGone, ProcfsReader
from shield.collector.linux.sweep import Sweep
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.event import Privilege, User
from shield.record import Actor, Observation, Record
from shield.text import decode

_BATCH = 256
_REFRESH_S = 1.0
_UNKNOWN = Image("")


class CredentialsOptions(Struct, frozen=True):
    """Sizes: the socket's buffer in bytes, seconds between two sweeps, and how many processes are remembered."""

    buffer_bytes: int = 1 << 20
    sweep_seconds: float = 60.0
    known_most: int = 65_536


class CredentialsSource:
    """Gains of power by running processes; those by starting a set-user-ID program are process starts."""

    provides: frozenset[Kind] = frozenset(("privilege",))
    name = "credentials"
    interval: float | None = None
    blind_spots: tuple[str, ...] = (
        "A capability that was gained and given up between two sweeps is not seen.",
        "A process that was handed over to init, and whose ids were never seen, is taken for root's.",
        "A process that ends within milliseconds and keeps its real user is taken for a set-user-ID program.",
        "A debugger that asked its own child to be traced is seen only by the sweep.",
    )
    remedies: dict[str, str] = {  # noqa: RUF012
        "not_delivered": "Give the agent more CPU, or raise the credentials source's receive buffer.",
        "ended": "A process that changed its ids ended before /proc was read: give the agent more CPU.",
        "unreadable": "Report it: the kernel sent a process event in an unknown form.",
    }

    def __init__(self, options: CredentialsOptions | None = None, procfs: Path = Path("/proc")) -> None:
        self._options = options or CredentialsOptions()
        self._root = procfs
        self._clock = BootClock()
        self._names = UserNames()
        self._procfs = ProcfsReader(self._clock, self._names, procfs)
        self._events = EventSocket(self._options.buffer_bytes)
        self._sweep = Sweep(self._options.sweep_seconds, root=procfs)
        self._held: OrderedDict[int, tuple[int, Credentials]] = OrderedDict()
        self._told: OrderedDict[tuple[int, int, Privilege], None] = OrderedDict()
        self._epoll: select.epoll | None = None
        self._refreshed = 0.0
        self._boot_offset_ns = 0
        self._lost = 0
        self._seen = 0
        self._filtered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def open(self) -> None:
        """Subscribe to changes of ids and to tracing, and begin the first sweep. Raises SourceUnavailable."""
        try:
            self._events.open(UID | GID | PTRACE)
            self._sweep.open()
            self._epoll = select.epoll()
            for part in (self._events.fileno(), self._sweep.fileno()):
                self._epoll.register(part or 0, select.EPOLLIN)
        except OSError as refused:
            self.close()
            raise SourceUnavailable(self.name, *refusal(refused.errno)) from None

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable with an event, and when a part of the sweep is due."""
        return self._epoll.fileno() if self._epoll else None

    def read(self) -> list[Record]:
        """Return the gains in at most 256 events and 64 processes of the sweep."""
        self._refresh()
        self._count_lost()
        before = self._seen
        records: list[Record] = [*self._from_events()]
        if self._seen - before < _BATCH:  # a sweep that runs ahead of the events would mistake what they explain
            records.extend(self._from_sweep())
        return records

    def count(self) -> Count:
        """Return the totals: changes of ids, tracing, and differences that a sweep found."""
        pending = self._events.pending
        return Count(self._seen + pending, dict(self._filtered), dict(self._dropped), pending)

    def stop(self) -> None:
        """Unsubscribe, and sweep no more."""
        with suppress(OSError):  # it may be stopped because it can't be asked any more
            self._count_lost()
        self._events.stop()
        self._sweep.close()

    def close(self) -> None:
        """Unsubscribe and close everything."""
        self.stop()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        self._events.close()

    def _from_events(self) -> Iterator[Observation]:
        for event in self._events.receive(_BATCH):
            if event is not None and event.what not in (UID, GID, PTRACE):
                continue  # a kernel that lets nobody choose sends every start and end
            self._seen += 1
            if event is None:
                self._dropped["unreadable"] += 1
                continue
            ts_ns = self._clock.unix_ns(event.monotonic_ns + self._boot_offset_ns)
            found = (
                self._traced(ts_ns, event.pid, event.tracer) if event.what == PTRACE else self._changed(ts_ns, event)
            )
            if found is not None:
                yield found

    def _changed(self, ts_ns: int, event: ProcessEvent) -> Observation | None:
        """Judge a change of ids. The event tells the ids, /proc the rest, and may be a moment ahead."""
        task = read_task(self._root, event.pid, event.thread)
        if task is None:
            self._after_its_end(event)
            return None
        new = task.credentials
        if event.what == UID:
            new = new._replace(uid=event.real, euid=event.effective)
        else:
            new = new._replace(gid=event.real, egid=event.effective)
        old = self._before(task, event.thread)
        self._remember(event.thread, task.ticks, new)
        return self._judged(ts_ns, task, old, new, by_group=event.what == GID)

    def _after_its_end(self, event: ProcessEvent) -> None:
        """Count a change by a process that is gone by now, and remember it for the next one."""
        if event.what == GID:
            self._give_up("ended_without_gain")
            return
        known = self._held.get(event.thread)
        new = Credentials(event.real, event.effective, event.effective, 0, 0)
        self._remember(event.thread, 0, new)
        self._give_up(_unseen(known[1] if known else None, new))

    def _judged(
        self, ts_ns: int, task: Task, old: Credentials | None, new: Credentials, *, by_group: bool
    ) -> Observation | None:
        if old is None:
            self._filtered["unknown_before"] += 1
            return None
        image = read_image(self._root, task.pid)
        if image is None:
            self._give_up("ended_without_gain" if by_group else _unseen(old, new))
            return None
        verdict = gain.of_group(old, new, image, _group_name(new.egid)) if by_group else gain.of_user(old, new, image)
        return self._observation(ts_ns, task.pid, task.ticks, verdict, new)

    def _before(self, task: Task, thread: int) -> Credentials | None:
        """Return what a task held before: what was seen of it, or of its process, or else what its parent holds."""
        for known in (self._held.get(thread), self._held.get(task.pid)):
            if known is not None and known[0] == task.ticks:
                return known[1]
        parent = read_task(self._root, task.parent, task.parent)
        return parent.credentials if parent is not None else None

    def _traced(self, ts_ns: int, pid: int, tracer: int) -> Observation | None:
        if not tracer:
            self._filtered["let_go"] += 1
            return None
        by, of = (read_task(self._root, each, each) for each in (tracer, pid))
        if by is None or of is None:
            self._give_up("ended_tracing")
            return None
        images = tuple(read_image(self._root, each) or _UNKNOWN for each in (tracer, pid))
        verdict = gain.of_tracing(by.credentials, of.credentials, *images) or Privilege(
            kind="ptrace",
            target_pid=pid,
            target_name=of.name,
            target_exe=images[1].path,
            target_user=self._names.name(of.credentials.uid),
        )
        return self._observation(ts_ns, tracer, by.ticks, verdict, by.credentials)

    def _from_sweep(self) -> Iterator[Observation]:
        for pid in self._sweep.slice():
            task = read_task(self._root, pid, pid)
            if task is None:
                continue
            ticks, old = self._held.get(pid, (0, None))
            self._remember(pid, task.ticks, task.credentials)
            if old is not None and ticks == task.ticks and old != task.credentials:
                self._seen += 1
                found = self._drifted(task, old)
                if found is not None:
                    yield found
            if task.tracer:
                self._seen += 1
                found = self._traced(time.time_ns(), pid, task.tracer)
                if found is not None:
                    yield found

    def _drifted(self, task: Task, old: Credentials) -> Observation | None:
        """Judge credentials that are not what the last look, and the events since, left behind."""
        new = task.credentials
        if old.euid != new.euid:
            return self._judged(time.time_ns(), task, old, new, by_group=False)
        if old.egid != new.egid:
            return self._judged(time.time_ns(), task, old, new, by_group=True)
        if _user_namespace(self._root, task.pid) != _user_namespace(self._root, "self"):
            self._filtered["user_namespace"] += 1
            return None
        verdict = gain.of_capabilities(old, new, read_image(self._root, task.pid) or _UNKNOWN)
        return self._observation(time.time_ns(), task.pid, task.ticks, verdict, new)

    def _observation(
        self, ts_ns: int, pid: int, ticks: int, verdict: Privilege | str, after: Credentials
    ) -> Observation | None:
        """Return what is told of a verdict; a process's repeated gain is told once."""
        if isinstance(verdict, str):
            self._filtered[verdict] += 1
            return None
        key = (pid, ticks, verdict)
        if key in self._told:
            self._filtered["repeated"] += 1
            return None
        self._told[key] = None
        if len(self._told) > self._options.known_most:
            self._told.popitem(last=False)
        user = User(
            id=after.uid,
            name=self._names.name(after.uid),
            effective_id=after.euid,
            effective_name=self._names.name(after.euid),
            group_id=after.gid,
            effective_group_id=after.egid,
        )
        try:
            shown = self._procfs.read(pid, ARGS_LIMIT)
        except ProcessGone:
            gaps = ("the process ended before /proc was read",)
            return Observation(
                ts_ns, "privilege_change", Actor(pid, ticks), user, privilege=self._named(verdict), gaps=gaps
            )
        return Observation(
            ts_ns=ts_ns,
            category="privilege_change",
            actor=Actor(pid, ticks, shown.process, shown.user),
            user=replace(user, audit_id=shown.user.audit_id, audit_name=shown.user.audit_name),
            container=shown.container,
            privilege=self._named(verdict),
        )

    def _named(self, privilege: Privilege) -> Privilege:
        name = {"user_id": self._names.name, "group_id": _group_name}.get(privilege.kind)
        if name is None or privilege.old_id is None or privilege.new_id is None:
            return privilege
        return replace(privilege, old_name=name(privilege.old_id), new_name=name(privilege.new_id))

    def _remember(self, thread: int, ticks: int, held: Credentials) -> None:
        self._held[thread] = ticks, held
        self._held.move_to_end(thread)
        if len(self._held) > self._options.known_most:
            self._held.popitem(last=False)

    def _give_up(self, reason: str) -> None:
        """Count a change that can't be judged: lost where it may have been a gain."""
        (self._dropped if reason in self.remedies else self._filtered)[reason] += 1

    def _count_lost(self) -> None:
        lost = self._events.lost()
        if lost > self._lost:
            self._seen += lost - self._lost
            self._dropped["not_delivered"] += lost - self._lost
            self._lost = lost
            self._held.clear()  # what a process was before is not known any more

    def _refresh(self) -> None:
        now = time.monotonic()
        # The connector's clock stands still while the host is suspended, the boot clock does not.
        boot_ns, monotonic_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._boot_offset_ns = boot_ns - monotonic_ns
        if now - self._refreshed >= _REFRESH_S:
            self._refreshed = now
            self._clock.refresh()
            self._names.refresh()


def _unseen(old: Credentials | None, new: Credentials) -> str:
    """Return why a change of user ids by a process that is gone is not told: lost where it may have been a gain.

    A set-user-ID program, which keeps the real user, is mostly gone that fast, and is seen at its start.
    """
    if new.euid != 0:
        return "not_root"
    if old is not None and old.euid == 0:
        return "was_root"
    return "ended_setuid_program" if new.uid != 0 else "ended"


def _group_name(gid: int) -> str:
    try:
        return decode(grp.getgrgid(gid).gr_name.encode(errors="surrogateescape"))
    except KeyError:
        return ""


def _user_namespace(root: Path, pid: int | str) -> str:
    try:
        return (root / str(pid) / "ns" / "user").readlink().name
    except OSError:
        return ""
