"""Connections, folded: one event at once where a program first talks to a destination, one more for all that followed.

A peer of a process is a destination address and port it connects to, or for a port it listens on the address that
connects. The first connection to a peer passes; it opens a window. What else is opened or closed in that window is held
back, and told in its end as one event: how many connections ended, with their bytes and the time they lasted together.
Every connection is so counted in exactly one event about an end, however many are folded.
"""

import heapq
from collections import Counter, OrderedDict

from msgspec.structs import replace

from shield.event import Network
from shield.record import Observation

WINDOW_NS = 60_000_000_000
CAPACITY = 16_384
OPENED_FOLDED = "connection_opened_again"
ENDED_FOLDED = "connection_end_into_total"

_GRACE_NS = 1_000_000_000
"""An ending process's connections are closed just after it is seen to end."""

Peer = tuple[int, int, str, str, int, bool]


class _Flow:
    """What has happened between a process and one peer and is not told yet."""

    __slots__ = ("begun", "ended", "failed", "last", "lasted_ns", "open", "over", "received", "sent", "until_ns")

    def __init__(self) -> None:
        self.open = 0
        self.until_ns: int | None = None
        self.over = False
        self.last: Observation | None = None
        self.forget()

    def forget(self) -> None:
        """Begin to count anew, after everything was told."""
        self.begun = self.ended = self.failed = self.lasted_ns = 0
        self.sent: int | None = None
        self.received: int | None = None

    def end(self, network: Network) -> None:
        """Add a connection that has ended."""
        self.open = max(0, self.open - 1)
        self.begun = max(0, self.begun - 1)
        self.ended += 1
        self.failed += network.state == "failed"
        self.lasted_ns += network.duration_ns or 0
        self.sent = _sum(self.sent, network.bytes_sent)
        self.received = _sum(self.received, network.bytes_received)


class Connections:
    """The peers of all processes. Beyond `capacity` of them, the longest unheard of are told and forgotten."""

    def __init__(self, window_ns: int = WINDOW_NS, capacity: int = CAPACITY) -> None:
        self.folded: Counter[str] = Counter()
        self._window_ns = window_ns
        self._capacity = capacity
        self._flows: OrderedDict[Peer, _Flow] = OrderedDict()
        self._peers_of: dict[tuple[int, int], set[Peer]] = {}
        self._windows: list[tuple[int, Peer]] = []

    def __len__(self) -> int:
        return len(self._flows)

    def take(self, seen: Observation) -> tuple[Observation, ...]:
        """Return what is to be told now: `seen` itself unless it was folded, and what had to be forgotten."""
        network = seen.network
        if seen.category != "network_connection" or network is None or not network.state:
            return (seen,)
        peer = _peer(seen, network)
        flow = self._flows.get(peer)
        if flow is None:
            flow = self._add(peer)
        self._flows.move_to_end(peer)
        flow.last = seen
        first = flow.until_ns is None
        if first:
            self._open_window(peer, flow, seen.ts_ns + self._window_ns)
        told = (
            self._opened(flow, network, seen, first=first) if network.state == "opened" else self._ended(flow, network)
        )
        return (*told, *self._made_room())

    def exited(self, pid: int, start_ticks: int, ts_ns: int) -> None:
        """Let the windows of a process that has ended end soon, so that its connections are told and forgotten."""
        for peer in self._peers_of.get((pid, start_ticks), ()):
            flow = self._flows[peer]
            flow.over = True
            self._open_window(peer, flow, ts_ns + _GRACE_NS)

    def due(self, now_ns: int) -> tuple[Observation, ...]:
        """Return what the windows that have ended by `now_ns` (Unix time) held back."""
        told: list[Observation] = []
        while self._windows and self._windows[0][0] <= now_ns:
            until_ns, peer = heapq.heappop(self._windows)
            flow = self._flows.get(peer)
            if flow is None or flow.until_ns != until_ns:
                continue  # forgotten meanwhile, or its window was moved
            told += _total(flow)
            flow.forget()
            flow.until_ns = None
            if flow.over or not flow.open:
                self._remove(peer)
        return tuple(told)

    def rest(self) -> tuple[Observation, ...]:
        """Return all that is held back, and forget everything."""
        told = [total for flow in self._flows.values() for total in _total(flow)]
        self._flows.clear()
        self._peers_of.clear()
        self._windows.clear()
        return tuple(told)

    def _opened(self, flow: _Flow, network: Network, seen: Observation, *, first: bool) -> tuple[Observation, ...]:
        flow.open += network.transport == "tcp"  # UDP has no end to wait for
        if first:
            return (seen,)
        flow.begun += 1
        self.folded[OPENED_FOLDED] += 1
        return ()

    def _ended(self, flow: _Flow, network: Network) -> tuple[Observation, ...]:
        flow.end(network)
        self.folded[ENDED_FOLDED] += 1
        return ()

    def _open_window(self, peer: Peer, flow: _Flow, until_ns: int) -> None:
        flow.until_ns = until_ns
        heapq.heappush(self._windows, (until_ns, peer))

    def _add(self, peer: Peer) -> _Flow:
        flow = self._flows[peer] = _Flow()
        self._peers_of.setdefault(peer[:2], set()).add(peer)
        return flow

    def _remove(self, peer: Peer) -> None:
        del self._flows[peer]
        peers = self._peers_of[peer[:2]]
        peers.discard(peer)
        if not peers:
            del self._peers_of[peer[:2]]

    def _made_room(self) -> list[Observation]:
        told: list[Observation] = []
        while len(self._flows) > self._capacity:
            peer, flow = next(iter(self._flows.items()))
            told += _total(flow)
            self._remove(peer)
        if len(self._windows) > 4 * self._capacity:  # those of flows that are gone, or have another one now
            self._windows = [(flow.until_ns, peer) for peer, flow in self._flows.items() if flow.until_ns is not None]
            heapq.heapify(self._windows)
        return told


def _peer(seen: Observation, network: Network) -> Peer:
    pid, ticks = (seen.actor.pid, seen.actor.start_ticks) if seen.actor is not None else (0, 0)
    inbound = network.initiated is False
    ip = network.source_ip if inbound else network.destination_ip
    return pid, ticks, network.transport, ip, network.destination_port, inbound


def _total(flow: _Flow) -> tuple[Observation, ...]:
    """Return the one event about what a window held back, none where that was nothing."""
    last = flow.last
    if last is None or last.network is None or not (flow.ended or flow.begun):
        return ()
    several = {"source_port": 0} if flow.ended + flow.begun > 1 else {}
    if not flow.ended:
        network = replace(last.network, state="opened", count=flow.begun, **several)
        return (replace(last, category="network_flow", network=network),)
    network = replace(
        last.network,
        state="failed" if flow.failed == flow.ended else "closed",
        count=flow.ended,
        bytes_sent=flow.sent,
        bytes_received=flow.received,
        duration_ns=flow.lasted_ns,
        **several,
    )
    return (replace(last, category="network_flow", network=network),)


def _sum(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + more
