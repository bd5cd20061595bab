"""Process starts, forks and ends from the kernel, through the BPF program beside this file.

Nothing here is guessed: what a record holds the kernel knew at that moment, so a process that lives for a microsecond
is described as fully as one that lives for a year. The layout of the records is bpf/process.bpf.c's.
"""

import os
import struct
import time
from functools import lru_cache
from typing import NamedTuple

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.bpf.build import object_path
from shield.collector.linux.clock import BootClock, start_ticks
from shield.collector.linux.container import container_of
from shield.collector.linux.environment import notable
from shield.collector.linux.libbpf import BpfError, BpfObject
from shield.collector.linux.ring import RingBuffer
from shield.collector.source import Count, SourceUnavailable
from shield.event import Namespaces, Process, User
from shield.record import ProcessExec, ProcessExit, ProcessFork, Record
from shield.text import decode

ARGS_LIMIT_MOST = 1 << 18
ENV_LIMIT = 1 << 12

_FORK, _EXEC, _EXIT = 1, 2, 3
_KINDS = {_FORK: "fork", _EXEC: "exec", _EXIT: "exit"}
_ARGS_UNREADABLE, _PATH_CUT, _EXECED = 1, 2, 4
_UNSET = 0xFFFF_FFFF
_BATCH = 1024
_REFRESH_S = 1.0

_HEADER = struct.Struct("=II QQQ IIII")
_EXEC_FIELDS = struct.Struct("=QQQQ 6I 2I 7I 5I 16s 7I 4x")
_STRINGS_AT = _HEADER.size + _EXEC_FIELDS.size
_STATS = struct.Struct("=4Q4Q")


class _Fixed(NamedTuple):
    """The fixed part of an exec record, struct exec."""

    cgroup_id: int
    capabilities: int
    inode: int
    args_length: int
    uid: int
    gid: int
    euid: int
    egid: int
    audit_id: int
    audit_session: int
    session: int
    ns_pid: int
    mnt_ns: int
    pid_ns: int
    net_ns: int
    user_ns: int
    uts_ns: int
    ipc_ns: int
    cgroup_ns: int
    device: int
    mode: int
    links: int
    owner: int
    argc: int
    comm: bytes
    invoked_bytes: int
    exe_bytes: int
    cwd_bytes: int
    tty_bytes: int
    cgroup_bytes: int
    args_bytes: int
    env_bytes: int


class EbpfSource:
    """Every fork, exec and exit on the host. `ring_bytes` is a power of two, `args_limit` bytes of argv are kept."""

    name = "ebpf"
    interval = None
    blind_spots = (
        f"Only the first {ENV_LIMIT} bytes of a process's environment are searched for LD_PRELOAD and the like.",
    )
    remedies = {  # noqa: RUF012
        "ring_full": "Raise source.ring_bytes in the configuration, or give the agent more CPU.",
        "recursion": "Report it: the kernel ran the BPF program inside itself.",
    }

    def __init__(self, ring_bytes: int = 1 << 24, args_limit: int = 1 << 17) -> None:
        self._ring_bytes = ring_bytes
        self._args_limit = min(args_limit, ARGS_LIMIT_MOST)
        self._clock = BootClock()
        self._names = UserNames()
        self._users: dict[tuple[int, ...], User] = {}
        self._refreshed = 0.0
        self._read = 0
        self._object: BpfObject | None = None
        self._ring: RingBuffer | None = None
        self._final: Count | None = None

    def open(self) -> None:
        """Load and attach the BPF program. Raises SourceUnavailable."""
        if not object_path().exists():
            raise SourceUnavailable(self.name, "the BPF program was not compiled", "run `make setup` with clang there")
        if os.geteuid() != 0:
            raise SourceUnavailable(self.name, "only root may load BPF programs", "run Shield as root")
        try:
            self._object = BpfObject(object_path())
            self._object.set_max_entries("ring", self._ring_bytes)
            self._object.set_max_entries("scratch", os.cpu_count() or 1)
            self._object.set_constants(".rodata", struct.pack("=II", self._args_limit, ENV_LIMIT))
            self._object.load()
            self._ring = RingBuffer(self._object.map_fd("ring"), self._ring_bytes)
            self._object.attach()
        except (BpfError, OSError) as error:
            self.close()
            raise SourceUnavailable(self.name, str(error), "needs Linux 5.8 or newer with BTF and libbpf 1.0") from None

    def fileno(self) -> int | None:
        """Return the ring buffer's descriptor; it becomes readable at an exec."""
        return self._ring.fd if self._ring else None

    def read(self) -> list[Record]:
        """Return up to 1,024 records, oldest first."""
        if self._ring is None:
            return []
        now = time.monotonic()
        if now - self._refreshed > _REFRESH_S:
            self._refresh(now)
        raw = self._ring.read(_BATCH)
        self._read += len(raw)
        return [self._record(one) for one in raw]

    def count(self) -> Count:
        """Return the kernel's counters; `pending` is exact once the source was stopped."""
        if self._object is None or self._ring is None:
            return self._final or Count(seen=0, filtered={}, dropped={}, pending=0)
        seen = dropped = 0
        raw = self._object.lookup("stats", 0, _STATS.size * _possible_cpus())
        for counters in _STATS.iter_unpack(raw):
            seen += sum(counters[:4])
            dropped += sum(counters[4:])
        missed = self._object.recursion_misses()
        reasons = {"ring_full": dropped, "recursion": missed}
        return Count(
            seen=seen + missed,
            filtered={},
            dropped={reason: number for reason, number in reasons.items() if number},
            pending=self._ring.waiting(),
        )

    def stop(self) -> None:
        """Detach the programs; the ring can still be read."""
        if self._object is not None:
            self._object.detach()

    def close(self) -> None:
        """Detach the programs and free the ring."""
        self.stop()
        if self._ring is not None:
            self._final = self.count()
            self._ring.close()
            self._ring = None
        if self._object is not None:
            self._object.close()
            self._object = None

    def _refresh(self, now: float) -> None:
        self._refreshed = now
        self._clock.refresh()
        if self._names.refresh():
            self._users.clear()

    def _record(self, raw: bytes) -> Record:
        kind, flags, time_ns, start_ns, parent_start_ns, pid, ppid, status, _ = _HEADER.unpack_from(raw)
        ts_ns = self._clock.unix_ns(time_ns)
        ticks = start_ticks(start_ns)
        if kind == _FORK:
            return ProcessFork(ts_ns, pid, ppid, ticks, start_ticks(parent_start_ns))
        if kind == _EXIT:
            return ProcessExit(ts_ns, pid, ppid, ticks, status, time_ns - start_ns, bool(flags & _EXECED))
        fixed = _Fixed._make(_EXEC_FIELDS.unpack_from(raw, _HEADER.size))
        at = _STRINGS_AT
        invoked = raw[at : (at := at + fixed.invoked_bytes)]
        exe = raw[at : (at := at + fixed.exe_bytes)]
        cwd = raw[at : (at := at + fixed.cwd_bytes)]
        tty = raw[at : (at := at + fixed.tty_bytes)]
        cgroup = raw[at : (at := at + fixed.cgroup_bytes)]
        args = raw[at : (at := at + fixed.args_bytes)]
        environment = raw[at : at + fixed.env_bytes]
        argv = decode(args.removesuffix(b"\0"))
        memfd = exe.startswith(b"memfd:")
        process = Process(
            pid=pid,
            ppid=ppid,
            entity_id=f"{pid}-{ticks}",
            name=_string(fixed.comm),
            exe=_path(exe),
            invoked=_string(invoked),
            args=tuple(argv.split("\0")) if fixed.argc else (),
            cmdline=argv.replace("\0", " "),
            args_length=fixed.args_length,
            truncated=fixed.args_length > fixed.args_bytes,
            cwd=_path(cwd) or "/",
            start_ns=self._clock.unix_ns(start_ns),
            session=fixed.session,
            tty=_string(tty),
            ns_pid=fixed.ns_pid,
            exe_memfd=memfd,
            exe_deleted=fixed.links == 0 and not memfd,
            exe_mode=fixed.mode,
            exe_owner=fixed.owner,
            exe_inode=fixed.inode,
            exe_device=fixed.device,
            capabilities=fixed.capabilities,
            cgroup_id=fixed.cgroup_id,
            namespaces=_namespaces(fixed[12:19]),
            env=notable(environment),
        )
        user = self._users.get(fixed[4:10]) or self._user(fixed[4:10])
        container = container_of(_string(cgroup))
        gaps = _gaps(flags) if flags else ()
        return ProcessExec(ts_ns, process, user, ticks, start_ticks(parent_start_ns), container, gaps)

    def _user(self, ids: tuple[int, ...]) -> User:
        uid, gid, euid, egid, audit_id, audit_session = ids
        user = self._users[ids] = User(
            id=uid,
            name=self._names.name(uid),
            effective_id=euid,
            effective_name=self._names.name(euid),
            group_id=gid,
            effective_group_id=egid,
            audit_id=None if audit_id == _UNSET else audit_id,
            audit_name=self._names.name(audit_id),
            audit_session=None if audit_session == _UNSET else audit_session,
        )
        return user


@lru_cache(maxsize=4096)
def _string(raw: bytes) -> str:
    return decode(raw.partition(b"\0")[0])


@lru_cache(maxsize=4096)
def _path(components: bytes) -> str:
    """Return the path whose NUL-ended components stand from the last to the first."""
    if not components:
        return ""
    return "/" + "/".join(decode(name) for name in reversed(components.removesuffix(b"\0").split(b"\0")))


@lru_cache(maxsize=1024)
def _namespaces(inodes: tuple[int, ...]) -> Namespaces:
    mnt, pid, net, user, uts, ipc, cgroup = inodes
    return Namespaces(mnt=mnt, pid=pid, net=net, user=user, uts=uts, ipc=ipc, cgroup=cgroup)


def _gaps(flags: int) -> tuple[str, ...]:
    gaps = ((_ARGS_UNREADABLE, "arguments could not be read"), (_PATH_CUT, "path deeper than 48 folders was cut"))
    return tuple(text for flag, text in gaps if flags & flag)


def _possible_cpus() -> int:
    """Return how many values a per-CPU map holds: one for each CPU that could ever be there, rounded to none."""
    with open("/sys/devices/system/cpu/possible") as file:
        ranges = file.read().strip().split(",")
    return int(ranges[-1].rpartition("-")[2]) + 1
