"""A file's format is told by its first bytes, whatever its name, and from a pipe too."""

import io
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay.damage import Damaged
from shield.collector.replay.detect import UnknownFormat, open_reader
from shield.record import LogRecord, RecordedEvent

EVENT = b'{"ts":1,"category":"process_start","data":{"process":{"pid":7}}}'
XML_FORM = json.dumps(
    {
        "Event": {
            "System": {
                "EventID": 1,
                "Channel": "Security",
                "TimeCreated": {"#attributes": {"SystemTime": "2020-10-18"}},
            },
            "EventData": {"A": "b"},
        }
    }
).encode()
PRETTY = json.dumps(json.loads(XML_FORM), indent=2).encode()
NXLOG = b'{"@timestamp":"2020-10-18T19:01:02Z","host":"wec","EventID":1,"Channel":"Security","Hostname":"h"}'
WINLOGBEAT = b'{"@timestamp":"2020-10-18T19:01:02Z","winlog":{"event_id":1,"channel":"Security"},"event":{"code":1}}'
ECS = (
    b'{"@timestamp":"2020-10-18T19:01:02Z","host":{"name":"x"},"event":{"category":["process"],"type":["start"]},'
    b'"process":{"pid":5,"executable":"/bin/ls"}}'
)
AUDIT = b'type=EXECVE msg=audit(1600000000.123:4): argc=1 a0="id"\n'
SYSLOG = b"2020-10-18T19:01:02Z web-3 sshd[12]: Accepted password for root from 192.0.2.4 port 22 ssh2\n"
EVTX = b"ElfFile\0".ljust(4096, b"\0") + bytes(65536)

FORMATS = [
    (EVENT, "Shield's events"),
    (b"{torn\n" + EVENT, "Shield's events"),
    (XML_FORM + b"\n", "Windows events as JSON"),
    (PRETTY + b"\n" + PRETTY, "Windows events as JSON"),
    (b"[\n" + PRETTY + b",\n" + PRETTY + b"]", "Windows events as JSON"),
    (XML_FORM.decode().encode("utf-16"), "Windows events as JSON"),
    (b"Record 1\n" + PRETTY, "Windows events as JSON"),
    (NXLOG, "Windows events as JSON"),
    (WINLOGBEAT, "Windows events as JSON"),
    (ECS, "Elastic Common Schema"),
    (AUDIT, "Linux audit log"),
    (SYSLOG, "syslog text"),
    (EVTX, "Windows event log (EVTX)"),
]


@pytest.fixture
def pipe() -> Iterator[tuple[io.BufferedReader, io.FileIO]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, io.FileIO(writing, "wb") as writer:
        yield reader, writer


@pytest.mark.parametrize(("text", "name"), FORMATS)
def test_the_format_is_told_from_a_file_and_from_a_pipe(
    text: bytes, name: str, tmp_path: Path, pipe: tuple[io.BufferedReader, io.FileIO]
) -> None:
    file = tmp_path / "events.log"
    file.write_bytes(text)
    with file.open("rb") as opened:
        found = open_reader(opened, "events.log")
        items = list(found.items)
    reader, writer = pipe
    if len(text) < 60_000:  # what a pipe holds
        writer.write(text)
        writer.close()
        piped = open_reader(reader, "-")
        assert (piped.format, [type(item) for _, item in piped.items]) == (name, [type(item) for _, item in items])
    assert found.format == name
    assert not items or any(not isinstance(item, Damaged) for _, item in items)


def test_a_pipe_that_stays_open_gives_its_first_line_at_once(pipe: tuple[io.BufferedReader, io.FileIO]) -> None:
    reader, writer = pipe
    writer.write(EVENT + b"\n")
    items = open_reader(reader, "-").items
    assert isinstance(next(items)[1], RecordedEvent)
    writer.write(EVENT + b"\n")
    assert isinstance(next(items)[1], RecordedEvent)


def test_lines_of_other_formats_are_read_by_theirs() -> None:
    text = b"\n".join((EVENT, XML_FORM, ECS, b"{torn", NXLOG, EVENT))
    items = [item for _, item in open_reader(io.BytesIO(text), "mixed").items]
    assert [type(item) for item in items] == [
        RecordedEvent,
        LogRecord,
        RecordedEvent,
        Damaged,
        LogRecord,
        RecordedEvent,
    ]
    assert isinstance(items[3], Damaged)
    assert items[3].place == "mixed:4"
    other_way_round = [item for _, item in open_reader(io.BytesIO(NXLOG + b"\n" + EVENT), "mixed").items]
    assert [type(item) for item in other_way_round] == [LogRecord, RecordedEvent]


@pytest.mark.parametrize("text", [b"", b"\n", b" \r\n\n"])
def test_an_empty_file_holds_nothing(text: bytes) -> None:
    assert list(open_reader(io.BytesIO(text), "empty").items) == []


@pytest.mark.parametrize("text", [b"\x7fELF\2\1\1", b"hello\nworld\n", b'{"a": 1}', b"[1, 2]", b"PK\3\4", bytes(5000)])
def test_what_is_in_none_of_the_formats_is_refused_by_name(text: bytes) -> None:
    with pytest.raises(UnknownFormat, match=r"x\.bin: it begins with .*EVTX.*syslog"):
        open_reader(io.BytesIO(text), "x.bin")


@given(st.binary(max_size=300), st.sampled_from([b"", b"{", b"[{", b'{"Event":', EVENT, XML_FORM, ECS, AUDIT, SYSLOG]))
def test_no_bytes_raise_anything_else(text: bytes, start: bytes) -> None:
    with suppress(UnknownFormat):
        list(open_reader(io.BytesIO(start + text), "x").items)


@pytest.mark.parametrize("text", [b"\0" * 20 + b"\n" + AUDIT + AUDIT, SYSLOG + b"\0\r\0\n" * 9, AUDIT + b"\x01\n" * 9])
def test_a_damaged_text_log_is_told_by_a_line_that_is_whole(text: bytes) -> None:
    assert open_reader(io.BytesIO(text), "x").format in ("Linux audit log", "syslog text")
