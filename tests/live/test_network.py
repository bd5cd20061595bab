"""Connections, listening ports and DNS against the real kernel."""

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest

from shield.collector.linux.network.sockets import SocketSource, listeners
from shield.collector.linux.process import exec as exec_source
from shield.collector.linux.process.exec import EbpfSource
from shield.record import Observation, ProcessExec, Record

ME = os.getpid()


def own_ticks() -> int:
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


@pytest.fixture
def source() -> Iterator[EbpfSource]:
    opened = EbpfSource()
    opened.open()
    yield opened
    opened.close()


def drained(source: EbpfSource) -> list[Record]:
    source.stop()
    records: list[Record] = []
    while batch := source.read():
        records += batch
    return records


def seen(records: list[Record], category: str, pid: int = ME) -> list[Observation]:
    """The observations about a process, all of which must name it by its start as well."""
    found = [one for one in records if isinstance(one, Observation) and one.category == category]
    found = [one for one in found if one.actor is not None and one.actor.pid == pid]
    assert all(one.actor and one.actor.start_ticks for one in found)
    return found


def connections(records: list[Record], state: str, *, initiated: bool, pid: int = ME) -> list[Observation]:
    found = seen(records, "network_connection", pid)
    return [one for one in found if one.network and (one.network.state, one.network.initiated) == (state, initiated)]


def balances(source: EbpfSource, records: list[Record]) -> bool:
    count = source.count()
    lost = sum(count.dropped.values()) + sum(count.filtered.values())
    return count.seen == len(records) + lost + count.pending


def talk(server: socket.socket, request: bytes, reply: bytes) -> tuple[int, int]:
    """Connect to `server`, send a request, get a reply, close both ends; return the two ports."""
    with socket.create_connection(server.getsockname()[:2]) as client:
        accepted, _ = server.accept()
        with accepted:
            client.sendall(request)
            accepted.sendall(reply)
            accepted.recv(len(request), socket.MSG_WAITALL)
            client.recv(len(reply), socket.MSG_WAITALL)
            return client.getsockname()[1], server.getsockname()[1]


def eventually(
    source: EbpfSource | SocketSource, wanted: int, category: str, before: list[Record] | None = None
) -> list[Record]:
    """Read until there are `wanted` observations of `category` about this process, with those `before`, or for 10 s."""
    records = list(before or ())
    deadline = time.monotonic() + 10
    while len(seen(records, category)) < wanted and time.monotonic() < deadline:
        records += source.read()
        time.sleep(0.01)
    return records


@pytest.fixture(params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest, source: EbpfSource) -> Iterator[socket.socket]:
    host = request.param
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listening:
        yield listening


def test_a_thousand_connections_are_each_told_once_on_both_sides(source: EbpfSource, server: socket.socket) -> None:
    ports, records = [], []
    for number in range(500):
        ports.append(talk(server, b"q" * number, b"a" * (2 * number)))
        if number % 100 == 0:
            records += source.read()
    records = eventually(source, 2000, "network_connection", records) + drained(source)
    for initiated in (True, False):
        opened = connections(records, "opened", initiated=initiated)
        closed = connections(records, "closed", initiated=initiated)
        assert [(one.network.source_port, one.network.destination_port) for one in opened if one.network] == ports
        assert {one.network.source_port for one in closed if one.network} == {port for port, _ in ports}
        assert len(closed) == 500
        sizes = {
            one.network.source_port: (one.network.bytes_sent, one.network.bytes_received)
            for one in closed
            if one.network
        }
        near = [(n, 2 * n) if initiated else (2 * n, n) for n in range(500)]
        assert [sizes[port] for port, _ in ports] == near
        assert all(one.network.duration_ns for one in closed if one.network)
        assert {one.network.destination_ip for one in opened if one.network} == {server.getsockname()[0]}
    assert {one.actor.start_ticks for one in connections(records, "opened", initiated=True) if one.actor} == {
        own_ticks()
    }
    assert not source.count().dropped
    assert balances(source, records)


def test_two_hundred_new_listeners_are_each_told_once(source: EbpfSource) -> None:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(100)]
    opened += [socket.create_server(("::", 0), family=socket.AF_INET6) for _ in range(100)]
    ports = [one.getsockname()[1] for one in opened]
    records = drained(source)
    for one in opened:
        one.close()
    found = [one.network for one in seen(records, "network_listen") if one.network]
    assert [one.destination_port for one in found] == ports
    assert Counter(one.destination_ip for one in found) == {"127.0.0.1": 100, "::": 100}
    assert {one.transport for one in found} == {"tcp"}


def test_who_listens_already_is_known_and_not_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (known,) = [one for one in listeners() if one.network and one.network.destination_port == port]
        assert known.actor
        assert (known.actor.pid, known.actor.start_ticks) == (ME, own_ticks())
        source = EbpfSource()
        source.open()
        try:
            talk(server, b"q", b"a")
            records = eventually(source, 4, "network_connection") + drained(source)
        finally:
            source.close()
    assert len(connections(records, "opened", initiated=False)) == 1
    assert not seen(records, "network_listen")


def test_listening_without_choosing_a_port_is_told_with_the_one_that_was_given(source: EbpfSource) -> None:
    with socket.socket() as server:
        server.listen()
        records = source.read()
        talk(server, b"q", b"a")
        port = server.getsockname()[1]
        records = eventually(source, 4, "network_connection", records) + drained(source)
    assert [one.network.destination_port for one in seen(records, "network_listen") if one.network] == [port]
    (accepted,) = connections(records, "opened", initiated=False)
    assert accepted.network
    assert accepted.network.destination_port == port


def test_a_refused_connection_is_told_and_failed(source: EbpfSource) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(taken.getsockname())
    records = drained(source)
    (opened,) = connections(records, "opened", initiated=True)
    (failed,) = connections(records, "failed", initiated=True)
    assert opened.network
    assert failed.network
    assert opened.network.source_port == failed.network.source_port
    assert (failed.network.bytes_sent, failed.network.bytes_received) == (0, 0)


def test_a_process_is_told_before_what_it_does(source: EbpfSource) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).close()"
        with subprocess.Popen([sys.executable, "-S", "-E", "-c", code, str(server.getsockname()[1])]) as child:
            server.accept()[0].close()
        records = drained(source)
    (connected,) = connections(records, "opened", initiated=True, pid=child.pid)
    (started,) = [one for one in records if isinstance(one, ProcessExec) and one.process.pid == child.pid]
    assert records.index(started) < records.index(connected)
    assert connected.actor
    assert connected.actor.start_ticks == started.start_ticks


def test_a_port_that_several_processes_share_names_none_of_them(source: EbpfSource) -> None:
    code = """
import socket, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
print("listening", flush=True)
server.accept()
"""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=subprocess.PIPE) as other:
            assert other.stdout
            assert other.stdout.readline() == b"listening\n"
            socket.create_connection(("127.0.0.1", port)).close()
            other.kill()
    accepted = [
        one
        for one in drained(source)
        if isinstance(one, Observation) and one.network and one.network.destination_port == port
        if (one.network.initiated, one.network.state) == (False, "opened")
    ]
    assert [(one.actor, one.gaps) for one in accepted] == [(None, ("several processes listen on this port",))]


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_datagrams_are_told_by_their_first_with_who_began(source: EbpfSource, host: str, family: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as server, socket.socket(family, socket.SOCK_DGRAM) as client:
        server.bind((host, 0))
        port = server.getsockname()[1]
        for _ in range(50):
            client.sendto(b"question", (host, port))
            _, back = server.recvfrom(100)
            server.sendto(b"answer", back)
            client.recv(100)
        records = drained(source)
        (out,) = connections(records, "opened", initiated=True)
        (inward,) = connections(records, "opened", initiated=False)
        (listening,) = seen(records, "network_listen")
        for one in (out, inward):
            assert one.network
            assert (one.network.transport, one.network.destination_ip) == ("udp", host)
            assert (one.network.source_port, one.network.destination_port) == (client.getsockname()[1], port)
    assert listening.network
    assert (listening.network.transport, listening.network.destination_port) == ("udp", port)


def test_a_silent_datagram_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_source, "_SILENT_S", 0.0)
    source = EbpfSource()
    source.open()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", free_low_port()))
            records = source.read() + source.read() + drained(source)
            (found,) = seen(records, "network_listen")
            assert found.network
            assert found.network.destination_port == server.getsockname()[1]
            assert balances(source, records)
    finally:
        source.close()


def free_low_port() -> int:
    """A port that the kernel gives to nobody who does not ask for it."""
    for port in range(20_000, 30_000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class Resolver:
    """A name server on port 53 of a loopback address of its own, which answers everything but what begins with mute."""

    def __init__(self, host: str = "127.0.53.53") -> None:
        self.address = (host, 53)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            raw, client = self._socket.recvfrom(4096)
            if raw == b"stop":
                return
            query = dns.message.from_wire(raw)
            name = query.question[0].name
            if name.to_text().startswith("mute"):
                continue
            reply = dns.message.make_response(query)
            if name.to_text().startswith("no"):
                reply.set_rcode(dns.rcode.NXDOMAIN)
            else:
                reply.answer = [
                    dns.rrset.from_text(name, 60, "IN", "CNAME", "real.example.net."),
                    dns.rrset.from_text("real.example.net.", 60, "IN", "A", "192.0.2.7", "192.0.2.8"),
                ]
            self._socket.sendto(reply.to_wire(), client)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"stop", self.address)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    opened = Resolver()
    yield opened
    opened.close()


def ask(resolver: Resolver, name: str, *, answered: bool = True) -> int:
    """Ask for the address of `name`; return the port it was asked from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(resolver.address)
        client.send(dns.message.make_query(name, "A").to_wire())
        if answered:
            client.recv(4096)
        return client.getsockname()[1]


def test_each_name_that_is_asked_is_told_with_its_answer(source: EbpfSource, resolver: Resolver) -> None:
    names = [f"{uuid.uuid4().hex}.example.org" for _ in range(100)]
    ports = [ask(resolver, name.upper()) for name in names]
    ask(resolver, "no.example.org")
    records = drained(source)
    found = seen(records, "dns_query")
    assert [one.dns.query for one in found if one.dns] == [*names, "no.example.org"]
    assert [one.network.source_port for one in found[:-1] if one.network] == ports
    first, last = found[0].dns, found[-1].dns
    assert first
    assert last
    assert (first.type, first.status, first.answers[0]) == ("A", "NOERROR", "real.example.net")
    assert set(first.answers[1:]) == {"192.0.2.7", "192.0.2.8"}
    assert (last.status, last.answers) == ("NXDOMAIN", ())
    assert found[0].network
    assert found[0].network.destination_ip == "127.0.53.53"
    assert balances(source, records)


def test_names_asked_over_tcp_are_told_too(source: EbpfSource) -> None:
    with socket.create_server(("127.0.53.53", 53)) as server, socket.create_connection(("127.0.53.53", 53)) as client:
        accepted, _ = server.accept()
        with accepted:
            for number in range(20):
                query = dns.message.make_query(f"n{number}.example.org", "TXT")
                reply = dns.message.make_response(query)
                text = " ".join(f'"{"x" * 200}"' for _ in range(9))
                reply.answer = [dns.rrset.from_text(f"n{number}.example.org.", 60, "IN", "TXT", text)]
                client.sendall(query.to_wire(prepend_length=True))
                accepted.recv(4096)
                accepted.sendall(reply.to_wire(prepend_length=True))
                client.recv(4096)
    records = drained(source)
    found = seen(records, "dns_query")
    assert [one.dns.query for one in found if one.dns] == [f"n{number}.example.org" for number in range(20)]
    assert {one.dns.status for one in found if one.dns} == {"NOERROR"}
    assert {one.network.transport for one in found if one.network} == {"tcp"}
    assert {one.gaps for one in found} == {()}
    assert balances(source, records)


def test_a_kernel_that_shows_only_the_front_of_packets_still_gives_names(
    monkeypatch: pytest.MonkeyPatch, resolver: Resolver
) -> None:
    monkeypatch.setitem(exec_source._WHOLE_PACKET_PROGRAMS, "on_packet_whole", "no_such_function")
    source = EbpfSource()
    source.open()
    try:
        ask(resolver, "www.example.org")
        (found,) = seen(drained(source), "dns_query")
    finally:
        source.close()
    assert found.dns
    assert (found.dns.query, len(found.dns.answers)) == ("www.example.org", 3)
    assert exec_source._IN_FRONT_ONLY in source.blind_spots


def test_a_question_without_an_answer_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, source: EbpfSource, resolver: Resolver
) -> None:
    monkeypatch.setattr("shield.collector.linux.network.record.ANSWER_WITHIN_NS", 10_000_000)
    ask(resolver, "mute.example.org", answered=False)
    (found,) = seen(eventually(source, 1, "dns_query"), "dns_query")
    assert found.dns
    assert (found.dns.query, found.dns.status) == ("mute.example.org", "TIMEOUT")
    assert found.gaps == ("no answer was seen",)


def test_what_is_no_dns_is_no_question_and_harms_nothing(source: EbpfSource, resolver: Resolver) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for raw in (b"", b"x", b"\xff" * 12, b"\xff" * 500, b"stop" * 300, bytes(8000)):
            client.sendto(raw, ("127.0.0.9", 53))
    records = drained(source)
    assert not seen(records, "dns_query")
    assert balances(source, records)


@pytest.fixture
def two_hosts() -> Iterator[tuple[int, int]]:
    """Two network namespaces joined by a cable, 198.51.100.1 and .2; yields a process in each, ended at the end."""
    keepers = [subprocess.Popen(["unshare", "--net", "sleep", "60"]) for _ in range(2)]
    near, far = (keeper.pid for keeper in keepers)
    try:
        own = net_of("self")
        deadline = time.monotonic() + 10
        while own in {net_of(pid) for pid in (near, far)} and time.monotonic() < deadline:
            time.sleep(0.01)
        inside(near, "ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(far))
        for pid, host in ((near, 1), (far, 2)):
            inside(pid, "ip", "address", "add", f"198.51.100.{host}/24", "dev", "cable")
            inside(pid, "ip", "link", "set", "cable", "up")
            inside(pid, "ip", "link", "set", "lo", "up")
        yield near, far
    finally:
        for keeper in keepers:
            keeper.kill()
            keeper.wait()


def net_of(pid: int | str) -> int:
    """The number of the network namespace that a process lives in."""
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def inside(pid: int, *command: str) -> None:
    subprocess.run(["nsenter", "--net", "--target", str(pid), *command], check=True)


def start_inside(pid: int, code: str) -> subprocess.Popen[bytes]:
    command = ["nsenter", "--net", "--target", str(pid), sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


SERVER = """
import socket
server = socket.create_server(("198.51.100.2", 8000))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("198.51.100.2", 9000))
print("ready", flush=True)
connection, _ = server.accept()
connection.sendall(b"welcome")
raw, client = datagrams.recvfrom(100)
datagrams.sendto(raw, client)
connection.recv(1)
"""
CLIENT = """
import socket
connection = socket.create_connection(("198.51.100.2", 8000))
connection.recv(7)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.sendto(b"hello", ("198.51.100.2", 9000))
    client.recv(100)
"""
FIRE_AND_FORGET = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.sendto(b"hello", ("198.51.100.2", 9000))
"""


def test_two_namespaces_have_real_remote_addresses(source: EbpfSource, two_hosts: tuple[int, int]) -> None:
    near, far = two_hosts
    with start_inside(far, SERVER) as server:
        assert server.stdout
        assert server.stdout.readline() == b"ready\n"
        with start_inside(near, CLIENT) as client:
            client.wait(20)
        server.wait(20)
        records = drained(source)
        spaces = {client.pid: net_of(near), server.pid: net_of(far)}
        for pid, initiated in ((client.pid, True), (server.pid, False)):
            opened = connections(records, "opened", initiated=initiated, pid=pid)
            told = [one.network for one in opened if one.network]
            assert {(one.transport, one.destination_port) for one in told} == {("tcp", 8000), ("udp", 9000)}
            assert len(told) == 2
            assert {(one.source_ip, one.destination_ip) for one in told} == {("198.51.100.1", "198.51.100.2")}
            processes = [one.actor.process for one in opened if one.actor and one.actor.process]
            assert {one.namespaces.net for one in processes if one.namespaces} == {spaces[pid]}
    (closed,) = connections(records, "closed", initiated=True, pid=client.pid)
    assert closed.network
    assert closed.network.bytes_received == 7


def test_a_datagram_that_waits_for_its_neighbour_is_still_its_senders(
    source: EbpfSource, two_hosts: tuple[int, int]
) -> None:
    near, _ = two_hosts
    with start_inside(near, FIRE_AND_FORGET) as client:
        client.wait(20)
    records: list[Record] = []
    deadline = time.monotonic() + 10
    while not connections(records, "opened", initiated=True, pid=client.pid) and time.monotonic() < deadline:
        records += source.read()
        time.sleep(0.01)
    (sent,) = connections(records, "opened", initiated=True, pid=client.pid)
    assert sent.network
    assert sent.network.destination_ip == "198.51.100.2"


NAME_SERVER = """
import dns.message, dns.rrset, socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("198.51.100.2", 53))
print("ready", flush=True)
raw, client = server.recvfrom(4096)
reply = dns.message.make_response(dns.message.from_wire(raw))
reply.answer = [dns.rrset.from_text("db.internal.", 60, "IN", "A", "198.51.100.77")]
server.sendto(reply.to_wire(), client)
"""
ASKER = """
import dns.message, socket
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(dns.message.make_query("db.internal", "A").to_wire(), ("198.51.100.2", 53))
client.recv(4096)
"""


def test_the_first_question_out_of_a_new_namespace_is_its_askers(
    source: EbpfSource, two_hosts: tuple[int, int]
) -> None:
    near, far = two_hosts
    with start_inside(far, NAME_SERVER) as server:
        assert server.stdout
        assert server.stdout.readline() == b"ready\n"
        with start_inside(near, ASKER) as client:
            client.wait(20)
        server.wait(20)
        space = net_of(near)
    records = drained(source)
    (found,) = seen(records, "dns_query", client.pid)
    assert found.dns
    assert (found.dns.query, found.dns.answers) == ("db.internal", ("198.51.100.77",))
    assert balances(source, records)
    (sent,) = connections(records, "opened", initiated=True, pid=client.pid)
    assert sent.actor
    assert sent.actor.process
    assert sent.actor.process.namespaces
    assert sent.actor.process.namespaces.net == space


def test_a_ring_that_is_too_small_counts_what_it_lost_by_kind() -> None:
    source = EbpfSource(ring_bytes=4096)
    source.open()
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            for _ in range(100):
                talk(server, b"q", b"a")
        records = drained(source)
        dropped = source.count().dropped
        told = {kind: len(connections(records, "opened", initiated=kind)) for kind in (True, False)}
        assert dropped["ring_full_connect"] >= 100 - told[True]
        assert dropped["ring_full_accept"] >= 100 - told[False]
        assert balances(source, records)
    finally:
        source.close()


def test_a_kernel_that_lacks_a_tracepoint_still_gives_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exec_source._STATE_PROGRAM, "on_state", "no_such_tracepoint")
    source = EbpfSource()
    source.open()
    try:
        subprocess.run(["/bin/true"], check=True)
        with socket.create_server(("127.0.0.1", 0)):
            records = drained(source)
        assert source.provides == {"process"}
        assert "Connections and DNS are not seen: its kernel lacks a tracepoint." in source.blind_spots
        assert any(isinstance(one, ProcessExec) for one in records)
        assert not seen(records, "network_listen")
        assert balances(source, records)
    finally:
        source.close()


def test_without_the_newest_tracepoints_datagrams_have_no_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exec_source._DIRECTION_PROGRAMS, "on_receive", "no_such_tracepoint")
    source = EbpfSource()
    source.open()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", ("127.0.0.1", 9))
        records = drained(source)
    finally:
        source.close()
    assert [one.network.initiated for one in seen(records, "network_connection") if one.network] == [None]


def test_polling_finds_connections_and_listeners_that_last() -> None:
    source = SocketSource(interval=0.01)
    with socket.create_server(("127.0.0.1", 0)) as before:
        source.open()
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
            accepted, _ = server.accept()
            records = source.read()
            ports = (client.getsockname()[1], server.getsockname()[1])
            accepted.close()
        records += source.read()
    listening = [one.network.destination_port for one in seen(records, "network_listen") if one.network]
    assert listening == [ports[1]]
    assert before.fileno() == -1
    for initiated in (True, False):
        for state in ("opened", "closed"):
            found = [one.network for one in connections(records, state, initiated=initiated) if one.network]
            assert [(one.source_port, one.destination_port) for one in found] == [ports]
    count = source.count()
    assert count.seen == len(records) + sum(count.filtered.values()) + count.pending


def test_polling_without_root_tells_what_it_may_see() -> None:
    code = """
import ctypes, os, socket
from shield.collector.linux.network.sockets import SocketSource
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: as for a process that was started by this user
source = SocketSource()
source.open()
server = socket.create_server(("127.0.0.1", 0))
found = [one for one in source.read() if one.network.destination_port == server.getsockname()[1]]
print(found[0].category, found[0].actor.pid == os.getpid())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "network_listen True\n"
