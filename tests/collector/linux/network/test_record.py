"""The BPF programs' records about the network, built byte by byte and read back."""

import socket
import struct
from typing import Any

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.clock import BootClock
from shield.collector.linux.network.record import (
    ACCEPT,
    ANSWER,
    ANSWER_WITHIN_NS,
    CLOSE,
    CONNECT,
    DATAGRAM,
    LISTEN,
    QUESTION,
    QUESTIONS_MOST,
    NetworkDecoder,
    address,
)
from shield.event import Network
from shield.record import Observation

INBOUND, ESTABLISHED, UNDIRECTED, SHARED = 8, 16, 32, 64
NOW = 50_000_000_000


@pytest.fixture
def decoder() -> NetworkDecoder:
    return NetworkDecoder(BootClock())


def record(
    kind: int,
    flags: int = 0,
    *,
    pid: int = 42,
    near: tuple[str, int] = ("10.0.0.3", 40_000),
    far: tuple[str, int] = ("203.0.113.9", 443),
    protocol: int = 6,
    since_ns: int = 0,
    sent: int = 0,
    received: int = 0,
    inode: int = 77,
    time_ns: int = NOW,
    message: bytes = b"",
) -> bytes:
    header = struct.pack("=IIQQQIIII", kind, flags, time_ns, 49_990_000_000, 0, pid, 0, 0, 0)
    family = socket.AF_INET6 if ":" in near[0] else socket.AF_INET
    ends = struct.pack("=16s16s", *(socket.inet_pton(family, ip) for ip in (near[0], far[0])))
    rest = struct.pack("=4H2I4Q", near[1], far[1], family, protocol, 9, len(message), since_ns, sent, received, inode)
    return header + ends + rest + message


def told(decoder: NetworkDecoder, raw: bytes) -> tuple[Observation, Network]:
    seen = decoder.observation(raw)
    assert seen
    assert seen.network
    return seen, seen.network


def test_a_connection_leads_from_who_opened_it_to_who_was_reached(decoder: NetworkDecoder) -> None:
    seen, out = told(decoder, record(CONNECT))
    assert (out.source_ip, out.source_port, out.destination_ip, out.destination_port) == (
        *("10.0.0.3", 40_000),
        *("203.0.113.9", 443),
    )
    assert (out.initiated, out.state, out.transport, seen.category) == (True, "opened", "tcp", "network_connection")
    assert seen.actor
    assert seen.actor.process
    assert seen.actor.process.namespaces
    assert (seen.actor.pid, seen.actor.start_ticks, seen.actor.process.namespaces.net) == (42, 4999, 9)
    _, inward = told(decoder, record(ACCEPT, INBOUND | ESTABLISHED))
    assert (inward.source_ip, inward.destination_port, inward.initiated) == ("203.0.113.9", 40_000, False)


def test_an_end_carries_bytes_and_duration_and_whether_it_ever_was(decoder: NetworkDecoder) -> None:
    raw = record(CLOSE, ESTABLISHED, since_ns=NOW - 5, sent=3, received=4)
    _, closed = told(decoder, raw)
    assert (closed.state, closed.bytes_sent, closed.bytes_received, closed.duration_ns) == ("closed", 3, 4, 5)
    assert told(decoder, record(CLOSE, 0, since_ns=NOW - 5))[1].state == "failed"


def test_datagrams_have_a_first_and_then_totals_of_what_was_sent(decoder: NetworkDecoder) -> None:
    assert told(decoder, record(DATAGRAM, protocol=17))[1].state == "opened"
    _, total = told(decoder, record(DATAGRAM, protocol=17, since_ns=NOW - 60, sent=1000))
    assert (total.transport, total.state, total.bytes_sent, total.bytes_received) == ("udp", "closed", 1000, None)
    assert told(decoder, record(DATAGRAM, UNDIRECTED, protocol=17))[1].initiated is None


def test_nobody_is_named_where_nobody_is_known(decoder: NetworkDecoder) -> None:
    for flags, gaps in (
        (INBOUND, ("the process that listens was not seen starting to",)),
        (INBOUND | SHARED, ("several processes listen on this port",)),
        (0, ()),
    ):
        seen, _ = told(decoder, record(ACCEPT, flags, pid=0))
        assert (seen.actor, seen.gaps) == (None, gaps)


class Known:
    """A host on which the socket with inode 77 has port 5555, and one UDP port was listened on before."""

    def port(self, inode: int) -> int:
        return 5555 if inode == 77 else 0

    def is_new(self, namespace: int, near: tuple[str, int]) -> bool:
        return (namespace, near) != (9, ("10.0.0.3", 53))


def test_a_listener_is_told_with_its_port_unless_it_was_known(decoder: NetworkDecoder) -> None:
    decoder.listening = Known()
    assert told(decoder, record(LISTEN))[1].destination_port == 40_000
    assert told(decoder, record(LISTEN, near=("0.0.0.0", 0), far=("0.0.0.0", 0)))[1].destination_port == 5555
    assert decoder.observation(record(LISTEN, protocol=17, near=("10.0.0.3", 53))) is None
    assert decoder.filtered == {"listening_already": 1}
    assert told(decoder, record(LISTEN, protocol=17, near=("10.0.0.3", 54)))[1].destination_port == 54


def test_addresses_of_both_families_are_read_and_a_mapped_one_is_ipv4() -> None:
    assert address(socket.inet_pton(socket.AF_INET6, "2001:db8::1"), socket.AF_INET6) == "2001:db8::1"
    assert address(socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1"), socket.AF_INET6) == "192.0.2.1"
    assert address(bytes((192, 0, 2, 1)) + bytes(12), socket.AF_INET) == "192.0.2.1"


def question(name: str, number: int) -> bytes:
    return dns.message.make_query(name, "A", id=number).to_wire()


def answer(name: str, number: int) -> bytes:
    made = dns.message.make_response(dns.message.make_query(name, "A", id=number))
    made.answer = [dns.rrset.from_text(f"{name}.", 60, "IN", "A", "192.0.2.1")]
    return made.to_wire()


SERVER = ("10.0.0.53", 53)


def asked(name: str, number: int, **more: Any) -> bytes:
    return record(QUESTION, protocol=17, far=SERVER, message=question(name, number), **more)


def answered(name: str, number: int, **more: Any) -> bytes:
    return record(ANSWER, protocol=17, far=SERVER, message=answer(name, number), since_ns=NOW, **more)


def test_a_question_and_its_answer_are_one_observation(decoder: NetworkDecoder) -> None:
    assert decoder.observation(asked("a.org", 1)) is None
    assert decoder.waiting == 1
    seen, network = told(decoder, answered("a.org", 1, time_ns=NOW + 5))
    assert seen.dns
    assert (seen.category, seen.dns.query, seen.dns.answers) == ("dns_query", "a.org", ("192.0.2.1",))
    assert (network.destination_ip, network.destination_port, network.state) == ("10.0.0.53", 53, "")
    assert (decoder.waiting, decoder.filtered) == (0, {"joined_with_answer": 1})


def test_whoever_of_the_two_knows_the_process_tells_it(decoder: NetworkDecoder) -> None:
    decoder.observation(asked("a.org", 1, pid=0))
    seen, _ = told(decoder, answered("a.org", 1, pid=42))
    assert seen.actor
    assert seen.actor.pid == 42
    decoder.observation(asked("a.org", 2, pid=43))
    seen, _ = told(decoder, answered("a.org", 2, pid=0))
    assert seen.actor
    assert seen.actor.pid == 43


def test_an_answer_alone_is_enough(decoder: NetworkDecoder) -> None:
    seen, _ = told(decoder, answered("a.org", 1))
    assert seen.dns
    assert seen.dns.query == "a.org"


def test_a_question_that_waits_too_long_is_told_without(decoder: NetworkDecoder) -> None:
    decoder.observation(asked("a.org", 1))
    assert decoder.overdue(NOW + ANSWER_WITHIN_NS - 1) == []
    (late,) = decoder.overdue(NOW + ANSWER_WITHIN_NS)
    assert late.dns
    assert (late.dns.query, late.dns.status, late.gaps) == ("a.org", "TIMEOUT", ("no answer was seen",))
    assert decoder.waiting == 0


def test_questions_that_nobody_answers_take_bounded_memory_and_none_is_lost(decoder: NetworkDecoder) -> None:
    made_room = [decoder.observation(asked("a.org", n % 65_536, time_ns=NOW + n)) for n in range(QUESTIONS_MOST + 50)]
    assert sum(one is not None for one in made_room) == 50
    assert decoder.waiting == QUESTIONS_MOST
    assert len(decoder.overdue(NOW + 2 * ANSWER_WITHIN_NS)) == QUESTIONS_MOST


def test_an_answer_where_a_question_should_be_is_none(decoder: NetworkDecoder) -> None:
    assert decoder.observation(record(QUESTION, protocol=17, far=SERVER, message=answer("a.org", 1))) is None
    assert decoder.observation(record(ANSWER, protocol=17, far=SERVER, message=b"nonsense", since_ns=1)) is None
    assert decoder.filtered == {"not_dns": 2}


@given(st.sampled_from((QUESTION, ANSWER)), st.binary(max_size=200))
def test_any_payload_is_survived(kind: int, payload: bytes) -> None:
    decoder = NetworkDecoder(BootClock())
    seen = decoder.observation(record(kind, protocol=17, far=SERVER, message=payload, since_ns=1))
    assert seen is None or seen.dns
