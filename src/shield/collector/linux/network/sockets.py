"""Sockets as the kernel lists them: who listens when the agent starts, and what changes where nothing better works.

`SocketSource` compares each list with the one before, so what opens and closes between two polls is not seen, and the
process is the one that holds the socket at the poll. It sees every network namespace it may enter.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from shield.collector.linux.network.record import actor
from shield.collector.linux.network.sock_diag import (
    CLOSE,
    ESTABLISHED,
    LISTEN,
    SYN_SENT,
    TCP,
    TRANSPORT,
    UDP,
    Holder,
    Socket,
    SocketList,
    holders,
    namespaces,
)
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.event import Network
from shield.record import Actor, Observation, Record

SOCKETS_MOST = 65_536

_BATCH = 1024
_CLOSE_WAIT = 8
_OPEN = (ESTABLISHED, SYN_SENT, _CLOSE_WAIT, LISTEN)
_UDP_STATES = (ESTABLISHED, CLOSE)
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_UNLESS_SET = range(32_768, 61_000)


class Listener(NamedTuple):
    """A socket that waits for others to come, and the process that holds it, None where that may not be seen."""

    socket: Socket
    holder: Holder | None


def inventory() -> list[Listener]:
    """Return every listening TCP socket, and every unconnected UDP socket, of the namespaces that can be entered."""
    found: list[Socket] = []
    for each in _lists():
        found += [*each.sockets(TCP, (LISTEN,)), *each.sockets(UDP, (CLOSE,))]
    held = holders(one.inode for one in found)
    return [Listener(one, held.get(one.inode)) for one in found]


def listeners() -> list[Observation]:
    """Return who listens now, as records: what is new later is new against these."""
    now_ns = time.time_ns()
    return [_listening(one.socket, one.holder, now_ns) for one in inventory()]


class ListeningPorts:
    """What the BPF programs can't see of listening sockets: which were there before, and which port one was given.

    A UDP server that nobody talks to does nothing that could be seen; it is found by listing sockets now and then.
    """

    def __init__(self, known: Iterable[Socket]) -> None:
        self._told = dict.fromkeys(_port(one) for one in known if one.protocol == UDP)

    def is_new(self, namespace: int, near: tuple[str, int]) -> bool:
        """Return whether a UDP socket, by its namespace, address and port, has not been told as listening yet."""
        key = (namespace, near)
        if key in self._told:
            return False
        self._told[key] = None
        if len(self._told) > SOCKETS_MOST:
            del self._told[next(iter(self._told))]
        return True

    def port(self, inode: int) -> int:
        """Return the port of the TCP socket with this inode, 0 where it is not in the agent's own namespace."""
        try:
            own = SocketList()
        except OSError:
            return 0
        try:
            return next((one.local_port for one in own.sockets(TCP, (LISTEN,)) if one.inode == inode), 0)
        except OSError:
            return 0
        finally:
            own.close()

    def silent(self, now_ns: int) -> list[Observation]:
        """Return those of the agent's own namespace that were not told yet, and forget those that are gone."""
        clients = _ephemeral()
        try:
            own = SocketList()
        except OSError:
            return []
        try:
            listed = [one for one in own.sockets(UDP, (CLOSE,)) if one.local_port not in clients]
        except OSError:
            return []
        finally:
            own.close()
        there = {_port(one) for one in listed}
        gone = [key for key in self._told if key[0] == own.namespace and key not in there and key[1][1] not in clients]
        for key in gone:
            del self._told[key]
        new = [one for one in listed if self.is_new(*_port(one))]
        held = holders(one.inode for one in new) if new else {}
        return [_listening(one, held.get(one.inode), now_ns) for one in new]


class SocketSource:
    """Connections and listening ports from comparing the kernel's list of sockets every `interval` seconds."""

    provides: frozenset[Kind] = frozenset({"network"})
    name = "sock_diag"
    remedies: dict[str, str] = {  # noqa: RUF012
        "too_many_sockets": "Run Shield as root on a kernel with BTF, so that it needs no lists of sockets.",
    }

    def __init__(self, interval: float = 5.0) -> None:
        self.interval: float | None = interval
        self.blind_spots: tuple[str, ...] = (
            f"Connections that open and close between two polls ({interval:g} s apart) are not seen.",
            "What a connection carried is not counted, and its duration is known to a poll.",
            "UDP is seen only where the socket is connected, and UDP servers only on ports that were chosen.",
            "Without root, the process behind a socket of another user and other network namespaces are not seen.",
            "DNS questions are not seen, nor by which name a destination was looked up.",
        )
        self._known: dict[Socket, tuple[int, Observation]] = {}
        self._ready: deque[Record] = deque()
        self._filtered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._seen = 0
        self._polls = False
        self._clients = range(0)

    def open(self) -> None:
        """Take the list to compare with. Raises SourceUnavailable."""
        try:
            self._known = self._compared({}, time.time_ns())
        except OSError as error:
            remedy = "load the kernel's modules inet_diag, tcp_diag and udp_diag"
            raise SourceUnavailable(self.name, f"the kernel lists no sockets ({error.strerror})", remedy) from None
        self._ready.clear()
        self._filtered.clear()
        self._dropped.clear()
        self._seen = 0
        self._polls = True

    def fileno(self) -> int | None:
        """Return None: this source is polled."""
        return None

    def read(self) -> list[Record]:
        """Return what changed since the last poll, at most 1,024 records. Raises OSError."""
        if self._polls and not self._ready:
            self._known = self._compared(self._known, time.time_ns())
        return [self._ready.popleft() for _ in range(min(_BATCH, len(self._ready)))]

    def count(self) -> Count:
        """Return the totals; what no poll saw is in none of them."""
        return Count(self._seen, filtered=dict(self._filtered), dropped=dict(self._dropped), pending=len(self._ready))

    def stop(self) -> None:
        """Poll no more."""
        self._polls = False

    def close(self) -> None:
        """Poll no more; there is nothing else to undo."""
        self.stop()

    def _compared(
        self, known: dict[Socket, tuple[int, Observation]], now_ns: int
    ) -> dict[Socket, tuple[int, Observation]]:
        """List all sockets, queue what is new and what is gone against `known`, and return what is known now."""
        self._clients = _ephemeral()
        listed = [one for each in _lists() for one in (*each.sockets(TCP, _OPEN), *each.sockets(UDP, _UDP_STATES))]
        current = {one._replace(state=LISTEN if _listens(one) else ESTABLISHED): None for one in listed}
        served = {(one.namespace, one.local_port) for one in current if one.state == LISTEN}
        self._queue_ends(known, current, now_ns)
        new = [one for one in current if one not in known]
        held = holders(one.inode for one in new) if new else {}
        kept = {one: known[one] for one in current if one in known}
        for one in new:
            seen = _seen(one, held.get(one.inode), (one.namespace, one.local_port) in served, now_ns)
            if len(kept) < SOCKETS_MOST:
                kept[one] = now_ns, seen
                self._tell(one, seen)
            else:
                self._seen += 1
                self._dropped["too_many_sockets"] += 1
        return kept

    def _queue_ends(
        self, known: dict[Socket, tuple[int, Observation]], current: dict[Socket, None], now_ns: int
    ) -> None:
        for one, (since_ns, seen) in known.items():
            if one not in current and one.state != LISTEN and seen.network is not None:
                network = replace(seen.network, state="closed", duration_ns=now_ns - since_ns)
                self._tell(one, replace(seen, ts_ns=now_ns, network=network))

    def _tell(self, one: Socket, seen: Observation) -> None:
        self._seen += 1
        if one.protocol == UDP and one.state == LISTEN and one.local_port in self._clients:
            self._filtered["udp_on_ephemeral_port"] += 1
        else:
            self._ready.append(seen)


def _lists() -> Iterator[SocketList]:
    """Yield the lists of all namespaces that can be entered, the agent's own first. Raises OSError for that one.

    They are closed at once: an open one would keep a namespace alive that nobody else needs.
    """
    own = SocketList()
    try:
        yield own
    finally:
        own.close()
    for number, pid in namespaces().items():
        if number == own.namespace:
            continue
        try:
            other = SocketList(pid)
        except OSError:
            continue
        try:
            yield other
        finally:
            other.close()


def _port(one: Socket) -> tuple[int, tuple[str, int]]:
    return one.namespace, one.near


def _listens(one: Socket) -> bool:
    return one.state == (LISTEN if one.protocol == TCP else CLOSE)


def _seen(one: Socket, holder: Holder | None, inbound: bool, now_ns: int) -> Observation:
    if one.state == LISTEN:
        return _listening(one, holder, now_ns)
    source, destination = (one.far, one.near) if inbound else (one.near, one.far)
    network = Network(
        transport=TRANSPORT[one.protocol],
        source_ip=source[0],
        source_port=source[1],
        destination_ip=destination[0],
        destination_port=destination[1],
        initiated=not inbound,
        state="opened",
    )
    return Observation(now_ns, "network_connection", _holder(one, holder), network=network)


def _listening(one: Socket, holder: Holder | None, now_ns: int) -> Observation:
    ip, port = one.near
    network = Network(transport=TRANSPORT[one.protocol], destination_ip=ip, destination_port=port)
    return Observation(now_ns, "network_listen", _holder(one, holder), network=network)


def _holder(one: Socket, holder: Holder | None) -> Actor | None:
    return actor(holder.pid, holder.start_ticks, one.namespace) if holder is not None else None


def _ephemeral() -> range:
    """Return the ports that the kernel gives to sockets which ask for none: those of clients, not of servers."""
    try:
        low, high = (int(number) for number in _EPHEMERAL.read_text().split())
    except OSError:  # a /proc that shows only processes (proc(5), subset)
        return _EPHEMERAL_UNLESS_SET
    return range(low, high + 1)
