"""Documents in the Elastic Common Schema become events and log records."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay.damage import Damaged, Item
from shield.collector.replay.ecs import matches, read
from shield.record import LogRecord, RecordedEvent

TIME, NS = "2021-10-14T12:00:00.123Z", 1_634_212_800_123_000_000
LINUX = {"name": "web-3", "os": {"type": "linux"}}


def outcome(text: bytes | str) -> list[Item]:
    return [item for _, item in read(io.BytesIO(text.encode() if isinstance(text, str) else text), "export.ndjson")]


def only(document: dict[str, Any]) -> Item:
    (item,) = outcome(json.dumps({"@timestamp": TIME, "host": LINUX, **document}))
    return item


def event(document: dict[str, Any]) -> RecordedEvent:
    item = only(document)
    assert isinstance(item, RecordedEvent)
    return item


def log(document: dict[str, Any]) -> LogRecord:
    item = only(document)
    assert isinstance(item, LogRecord)
    return item


STARTED: dict[str, Any] = {
    "event": {"category": ["process"], "type": ["start"], "action": "exec"},
    "process": {
        "pid": 55,
        "entity_id": "abc",
        "name": "curl",
        "executable": "/usr/bin/curl",
        "args": ["curl", "-s", "http://x"],
        "working_directory": "/tmp",
        "hash": {"sha256": "00ff"},
        "env_vars": ["LD_PRELOAD=/tmp/x.so"],
        "parent": {"pid": 54, "executable": "/bin/bash", "name": "bash", "args": ["bash", "-c", "x"]},
    },
    "user": {"id": "1000", "name": "alice"},
    "container": {"id": "f00"},
}


def dotted(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


@pytest.mark.parametrize("shaped", [dict, dotted, lambda whole: {"_index": "x", "_source": whole}])
def test_a_process_start_is_read_whichever_way_names_are_written(shaped: Any) -> None:
    (found,) = outcome(json.dumps(shaped({"@timestamp": TIME, "host": LINUX, **STARTED})))
    assert isinstance(found, RecordedEvent)
    assert (found.category, found.ts_ns, found.host, found.os) == ("process_start", NS, "web-3", "linux")
    process, parent, user = found.data.process, found.data.parent, found.data.user
    assert process
    assert parent
    assert user
    assert (process.pid, process.ppid, process.exe, process.args) == (
        55,
        54,
        "/usr/bin/curl",
        ("curl", "-s", "http://x"),
    )
    assert (process.cmdline, process.cwd, process.entity_id) == ("curl -s http://x", "/tmp", "abc")
    assert (process.hashes, process.env) == ({"sha256": "00ff"}, {"LD_PRELOAD": "/tmp/x.so"})
    assert (parent.pid, parent.exe, parent.cmdline) == (54, "/bin/bash", "bash -c x")
    assert (user.id, user.name) == (1000, "alice")
    assert found.data.container
    assert found.data.container.id == "f00"


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ({"category": "process", "type": "end"}, "process_exit"),
        ({"category": ["process"], "type": ["start"], "action": "fork"}, None),
        ({"category": ["file"], "type": ["creation"]}, "file_create"),
        ({"category": ["file"], "type": ["deletion"]}, "file_delete"),
        ({"category": ["file"], "type": ["change"], "action": "rename"}, "file_rename"),
        ({"category": ["file"], "type": ["change"], "action": "modification"}, "file_write"),
        ({"category": ["file"], "type": ["change"], "action": "attributes_modified"}, "file_attribute"),
        ({"category": ["network"], "type": ["start"]}, "network_connection"),
        ({"category": ["network"], "type": ["end"]}, None),
        ({"category": ["authentication"], "type": ["start"], "outcome": "success"}, "auth_success"),
        ({"category": ["authentication"], "type": ["start"], "outcome": "failure"}, "auth_failure"),
        ({"category": ["authentication"], "type": ["start"]}, None),
        ({"category": ["iam"], "type": ["user", "creation"]}, "account_change"),
        ({"category": ["driver"], "type": ["start"]}, "module_load"),
        ({"category": ["host"], "type": ["info"]}, None),
    ],
)
def test_the_category_is_the_schemas(said: dict[str, Any], category: str | None) -> None:
    found = only({"event": said, "file": {"path": "/etc/x"}, "destination": {"ip": "192.0.2.9", "port": 443}})
    assert (found.category if isinstance(found, RecordedEvent) else None) == category


def test_connections_and_queries_are_typed() -> None:
    ends = {
        "source": {"ip": "10.0.0.1", "port": 5000},
        "destination": {"ip": "192.0.2.9", "port": "443", "domain": "a.example"},
    }
    found = event({"event": {"category": "network", "type": "connection"}, "network": {"direction": "egress"}, **ends})
    network = found.data.network
    assert network
    assert (network.source_ip, network.source_port) == ("10.0.0.1", 5000)
    assert (network.destination_ip, network.destination_port, network.destination_host) == (
        "192.0.2.9",
        443,
        "a.example",
    )
    assert network.initiated is True
    query = {"question": {"name": "a.example"}, "answers": [{"data": "192.0.2.9"}, 7], "response_code": "NOERROR"}
    found = event({"event": {"category": ["network"]}, "dns": query})
    assert found.category == "dns_query"
    assert found.data.dns
    assert (found.data.dns.query, found.data.dns.answers, found.data.dns.status) == (
        "a.example",
        ("192.0.2.9",),
        "NOERROR",
    )


def test_what_auditbeat_made_of_an_audit_event_has_auditds_own_names_again() -> None:
    found = log(
        {
            "event": {"module": "auditd", "category": ["process"], "type": ["start"]},
            "process": {
                "pid": 55,
                "parent": {"pid": 54},
                "name": "chmod",
                "executable": "/usr/bin/chmod",
                "args": ["chmod", "777", "/tmp/x"],
                "working_directory": "/root",
            },
            "user": {"id": "0", "name": "root", "audit": {"id": "1000", "name": "alice"}},
            "auditd": {
                "message_type": "syscall",
                "sequence": 7,
                "session": "3",
                "result": "success",
                "data": {"syscall": "execve", "a0": "55d0", "a3": "0", "tty": "pts0"},
                "paths": [
                    {"name": "/usr/bin/chmod", "nametype": "NORMAL"},
                    {"name": "/lib/ld.so", "nametype": "NORMAL"},
                ],
            },
            "tags": ["perm"],
        }
    )
    assert (found.provider, found.code, found.record_id, found.host) == ("auditd", "SYSCALL", 7, "web-3")
    fields = found.fields
    assert fields["type"] == ("SYSCALL", "EXECVE", "PATH")
    assert (fields["a0"], fields["a1"], "a3" in fields) == ("chmod", "777", False)
    assert (fields["SYSCALL"], fields["exe"], fields["success"], fields["key"]) == (
        "execve",
        "/usr/bin/chmod",
        "yes",
        "perm",
    )
    assert (fields["pid"], fields["ppid"], fields["auid"], fields["ses"]) == (55, 54, 1000, 3)
    assert (fields["name"], fields["nametype"]) == (("/usr/bin/chmod", "/lib/ld.so"), "NORMAL")


def test_a_line_that_filebeat_forwarded_is_read_as_the_line_it_is() -> None:
    line = "Oct 14 12:00:00 web-3 sshd[77]: Failed password for root from 192.0.2.9 port 333 ssh2"
    found = log({"message": line, "log": {"file": {"path": "/var/log/auth.log"}}})
    assert (found.provider, found.ts_ns, found.fields["source_ip"]) == ("sshd", NS, "192.0.2.9")
    parsed = {
        "message": line.partition(": ")[2],
        "process": {"name": "sshd", "pid": 77},
        "event": {"dataset": "system.auth"},
    }
    found = log(parsed)
    assert (found.provider, found.fields["pid"], found.fields["user"]) == ("sshd", 77, "root")


def test_any_other_document_is_a_log_record_with_its_fields_by_dotted_names() -> None:
    found = log({"event": {"dataset": "nginx.access", "code": "7"}, "url": {"path": "/x"}, "labels": [1, {"a": 2}]})
    assert (found.provider, found.channel, found.code) == ("nginx.access", "nginx.access", "7")
    assert found.fields["url.path"] == "/x"
    assert found.fields["labels"] == (1,)


def test_a_document_of_winlogbeat_is_a_windows_record() -> None:
    winlog = {
        "provider_name": "P",
        "channel": "Security",
        "event_id": "4688",
        "event_data": {"NewProcessName": "C:\\x"},
    }
    found = log({"winlog": winlog})
    assert (found.os, found.channel, found.code) == ("windows", "Security", "4688")
    assert found.fields["NewProcessName"] == "C:\\x"


def test_a_document_without_a_time_says_so() -> None:
    (found,) = outcome(json.dumps(STARTED))
    assert isinstance(found, RecordedEvent)
    assert (found.ts_ns, found.gaps) == (0, ("its time can't be read",))


def test_a_broken_document_costs_only_itself() -> None:
    good = json.dumps({"@timestamp": TIME, **STARTED})
    found = outcome(f"{good}\n{good[:40]}\n{good}\n")
    assert [type(item) for item in found] == [RecordedEvent, Damaged, RecordedEvent]


def test_documents_are_known_by_their_time_and_names() -> None:
    assert matches(json.dumps({"@timestamp": TIME, **STARTED}).encode())
    assert matches(json.dumps([{"@timestamp": TIME, "host.name": "x"}], indent=1).encode())
    assert not matches(json.dumps({"@timestamp": TIME, "winlog": {"event_id": 1}, "host": LINUX}).encode())
    assert not matches(b'{"category":"process_start","data":{}}')
    assert not matches(b"")


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *(
            "@timestamp",
            "event",
            "event.category",
            "event.type",
            "event.outcome",
            "process",
            "process.pid",
            "process.args",
        ),
        *(
            "process.executable",
            "process.parent",
            "user",
            "host",
            "message",
            "auditd",
            "auditd.paths",
            "auditd.data",
            "dns",
        ),
        *("dns.question.name", "dns.answers", "destination.ip", "destination.port", "winlog", "_source", "file.path"),
    ]
)


@given(st.dictionaries(NAMES, JSON | st.sampled_from(["process", "network", "file", "start", TIME]), max_size=10))
def test_no_document_raises(document: dict[str, Any]) -> None:
    raw = json.dumps(document).encode()
    matches(raw)
    for _, item in read(io.BytesIO(raw), "export.ndjson"):
        assert isinstance(item, RecordedEvent | LogRecord | Damaged)


@given(st.binary(max_size=60))
def test_no_bytes_raise(raw: bytes) -> None:
    matches(raw)
    list(read(io.BytesIO(raw), "export.ndjson"))
