"""Processes as /proc shows them (proc(5)): the ones that were running before the agent, and the fallback sources' eyes.

A process may end at any moment while it is read, and another user's may be unreadable; what can't be read is left
out, never guessed.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import TICK_NS, BootClock
from shield.collector.linux.container import container_of
from shield.collector.linux.process.environment import notable
from shield.event import Container, Namespaces, Process, User
from shield.record import ProcessSnapshot
from shield.text import decode

ARGS_LIMIT = 131_072
_ENV_LIMIT = 4096
_DELETED = b" (deleted)"


class ProcessGone(Exception):
    """The process ended before it could be read, or may not be seen (proc(5), hidepid)."""


class _Stat(NamedTuple):
    name: str
    ppid: int
    session: int
    tty_device: int
    start_ticks: int


class ProcfsReader:
    """Reads processes below `root`, normally /proc."""

    def __init__(self, clock: BootClock, names: UserNames, root: Path = Path("/proc")) -> None:
        self._clock = clock
        self._names = names
        self._root = root

    def pids(self) -> list[int]:
        """Return the ids of all processes, oldest id first."""
        return sorted(int(name) for name in os.listdir(self._root) if name.isdigit())

    def snapshot(self) -> Iterator[ProcessSnapshot]:
        """Yield every process that can be read; one that ends meanwhile is left out."""
        for pid in self.pids():
            try:
                yield self.read(pid)
            except ProcessGone:
                continue

    def start_ticks(self, pid: int) -> int:
        """Return when `pid` started, in clock ticks since boot. Raises ProcessGone."""
        return _parse_stat(self._bytes(pid, "stat")).start_ticks

    def read(self, pid: int, args_limit: int = ARGS_LIMIT) -> ProcessSnapshot:
        """Return what /proc shows of `pid` now. Raises ProcessGone."""
        stat = _parse_stat(self._bytes(pid, "stat"))
        status = _parse_status(self._bytes(pid, "status"))
        raw_args = self._readable(pid, "cmdline")
        exe = self._link(pid, "exe")
        deleted = exe.endswith(_DELETED)
        start_ns = self._clock.unix_ns(stat.start_ticks * TICK_NS)
        args = tuple(decode(arg) for arg in raw_args[:args_limit].removesuffix(b"\0").split(b"\0")) if raw_args else ()
        process = Process(
            pid=pid,
            ppid=stat.ppid,
            entity_id=f"{pid}-{stat.start_ticks}",
            name=stat.name,
            exe=decode(exe.removesuffix(_DELETED)),
            args=args,
            cmdline=" ".join(args),
            args_length=len(raw_args),
            truncated=len(raw_args) > args_limit,
            cwd=decode(self._link(pid, "cwd")),
            start_ns=start_ns,
            session=stat.session,
            tty=_tty_name(stat.tty_device),
            ns_pid=int(status.get(b"NSpid", b"0").split()[-1]),
            exe_memfd=exe.startswith(b"/memfd:"),
            exe_deleted=deleted and not exe.startswith(b"/memfd:"),
            capabilities=int(status.get(b"CapEff", b"0"), 16),
            namespaces=self._namespaces(pid),
            env=notable(self._readable(pid, "environ")[:_ENV_LIMIT]),
        )
        return ProcessSnapshot(
            ts_ns=start_ns,
            process=process,
            user=self._user(pid, status),
            start_ticks=stat.start_ticks,
            container=self._container(pid),
        )

    def _user(self, pid: int, status: dict[bytes, bytes]) -> User:
        uid, euid, *_ = (int(field) for field in status.get(b"Uid", b"0 0").split())
        gid, egid, *_ = (int(field) for field in status.get(b"Gid", b"0 0").split())
        audit_id, audit_session = (_audit_number(self._readable(pid, name)) for name in ("loginuid", "sessionid"))
        return self._names.user(uid, gid, euid, egid, audit_id, audit_session)

    def _container(self, pid: int) -> Container | None:
        for line in self._readable(pid, "cgroup").split(b"\n"):
            found = container_of(decode(line.split(b":", 2)[-1]))
            if found:
                return found
        return None

    def _namespaces(self, pid: int) -> Namespaces | None:
        inodes: dict[str, int] = {}
        for kind in Namespaces.__struct_fields__:
            target = self._link(pid, f"ns/{kind}")
            if target.endswith(b"]"):
                inodes[kind] = int(target[target.index(b"[") + 1 : -1])
        return Namespaces(**inodes) if inodes else None

    def _bytes(self, pid: int, name: str) -> bytes:
        try:
            return (self._root / str(pid) / name).read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            raise ProcessGone(pid) from None

    def _readable(self, pid: int, name: str) -> bytes:
        try:
            return self._bytes(pid, name)
        except (OSError, ProcessGone):
            return b""

    def _link(self, pid: int, name: str) -> bytes:
        try:
            return os.readlink(os.fsencode(self._root / str(pid) / name))
        except OSError:
            return b""


def _parse_stat(raw: bytes) -> _Stat:
    """Read /proc/PID/stat; the name stands in parentheses and may itself hold any byte, so split after the last one."""
    opening, closing = raw.find(b"("), raw.rfind(b")")
    if closing < 0:
        raise ProcessGone
    fields = raw[closing + 2 :].split()
    return _Stat(
        name=decode(raw[opening + 1 : closing]),
        ppid=int(fields[1]),
        session=int(fields[3]),
        tty_device=int(fields[4]),
        start_ticks=int(fields[19]),
    )


def _parse_status(raw: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in raw.split(b"\n"))
    return {key: value.strip() for key, _, value in pairs}


def _audit_number(raw: bytes) -> int | None:
    return int(raw) if raw.isdigit() else None


def _tty_name(device: int) -> str:
    """Name the common terminals (Linux admin-guide/devices): 136..143 are pseudo terminals, 4 consoles and serial."""
    major, minor = (device >> 8) & 0xFFF, (device & 0xFF) | (device >> 12) & 0xFFF00
    if 136 <= major <= 143:
        return f"pts{minor + (major - 136) * 256}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return ""
