"""From the BPF programs' records, bytes laid out as bpf/process.bpf.c says, to records of processes.

Those about the network, which come in between, are `network_record`'s.

Nothing here is guessed: what a record holds the kernel knew at that moment, so a process that lives for a microsecond
is described as fully as one that lives for a year.
"""

import struct
from collections.abc import Callable
from functools import lru_cache

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock, start_ticks
from shield.collector.linux.container import container_of
from shield.collector.linux.network.record import HEADER, NetworkDecoder
from shield.collector.linux.process.environment import notable
from shield.event import Namespaces, Process, User
from shield.record import ProcessExec, ProcessExit, ProcessFork, Record
from shield.text import decode

_FORK, _EXEC_KIND, _EXIT = 1, 2, 3
_ARGS_UNREADABLE, _PATH_CUT, _EXECED = 1, 2, 4
_REMEMBERED_BYTES = 256

# cgroup id, capabilities, inode, length of argv; uid, gid, euid, egid, auid, audit session; session, pid in its
# namespace; namespaces; device, mode, links, owner, argc; comm; lengths of the strings behind
_EXEC = struct.Struct("=QQQQ 6I 2I 7I 5I 16s 7I 4x")
_STRINGS_AT = HEADER.size + _EXEC.size


class RecordDecoder:
    """Decodes records; the clock and the user names are refreshed now and then by `refresh`."""

    def __init__(self, clock: BootClock, names: UserNames) -> None:
        self.network = NetworkDecoder(clock)
        self._clock = clock
        self._names = names
        self._users: dict[tuple[int, ...], User] = {}

    def refresh(self) -> None:
        """Follow changes of the wall clock and of the password file."""
        self._clock.refresh()
        if self._names.refresh():
            self._users.clear()

    def record(self, raw: bytes) -> Record | None:
        """Return the record in `raw`, None for one that `network` keeps for later or leaves out."""
        kind, flags, time_ns, start_ns, parent_start_ns, pid, ppid, status = HEADER.unpack_from(raw)
        ts_ns = self._clock.unix_ns(time_ns)
        ticks, parent_ticks = start_ticks(start_ns), start_ticks(parent_start_ns)
        if kind == _FORK:
            return ProcessFork(ts_ns, pid, ppid, ticks, parent_ticks)
        if kind == _EXIT:
            return ProcessExit(ts_ns, pid, ppid, ticks, status, time_ns - start_ns, bool(flags & _EXECED))
        if kind != _EXEC_KIND:
            return self.network.observation(raw)
        fields = _EXEC.unpack_from(raw, HEADER.size)
        cgroup_id, capabilities, inode, args_length = fields[:4]
        device, mode, links, owner, _argc, comm = fields[19:25]
        invoked, exe, cwd, tty, cgroup, argv, environment = _strings(raw, fields[25:])
        args = decode(argv.removesuffix(b"\0"))
        # A memfd is a name without a place, and never had a link; a file may call itself so, too.
        memfd = links == 0 and exe.startswith(b"memfd:") and exe.count(b"\0") == 1
        process = Process(
            pid=pid,
            ppid=ppid,
            entity_id=f"{pid}-{ticks}",
            name=_string(comm),
            exe=_path(exe),
            invoked=_string(invoked),
            args=tuple(args.split("\0")) if argv else (),
            cmdline=args.replace("\0", " "),
            args_length=args_length,
            truncated=args_length > len(argv),
            cwd=_path(cwd) or "/",
            start_ns=self._clock.unix_ns(start_ns),
            session=fields[10],
            tty=_string(tty),
            ns_pid=fields[11],
            exe_memfd=memfd,
            exe_deleted=links == 0 and not memfd,
            exe_mode=mode,
            exe_owner=owner,
            exe_inode=inode,
            exe_device=device,
            capabilities=capabilities,
            cgroup_id=cgroup_id,
            namespaces=_namespaces(fields[12:19]),
            env=notable(environment),
        )
        user = self._users.get(fields[4:10]) or self._user(fields[4:10])
        gaps = _gaps(flags) if flags else ()
        return ProcessExec(ts_ns, process, user, ticks, parent_ticks, container_of(_string(cgroup)), gaps)

    def _user(self, ids: tuple[int, ...]) -> User:
        user = self._users[ids] = self._names.user(*ids)
        return user


def _strings(raw: bytes, lengths: tuple[int, ...]) -> list[bytes]:
    strings: list[bytes] = []
    at = _STRINGS_AT
    for length in lengths:
        strings.append(raw[at : at + length])
        at += length
    return strings


def _remembering(function: Callable[[bytes], str]) -> Callable[[bytes], str]:
    """Return `function` with a memory for short inputs; long ones, of which an attacker could make many, pass by."""
    remembered = lru_cache(maxsize=4096)(function)
    return lambda raw: remembered(raw) if len(raw) <= _REMEMBERED_BYTES else function(raw)


@_remembering
def _string(raw: bytes) -> str:
    return decode(raw.partition(b"\0")[0])


@_remembering
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
    gaps = ((_ARGS_UNREADABLE, "arguments could not be read"), (_PATH_CUT, "a path deeper than 48 folders was cut"))
    return tuple(text for flag, text in gaps if flags & flag)
