"""The sockets of a network namespace as the kernel lists them (sock_diag(7), NETLINK_SOCK_DIAG), and who holds them.

Which process holds a socket only its table of open files tells: /proc/PID/fd, which without root is hidden for
processes of other users.
"""

import ctypes
import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from shield.collector.linux.netlink import HEADER, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, acknowledged, message
from shield.collector.linux.netlink import open_socket as open_netlink
from shield.collector.linux.network.record import address

ESTABLISHED, SYN_SENT, CLOSE, LISTEN = 1, 2, 7, 10
"""States of a TCP socket; a UDP socket is ESTABLISHED where it is connected, else CLOSE."""

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
TRANSPORT = {TCP: "tcp", UDP: "udp"}

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_DUMP = 0x300
_CLONE_NEWNET = 0x40000000
_REPLY_BYTES = 1 << 16
_REPLY_MS = 2000
# struct inet_diag_req_v2 up to the socket id: family, protocol, extensions, states; the id stays zero
_REQUEST = struct.Struct("=BBBxI 48x")
# struct inet_diag_msg: family, state, timer, retries; ports; addresses; interface, cookie; expiry, queues, user, inode
_REPLY = struct.Struct("=BBBB 4s 16s16s I8s IIIII")
_PORTS = struct.Struct("!HH")
_C = ctypes.CDLL(None, use_errno=True)


class Socket(NamedTuple):
    """One socket of a network namespace; addresses are the kernel's 16 bytes. Nobody holds one with `inode` 0."""

    namespace: int
    protocol: int
    family: int
    state: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    inode: int

    @property
    def near(self) -> tuple[str, int]:
        """This host's end: address and port."""
        return address(self.local, self.family), self.local_port

    @property
    def far(self) -> tuple[str, int]:
        """The other end: address and port."""
        return address(self.remote, self.family), self.remote_port


class Holder(NamedTuple):
    """The process that holds a socket: pid and start in clock ticks since boot."""

    pid: int
    start_ticks: int


class SocketList:
    """Asks for the sockets of one network namespace: the agent's own, or that of the process `of`."""

    def __init__(self, of: int | None = None) -> None:
        """Raises OSError where the kernel has no sock_diag, or the other namespace may not be entered."""
        self.namespace = os.stat(f"/proc/{of or 'self'}/ns/net").st_ino
        self._socket = open_netlink(_NETLINK_SOCK_DIAG) if of is None else _opened_in(of)

    def sockets(self, protocol: int, states: Iterable[int]) -> list[Socket]:
        """Return the IPv4 and IPv6 sockets of a protocol that are in one of `states`. Raises OSError."""
        mask = sum(1 << state for state in states)
        found: list[Socket] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, protocol, 0, mask)
            self._socket.send(message(_SOCK_DIAG_BY_FAMILY, request, NLM_F_REQUEST | _NLM_F_DUMP))
            found.extend(_parse(reply, self.namespace, protocol) for reply in self._replies())
        return found

    def close(self) -> None:
        """Close the connection to the kernel."""
        self._socket.close()

    def _replies(self) -> Iterator[bytes]:
        while True:
            if not select.select([self._socket], [], [], _REPLY_MS / 1000)[0]:
                raise OSError(errno.ETIMEDOUT, "the kernel does not answer")
            batch = self._socket.recv(_REPLY_BYTES)
            while len(batch) >= HEADER.size:
                length, kind, *_ = HEADER.unpack_from(batch)
                payload = batch[HEADER.size : length]
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    code = acknowledged(payload)
                    if code == errno.ENOENT:  # this family or protocol is not in the kernel
                        return
                    raise OSError(code, os.strerror(code))
                if len(payload) >= _REPLY.size:
                    yield payload
                batch = batch[max(length + 3 & ~3, HEADER.size) :]


def namespaces(proc: Path = Path("/proc")) -> dict[int, int]:
    """Return the network namespaces that processes live in, each with one of those processes, the lowest pid."""
    found: dict[int, int] = {}
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):
        try:
            found.setdefault(os.stat(proc / str(pid) / "ns/net").st_ino, pid)
        except OSError:
            continue
    return found


def holders(inodes: Iterable[int], proc: Path = Path("/proc")) -> dict[int, Holder]:
    """Return who holds the sockets with these inodes, as far as it may be seen; of several the oldest process."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes if inode}
    found: dict[int, Holder] = {}
    for name in sorted((name for name in os.listdir(proc) if name.isdigit()), key=int):
        if len(found) == len(wanted):
            break
        held = [wanted[link] for link in _links(proc / name / "fd") if link in wanted]
        if held and (ticks := _start_ticks(proc / name)):
            for inode in held:
                found.setdefault(inode, Holder(int(name), ticks))
    return found


def _links(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    yield os.readlink(entry.path)
                except OSError:
                    continue
    except OSError:
        return


def _start_ticks(process: Path) -> int:
    try:
        return int((process / "stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _parse(reply: bytes, namespace: int, protocol: int) -> Socket:
    family, state, _, _, ports, local, remote, *_, inode = _REPLY.unpack_from(reply)
    local_port, remote_port = _PORTS.unpack(ports)
    return Socket(namespace, protocol, family, state, local, local_port, remote, remote_port, inode)


def _opened_in(pid: int) -> socket.socket:
    """Return a netlink socket in the network namespace of `pid`; a socket stays in the one it was made in."""
    opened: list[socket.socket | OSError] = []

    def enter() -> None:
        try:
            with open(f"/proc/{pid}/ns/net") as namespace:
                if _C.setns(namespace.fileno(), _CLONE_NEWNET):
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code))
            opened.append(open_netlink(_NETLINK_SOCK_DIAG))
        except OSError as error:
            opened.append(error)

    visitor = threading.Thread(target=enter)  # a namespace is entered by one thread, which ends in it
    visitor.start()
    visitor.join()
    (result,) = opened
    if isinstance(result, OSError):
        raise result
    return result
