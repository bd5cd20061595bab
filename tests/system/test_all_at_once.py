"""The whole agent while everything happens at once: each thing told once, with the process that did it."""

import json
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.system, pytest.mark.live]

_FILES = """
import sys
from pathlib import Path
for number in range(250):
    (Path(sys.argv[1]) / f"{sys.argv[2]}-{number}").write_text("x" * number)
"""
_CONNECTIONS = """
import socket
with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
    for _ in range(1000):
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"hello")
            server.accept()[0].close()
    print(server.getsockname()[1])
"""
_LISTENERS = """
import socket
servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(200)]
print(*(server.getsockname()[1] for server in servers))
"""
_LOGINS = """
import sys, time
from pathlib import Path
log = Path(sys.argv[1])
def lines(first):
    head, what = time.strftime("%b %d %H:%M:%S web-1"), "Failed password for root from 198.51.100.7 port"
    return "".join(f"{head} sshd[{9000 + number}]: {what} {number} ssh2\\n" for number in range(first, first + 500))
with log.open("a") as file:
    file.write(lines(1000))
    file.flush()
    log.rename(log.with_name("auth.log.1"))
    file.write(lines(1500))
with log.open("a") as file:
    file.write(lines(2000))
"""


def started(script: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the agent, let everything happen, and return the events and who did what."""
    place = tmp_path_factory.mktemp("all")
    watched, log, output = place / "watched", place / "auth.log", place / "events.jsonl"
    watched.mkdir()
    log.touch()
    config = {
        "files": {"places": {"test": [f"{watched}/**"]}},
        "identity": {"logs": [str(log)]},
        "state": str(place / "state"),
        "self_test_hours": None,
    }
    (place / "shield.yml").write_text(json.dumps(config))
    command = [
        sys.executable,
        "-m",
        "shield",
        "run",
        "--config",
        place / "shield.yml",
        "--output",
        output,
        "--no-console",
    ]
    agent = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)
    try:
        assert agent.stderr
        greeting = agent.stderr.readline()
        time.sleep(1)
        writers = [started(_FILES, str(watched), str(number)) for number in range(4)]
        connecting, listening, logging = started(_CONNECTIONS), started(_LISTENERS), started(_LOGINS, str(log))
        said = {name: one.communicate(timeout=60)[0] for name, one in (("connect", connecting), ("listen", listening))}
        for one in (*writers, logging):
            one.communicate(timeout=60)
        time.sleep(4)
    finally:
        agent.terminate()
        _, words = agent.communicate(timeout=60)
    return {
        "events": [json.loads(line) for line in output.read_text().splitlines()],
        "writers": {one.pid for one in writers},
        "connecting": (connecting.pid, int(said["connect"])),
        "listening": (listening.pid, set(map(int, said["listen"].split()))),
        "words": greeting + words,
        "status": agent.returncode,
        "config": str(place / "shield.yml"),
    }


def of(happened: dict[str, Any], *categories: str) -> list[dict[str, Any]]:
    return [event for event in happened["events"] if event["category"] in categories]


def test_nothing_was_lost_and_every_ledger_balances(happened: dict[str, Any]) -> None:
    ledgers = of(happened, "heartbeat")[-1]["data"]["health"]["ledgers"]
    for ledger in ledgers:
        fates = sum(sum(ledger[fate].values()) for fate in ("filtered", "folded", "dropped"))
        assert ledger["seen"] == ledger["kept"] + ledger["pending"] + fates, ledger
    assert happened["status"] == 0, happened["words"]
    assert "OUT OF BALANCE" not in happened["words"]
    numbers = [event["seq"] for event in happened["events"]]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_thousand_files_by_four_writers_are_each_told_once_with_their_writer(happened: dict[str, Any]) -> None:
    told = [
        event for event in of(happened, "file_create", "file_write") if event["data"]["file"].get("place") == "test"
    ]
    paths = Counter(event["data"]["file"]["path"] for event in told)
    assert len(paths) == 1000
    assert set(paths.values()) == {1}
    assert {event["data"]["process"]["pid"] for event in told} == happened["writers"]
    assert all(event["data"]["file"]["hashes"]["sha256"] for event in told)
    assert all(event["evidence_complete"] for event in told), {gap for event in told for gap in event["gaps"]}


def test_a_thousand_connections_are_one_at_once_and_the_rest_by_number(happened: dict[str, Any]) -> None:
    pid, port = happened["connecting"]
    own = [
        event for event in of(happened, "network_connection", "network_flow") if event["data"]["process"]["pid"] == pid
    ]
    outbound = [event for event in own if event["data"]["network"]["destination_port"] == port]
    for initiated in (True, False):
        side = [event for event in outbound if event["data"]["network"]["initiated"] is initiated]
        assert [event["category"] for event in side] == ["network_connection", "network_flow"]
        assert side[1]["data"]["network"]["count"] == 1000
        assert side[1]["data"]["network"]["bytes_sent" if initiated else "bytes_received"] == 5000


def test_two_hundred_listening_ports_are_each_told_once(happened: dict[str, Any]) -> None:
    pid, ports = happened["listening"]
    told = [event for event in of(happened, "network_listen") if event["data"]["process"]["pid"] == pid]
    assert Counter(event["data"]["network"]["destination_port"] for event in told) == Counter(ports)


def test_a_burst_of_failed_logins_through_a_rotation_is_told_once_each(happened: dict[str, Any]) -> None:
    told = [event for event in of(happened, "auth_failure") if event["data"]["network"]["source_ip"] == "198.51.100.7"]
    ports = Counter(event["data"]["network"]["source_port"] for event in told)
    assert ports == Counter(range(1000, 2500))
    assert any(signal["name"] == "ssh_passwords_guessed" for event in told for signal in event["signals"])


def test_nothing_is_left_behind(happened: dict[str, Any]) -> None:
    assert happened["status"] == 0
    left = [
        one.info["cmdline"] for one in psutil.process_iter(["cmdline"]) if happened["config"] in one.info["cmdline"]
    ]
    assert left == []
