"""Which listening ports are new, by the lists of sockets of this host."""

import os
import socket
from collections.abc import Iterator

import pytest

from shield.collector.linux.network import sockets
from shield.collector.linux.network.sockets import ListeningPorts, SocketSource, listeners
from shield.collector.source import SourceUnavailable
from shield.record import Observation

ME = os.getpid()


def ports(found: list[Observation]) -> set[tuple[str, int]]:
    mine = [one.network for one in found if one.actor is not None and one.actor.pid == ME and one.network]
    return {(one.transport, one.destination_port) for one in mine}


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A UDP socket on a port that was chosen, as servers do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        for port in range(20_000, 30_000):
            try:
                opened.bind(("127.0.0.1", port))
            except OSError:
                continue
            break
        yield opened


def test_the_inventory_names_what_this_process_listens_on(server: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        found = ports(listeners())
        assert ("tcp", tcp.getsockname()[1]) in found
    assert ("udp", server.getsockname()[1]) in found


def test_a_silent_server_is_found_once_and_again_after_it_was_closed(server: socket.socket) -> None:
    known = ListeningPorts(())
    port = server.getsockname()[1]
    assert ("udp", port) in ports(known.silent(1))
    assert known.silent(2) == []
    server.close()
    assert known.silent(3) == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))
        assert ports(known.silent(4)) == {("udp", port)}


def test_what_was_told_already_is_not_new() -> None:
    known = ListeningPorts(())
    assert known.is_new(1, ("127.0.0.1", 53))
    assert not known.is_new(1, ("127.0.0.1", 53))
    assert known.is_new(2, ("127.0.0.1", 53))


def test_the_port_of_a_socket_is_found_by_its_inode() -> None:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        inode = os.fstat(opened.fileno()).st_ino
        assert ListeningPorts(()).port(inode) == opened.getsockname()[1]
    assert ListeningPorts(()).port(inode) == 0


def test_sockets_beyond_what_is_remembered_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SocketSource()
    source.open()
    monkeypatch.setattr(sockets, "SOCKETS_MOST", 0)
    with socket.create_server(("127.0.0.1", 0)):
        records = source.read()
    count = source.count()
    assert count.dropped["too_many_sockets"] >= 1
    assert count.seen == len(records) + sum(count.dropped.values()) + sum(count.filtered.values()) + count.pending


def test_a_kernel_without_lists_of_sockets_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: int | None = None) -> None:
        raise OSError(93, "Protocol not supported")

    monkeypatch.setattr(sockets, "SocketList", refused)
    with pytest.raises(SourceUnavailable, match="sock_diag: the kernel lists no sockets"):
        SocketSource().open()
