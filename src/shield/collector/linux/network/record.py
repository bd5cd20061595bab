"""From the BPF programs' records about the network, laid out as bpf/network.h says, to observations.

A DNS question is held back until its answer is seen, and both become one observation; a question that is not answered
within seconds becomes one by itself.
"""

import socket
import struct
from collections import Counter
from functools import lru_cache
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from shield.collector.linux.clock import BootClock, start_ticks
from shield.collector.linux.network.dns_message import parse
from shield.event import Dns, Namespaces, Network, Process
from shield.record import Actor, Observation

ANSWER_WITHIN_NS = 5_000_000_000
"""How long a question waits for its answer."""

QUESTIONS_MOST = 4096

HEADER = struct.Struct("=II QQQ III 4x")
"""struct header: kind, flags; time, start, start of the parent in ns since boot; pid, ppid, wait status."""

CONNECT, ACCEPT, CLOSE, LISTEN, DATAGRAM, QUESTION, ANSWER = range(4, 11)
_INBOUND, _ESTABLISHED, _UNDIRECTED, _SHARED = 8, 16, 32, 64
_AF_INET = 2
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
# local, remote address; local, remote port, family, protocol; network namespace, length of what is behind; when it
# began in ns since boot, bytes sent, bytes received; the socket's inode
_NETWORK = struct.Struct("=16s16s 4H 2I QQQ Q")
_MESSAGE_AT = HEADER.size + _NETWORK.size
_TRANSPORT = {6: "tcp", 17: "udp"}

_NO_LISTENER = "the process that listens was not seen starting to"
_SHARED_PORT = "several processes listen on this port"
_NO_ANSWER = "no answer was seen"
_ANSWER_CUT = "only a part of the answer could be read"

Key = tuple[str, int, int]
"""Who was asked, from which port, under which number: what a question and its answer have in common."""


class _Told(NamedTuple):
    """One record, its numbers made readable. `near` is this host's end, `far` the other."""

    kind: int
    flags: int
    time_ns: int
    actor: Actor | None
    transport: str
    near: tuple[str, int]
    far: tuple[str, int]
    since_ns: int
    sent: int
    received: int
    namespace: int
    inode: int
    message: bytes


class Listening(Protocol):
    """What is known of the host's listening sockets beside what the records say."""

    def port(self, inode: int) -> int:
        """Return the port of the TCP socket with this inode, 0 where it is not known."""
        ...

    def is_new(self, namespace: int, near: tuple[str, int]) -> bool:
        """Return whether a UDP socket, by its namespace, address and port, has not been told as listening yet."""
        ...


class NetworkDecoder:
    """Decodes records about the network. `filtered` counts, by reason, those that became no observation."""

    def __init__(self, clock: BootClock) -> None:
        self.filtered: Counter[str] = Counter()
        self.listening: Listening | None = None
        self._clock = clock
        self._questions: dict[Key, tuple[int, Observation]] = {}

    @property
    def waiting(self) -> int:
        """How many questions still wait for their answers."""
        return len(self._questions)

    def observation(self, raw: bytes) -> Observation | None:
        """Return what a record tells, None for a question that waits now and for what is no DNS message."""
        told = _read(raw)
        if told.kind in (QUESTION, ANSWER):
            return self._exchange(told)
        ts_ns = self._clock.unix_ns(told.time_ns)
        if told.kind == LISTEN:
            return self._listener(told, ts_ns)
        gaps = _why_unknown(told.flags) if told.actor is None else ()
        return Observation(ts_ns, "network_connection", told.actor, network=_connection(told), gaps=gaps)

    def overdue(self, now_ns: int) -> list[Observation]:
        """Return the questions that have waited too long, at a moment on the boot clock; they wait no more."""
        late: list[Observation] = []
        while self._questions:
            key = next(iter(self._questions))
            asked_ns, question = self._questions[key]
            if now_ns - asked_ns < ANSWER_WITHIN_NS:
                break
            del self._questions[key]
            late.append(_unanswered(question))
        return late

    def _listener(self, told: _Told, ts_ns: int) -> Observation | None:
        ip, port = told.near
        known = self.listening
        if known is not None and told.transport == "udp" and not known.is_new(told.namespace, told.near):
            self.filtered["listening_already"] += 1
            return None
        if known is not None and not port:  # it has not bound: the kernel chooses a port just after this was seen
            port = known.port(told.inode)
        network = Network(transport=told.transport, destination_ip=ip, destination_port=port)
        return Observation(ts_ns, "network_listen", told.actor, network=network)

    def _exchange(self, told: _Told) -> Observation | None:
        """Return what an answer and its question are together, or a question that had to make room for a new one."""
        message = parse(told.message)
        if message is None or message.response != (told.kind == ANSWER):
            self.filtered["not_dns"] += 1
            return None
        key = (told.far[0], told.near[1], message.id)
        _, question = self._questions.pop(key, (0, None))
        if question is not None:
            self.filtered["joined_with_answer" if told.kind == ANSWER else "asked_again"] += 1
        asked_ns = self._clock.unix_ns(told.since_ns or told.time_ns)
        network = replace(_directed(told, initiated=True), state="")
        seen = Observation(asked_ns, "dns_query", told.actor, network=network, dns=message.dns)
        if told.kind == ANSWER:
            # What the question said of the process is more: an answer is seen outside of its network namespace, too.
            asker = (question.actor if question is not None else None) or seen.actor
            return replace(seen, actor=asker, gaps=(_ANSWER_CUT,) if message.partial else ())
        self._questions[key] = told.time_ns, seen
        if len(self._questions) > QUESTIONS_MOST:
            return _unanswered(self._questions.pop(next(iter(self._questions)))[1])
        return None


def _read(raw: bytes) -> _Told:
    kind, flags, time_ns, start_ns, _, pid, _, _ = HEADER.unpack_from(raw)
    local, remote, local_port, remote_port, family, protocol, namespace, length, since_ns, sent, received, inode = (
        _NETWORK.unpack_from(raw, HEADER.size)
    )
    return _Told(
        kind=kind,
        flags=flags,
        time_ns=time_ns,
        actor=actor(pid, start_ticks(start_ns), namespace) if pid else None,
        transport=_TRANSPORT[protocol],
        near=(address(local, family), local_port),
        far=(address(remote, family), remote_port),
        since_ns=since_ns,
        sent=sent,
        received=received,
        namespace=namespace,
        inode=inode,
        message=raw[_MESSAGE_AT : _MESSAGE_AT + length],
    )


def _connection(told: _Told) -> Network:
    initiated = None if told.flags & _UNDIRECTED else not told.flags & _INBOUND
    network = _directed(told, initiated)
    if not told.since_ns:
        return network
    failed = told.kind == CLOSE and initiated and not told.flags & _ESTABLISHED
    return replace(
        network,
        state="failed" if failed else "closed",
        bytes_sent=told.sent,
        bytes_received=told.received if told.kind == CLOSE else None,  # what UDP brings in is not counted
        duration_ns=told.time_ns - told.since_ns,
    )


def _directed(told: _Told, initiated: bool | None) -> Network:
    """Return a connection from whoever opened it to whoever was reached."""
    source, destination = (told.far, told.near) if initiated is False else (told.near, told.far)
    return Network(told.transport, source[0], source[1], "", destination[0], destination[1], "", initiated, "opened")


def _unanswered(question: Observation) -> Observation:
    dns = question.dns or Dns("")
    return replace(question, dns=replace(dns, status="TIMEOUT"), gaps=(_NO_ANSWER,))


def address(raw: bytes, family: int) -> str:
    """Return an address as text; an IPv4 address in an IPv6 socket is one."""
    if family == _AF_INET:
        return _text(raw[:4])
    return _text(raw[12:] if raw[:12] == _MAPPED else raw)


@lru_cache(maxsize=4096)
def _text(raw: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


@lru_cache(maxsize=1024)
def actor(pid: int, ticks: int, namespace: int) -> Actor:
    """Return a process in a network namespace, named by the number that `ls -l /proc/PID/ns/net` shows; 0 for none."""
    namespaces = Namespaces(net=namespace) if namespace else None
    return Actor(pid, ticks, process=Process(pid=pid, namespaces=namespaces))


def _why_unknown(flags: int) -> tuple[str, ...]:
    if flags & _SHARED:
        return (_SHARED_PORT,)
    return (_NO_LISTENER,) if flags & _INBOUND else ()
