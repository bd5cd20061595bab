"""Which name an address was looked up by, so that a connection carries the name of where it goes.

The name that the process itself asked for comes first: many names share one address. Else it is the one that anybody in
the same network namespace asked for last, because a browser or a caching service may ask on behalf of others. An answer
is its sender's claim: that a name leads to an address says nothing about whose the address is.
"""

from collections import OrderedDict

from msgspec.structs import replace

from shield.event import Dns
from shield.record import Actor, Observation

CAPACITY = 16_384
KEPT_NS = 3_600_000_000_000
"""How long a name is remembered: programs go on using an address for longer than the answer says that it is valid."""

_ADDRESS_TYPES = frozenset(("A", "AAAA"))
_ADDRESSES_MOST = 16

Asker = tuple[int, int] | int
"""A process by pid and start, or a network namespace by its number."""


class Resolutions:
    """The latest names of at most `capacity` addresses; the longest unheard of are forgotten first."""

    def __init__(self, capacity: int = CAPACITY, kept_ns: int = KEPT_NS) -> None:
        self._capacity = capacity
        self._kept_ns = kept_ns
        self._names: OrderedDict[tuple[Asker, str], tuple[int, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def learn(self, seen: Observation) -> None:
        """Remember the addresses that a DNS answer gave."""
        dns = seen.dns
        if dns is None or dns.type not in _ADDRESS_TYPES:
            return
        for address in _addresses(dns):
            for asker in _askers(seen.actor):
                self._names[asker, address] = seen.ts_ns, dns.query
                self._names.move_to_end((asker, address))
        while len(self._names) > self._capacity:
            self._names.popitem(last=False)

    def name_of(self, address: str, actor: Actor | None, ts_ns: int) -> str:
        """Return the name by which `actor` found `address`, at a moment in Unix nanoseconds; `""` for none known."""
        for asker in _askers(actor):
            asked_ns, name = self._names.get((asker, address), (0, ""))
            if name and abs(ts_ns - asked_ns) <= self._kept_ns:
                return name
        return ""

    def named(self, seen: Observation) -> Observation:
        """Return a connection with the name of its destination, where this host opened it and the name is known."""
        network = seen.network
        if seen.category != "network_connection" or network is None or network.initiated is False:
            return seen
        name = self.name_of(network.destination_ip, seen.actor, seen.ts_ns) if not network.destination_host else ""
        return replace(seen, network=replace(network, destination_host=name)) if name else seen


def _addresses(dns: Dns) -> list[str]:
    """Return the addresses among the answers; the others are names that the one asked for leads to."""
    return [answer for answer in dns.answers if ":" in answer or answer.replace(".", "").isdigit()][:_ADDRESSES_MOST]


def _askers(actor: Actor | None) -> tuple[Asker, ...]:
    """Return by whom a name may have been asked for, the best first."""
    if actor is None:
        return (0,)
    process = actor.process
    namespace = process.namespaces.net if process is not None and process.namespaces is not None else 0
    return ((actor.pid, actor.start_ticks), namespace)
