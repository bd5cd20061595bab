"""Connections, listening sockets and questions to name servers, as sentences."""

from shield.event import Data, Dns, Network
from shield.exporter.quantity import duration, size, some
from shield.exporter.telling.word import doer, endpoint, given, path

_ANSWERS_SHOWN = 3
_SECOND_NS = 1_000_000_000

_NO_ANSWER = {"": "no answer", "TIMEOUT": "no answer", "NXDOMAIN": "no such name", "9003": "no such name"}
"""By the name of the reply's code (RFC 1035, section 4.1.1), or the number that Windows has for it."""

_EMPTY = "nothing of this type"
_NO_ERROR = ("0", "NOERROR")


def connection(data: Data) -> str:
    """Return `curl connected to 203.0.113.9:443 (example.org) over tcp`, or what became of many connections."""
    network = data.network
    if network is None:
        return ""
    is_inbound = network.initiated is False
    there = _caller(network) if is_inbound else _called(network)
    number = some(network.count, "connection")
    match network.state:
        case "failed":
            times = f" {network.count:,} times" if network.count > 1 else ""
            return f"{doer(data)} could not connect to {there}{times}{_within(network)}"
        case "closed":
            did = f"accepted {number} from" if is_inbound else f"made {number} to"
            return f"{doer(data)} {did} {there}{_traffic(network)}"
        case _:
            return f"{doer(data)} {'accepted' if is_inbound else 'connected to'} {there}"


def listen(data: Data) -> str:
    """Return `nc listens on 0.0.0.0:4444/tcp`."""
    network = data.network
    if network is None:
        return ""
    here = network.source_ip, network.source_port
    ip, port = here if any(here) else (network.destination_ip, network.destination_port)
    transport = f"/{given(network.transport)}" if network.transport else ""
    return f"{doer(data)} listens on {endpoint(ip, port, '')}{transport}"


def question(data: Data) -> str:
    """Return `curl asked for evil.example (A): 203.0.113.9`."""
    dns = data.dns
    if dns is None:
        return ""
    kind = f" ({given(dns.type)})" if dns.type else ""
    return f"{doer(data)} asked for {path(dns.query)}{kind}: {_answer(dns)}"


def _called(network: Network) -> str:
    """Return where a connection goes to; also from where, if nobody knows which end opened it."""
    there = endpoint(network.destination_ip, network.destination_port, network.destination_host)
    if network.initiated is None and (network.source_ip or network.source_host):
        there += f" from {endpoint(network.source_ip, network.source_port, network.source_host)}"
    return f"{there} over {given(network.transport)}" if network.transport else there


def _caller(network: Network) -> str:
    """Return where a connection comes from, and to which port."""
    there = endpoint(network.source_ip, network.source_port, network.source_host)
    if network.destination_port:
        there += f" on port {network.destination_port}"
    return there if network.transport in ("", "tcp") else f"{there} over {given(network.transport)}"


def _traffic(network: Network) -> str:
    """Return how much went each way, and how long it took: `, 3.4 MB sent, 120 kB received in 41 s`."""
    sent, received = network.bytes_sent, network.bytes_received
    told = f", {size(sent)} sent" if sent is not None else ""
    told += f", {size(received)} received" if received is not None else ""
    return told + _within(network)


def _within(network: Network) -> str:
    return f" in {duration(network.duration_ns / _SECOND_NS)}" if network.duration_ns is not None else ""


def _answer(dns: Dns) -> str:
    if dns.answers:
        shown = ", ".join(map(given, dns.answers[:_ANSWERS_SHOWN]))
        more = len(dns.answers) - _ANSWERS_SHOWN
        return f"{shown} and {more:,} more" if more > 0 else shown
    if dns.status in _NO_ERROR:
        return _EMPTY
    return _NO_ANSWER.get(dns.status) or f"no answer ({given(dns.status)})"
