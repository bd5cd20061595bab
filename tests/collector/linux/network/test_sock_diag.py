"""The kernel's lists of sockets, against sockets of this process."""

import os
import socket
from pathlib import Path

import pytest

from shield.collector.linux.network.sock_diag import (
    CLOSE,
    ESTABLISHED,
    LISTEN,
    TCP,
    UDP,
    SocketList,
    holders,
    namespaces,
)


def listed(protocol: int, *states: int) -> dict[tuple[str, int], tuple[int, int, tuple[str, int]]]:
    own = SocketList()
    try:
        return {one.near: (one.state, one.inode, one.far) for one in own.sockets(protocol, states)}
    finally:
        own.close()


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_what_this_process_opens_is_listed_with_its_ends(host: str, family: int) -> None:
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as client,
        socket.socket(family, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind((host, 0))
        near, far = client.getsockname()[:2], server.getsockname()[:2]
        found = listed(TCP, LISTEN, ESTABLISHED)
        assert found[near] == (ESTABLISHED, os.fstat(client.fileno()).st_ino, far)
        assert found[far][0] in (LISTEN, ESTABLISHED)
        assert near not in listed(TCP, LISTEN)
        assert listed(UDP, CLOSE)[datagrams.getsockname()[:2]][1] == os.fstat(datagrams.fileno()).st_ino


def test_more_sockets_than_one_reply_holds_are_all_listed() -> None:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(700)]
    try:
        ports = {port for _, port in listed(TCP, LISTEN)}
        assert {one.getsockname()[1] for one in opened} <= ports
    finally:
        for one in opened:
            one.close()


def test_the_holder_of_a_socket_is_the_process_with_its_start() -> None:
    with socket.socket() as held:
        inode = os.fstat(held.fileno()).st_ino
        holder = holders([inode, 0, 1])[inode]
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert (holder.pid, holder.start_ticks) == (os.getpid(), ticks)


def test_what_proc_does_not_show_has_no_holder(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "self").mkdir()
    assert holders([5], tmp_path) == {}
    assert namespaces(tmp_path) == {}


def test_this_process_lives_in_a_namespace() -> None:
    assert Path("/proc/self/ns/net").stat().st_ino in namespaces()
