"""Windows event logs, whole and broken: every record that can be read is read, and the rest is told."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.collector.replay import evtx, windows_json
from shield.collector.replay.damage import Damaged
from shield.event import LogValue
from shield.record import LogRecord

REGRESSION = Path(__file__).parents[4] / "shared/data/regression"
HEADER, CHUNK, CHUNK_HEADER = 4096, 65536, 512
FILETIME_1970, TIME_NS = 116_444_736_000_000_000, 1_776_403_493_088_849_100


class Chunk:
    """A chunk in the making: records of plain elements, each name in full where it first stands."""

    def __init__(self, first_id: int) -> None:
        self.first_id = self.next_id = first_id
        self.records: list[bytes] = []
        self.used = CHUNK_HEADER
        self.names: dict[str, int] = {}

    def add(self, event: bytes) -> None:
        body = event + bytes(-len(event) % 8)
        size = len(body) + 28
        filetime = TIME_NS // 100 + FILETIME_1970
        self.records.append(
            struct.pack("<4sIQQ", b"**\0\0", size, self.next_id, filetime) + body + struct.pack("<I", size)
        )
        self.used += size
        self.next_id += 1

    def encoded(self) -> bytes:
        data = b"".join(self.records)
        last = self.used - len(self.records[-1])
        ids = (self.first_id, self.next_id - 1)
        head = struct.pack("<8sQQQQIIII", b"ElfChnk\0", *ids, *ids, 128, last, self.used, zlib.crc32(data))
        head = head.ljust(120, b"\0")
        tables = bytes(CHUNK_HEADER - 128)
        head += struct.pack("<II", 1, zlib.crc32(tables, zlib.crc32(head)))
        return (head + tables + data).ljust(CHUNK, b"\0")

    def element(self, at: int, name: str, content: "Sequence[tuple[str, object]] | str", named: str = "") -> bytes:
        """Return binary XML that stands at an offset of the chunk."""
        out = bytes([0x41 if named else 0x01]) + bytes(4)
        out += self.name(at + len(out), name)
        if named:
            out += bytes(4) + b"\x06" + self.name(at + len(out) + 5, "Name") + self.text(named)
        out += b"\x02"
        if isinstance(content, str):
            return out + (self.text(content) if content else b"") + b"\x04"
        for child, inner in content:
            label, _, attribute = child.partition("=")
            out += self.element(at + len(out), label, inner, attribute)  # type: ignore[arg-type]
        return out + b"\x04"

    def name(self, at: int, name: str) -> bytes:
        if name in self.names:
            return struct.pack("<I", self.names[name])
        self.names[name] = at + 4
        return struct.pack("<IIHH", at + 4, 0, 0, len(name)) + name.encode("utf-16-le") + b"\0\0"

    @staticmethod
    def text(value: str) -> bytes:
        encoded = value.encode("utf-16-le")
        return b"\x05\x01" + struct.pack("<H", len(encoded) // 2) + encoded


def event_log(
    chunks: int = 2, records: int = 5, data: Sequence[tuple[str, object]] = (("Data=Image", "C:\\x.exe"),)
) -> bytes:
    """Return a log of Sysmon events, each of whose `EventData` holds `data`."""
    made: list[bytes] = []
    record_id = 1
    for _ in range(chunks):
        chunk = Chunk(record_id)
        for _ in range(records):
            system = [
                ("Provider=Microsoft-Windows-Sysmon", ""),
                ("EventID", "1"),
                ("Level", "4"),
                ("EventRecordID", str(chunk.next_id)),
                ("Channel", "Microsoft-Windows-Sysmon/Operational"),
                ("Computer", "ws1"),
            ]
            event = [("System", system), ("EventData", data)]
            body = chunk.element(chunk.used + 24 + 4, "Event", event)
            chunk.add(b"\x0f\x01\x01\x00" + body + b"\x00")
        record_id = chunk.next_id
        made.append(chunk.encoded())
    head = struct.pack("<8sQQQIHHHH", b"ElfFile\0", 0, chunks - 1, record_id, 128, 1, 3, HEADER, chunks)
    head = head.ljust(124, b"\0") + struct.pack("<I", zlib.crc32(head.ljust(120, b"\0")))
    return head.ljust(HEADER, b"\0") + b"".join(made)


def outcome(log: bytes) -> tuple[list[LogRecord], list[Damaged]]:
    found = [item for _, item in evtx.read(io.BytesIO(log), "x.evtx")]
    return [x for x in found if isinstance(x, LogRecord)], [x for x in found if isinstance(x, Damaged)]


def ids(records: list[LogRecord]) -> list[int]:
    return [record.record_id for record in records]


def record_at(number: int, log: bytes) -> int:
    """Return the offset of a record of the first chunk, counted from 0."""
    at = HEADER + CHUNK_HEADER
    for _ in range(number):
        at += struct.unpack_from("<I", log, at + 4)[0]
    return at


LOG = event_log()


def test_a_record_says_what_its_xml_does() -> None:
    records, damages = outcome(event_log(1, 1, [("Data=Image", "C:\\é\u202e.exe"), ("Data=Empty", "")]))
    assert damages == []
    (record,) = records
    assert record.fields == {
        "Image": "C:\\é\u202e.exe",
        "Empty": "",
        "EventID": 1,
        "Provider_Name": "Microsoft-Windows-Sysmon",
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "Computer": "ws1",
        "Level": 4,
        "EventRecordID": 1,
    }
    assert (record.os, record.host, record.code, record.record_id) == ("windows", "ws1", "1", 1)


@pytest.mark.parametrize(
    ("data", "value"),
    [([("Data", "one")], "one"), ([("Data", "one"), ("Data", ""), ("Data", "3")], ("one", "", "3"))],
)
def test_data_without_names_are_one_field(data: list[tuple[str, object]], value: LogValue) -> None:
    records, _ = outcome(event_log(1, 1, data))
    assert records[0].fields["Data"] == value


def test_all_chunks_are_read_also_from_a_pipe() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.rest = io.BytesIO(LOG)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            piece = self.rest.read(min(len(buffer), 1000))
            buffer[: len(piece)] = piece
            return len(piece)

    found = [item for _, item in evtx.read(Pipe(), "-")]  # type: ignore[arg-type]
    assert [item.record_id for item in found if isinstance(item, LogRecord)] == list(range(1, 11))


def test_unused_room_and_a_missing_file_header_are_no_damage() -> None:
    assert outcome(LOG + bytes(CHUNK)) == outcome(LOG)
    assert ids(outcome(LOG[HEADER:])[0]) == list(range(1, 11))


def test_a_broken_record_costs_only_itself() -> None:
    log = bytearray(LOG)
    at = record_at(2, LOG)
    log[at + 24] = 0xFF
    records, damages = outcome(bytes(log))
    assert ids(records) == [1, 2, *range(4, 11)]
    assert [damage.offset for damage in damages] == [at]


@pytest.mark.parametrize("field", [0, 4])
def test_reading_goes_on_after_a_broken_link_between_records(field: int) -> None:
    log = bytearray(LOG)
    at = record_at(2, LOG)
    log[at + field : at + field + 4] = bytes(4)
    records, damages = outcome(bytes(log))
    assert ids(records) == [1, 2, *range(4, 11)]
    (damage,) = damages
    assert (damage.offset, "no record" in damage.problem) == (at, True)
    assert damage.place == f"x.evtx: at byte {at}"


def test_records_of_a_chunk_without_its_header_are_found() -> None:
    log = bytearray(LOG)
    log[HEADER : HEADER + CHUNK_HEADER] = bytes(CHUNK_HEADER)
    records, damages = outcome(bytes(log))
    assert ids(records) == list(range(1, 11))
    assert [damage.offset for damage in damages] == [HEADER]
    assert evtx.ALTERED in records[0].gaps


def test_what_was_changed_without_its_checksum_is_doubted() -> None:
    changed = LOG.replace("x.exe".encode("utf-16-le"), "y.exe".encode("utf-16-le"), 1)
    records, damages = outcome(changed)
    assert damages == []
    assert [evtx.ALTERED in record.gaps for record in records] == [True] * 5 + [False] * 5


def test_bytes_that_slipped_in_between_chunks_are_passed_over() -> None:
    records, damages = outcome(LOG[: HEADER + CHUNK] + b"slipped in" + LOG[HEADER + CHUNK :])
    assert ids(records) == list(range(1, 11))
    assert [(damage.offset, damage.problem[:2]) for damage in damages] == [(HEADER + CHUNK, "10")]


def test_a_truncated_log_is_read_as_far_as_it_goes_and_says_what_is_missing() -> None:
    records, damages = outcome(LOG[: record_at(3, LOG) + 50])
    assert ids(records) == [1, 2, 3]
    assert "2 records are missing" in damages[0].problem
    assert "1 of the 2 chunks" in damages[1].problem
    records, damages = outcome(LOG[: HEADER + CHUNK])
    assert (ids(records), len(damages)) == ([1, 2, 3, 4, 5], 1)
    assert outcome(LOG[:100])[1][0].problem == "the file ends within its header"


def test_a_record_that_claims_to_have_no_length_does_not_hang() -> None:
    log = bytearray(LOG)
    at = record_at(4, LOG)
    size = struct.unpack_from("<I", log, at + 4)[0]
    for place in (at + 4, at + size - 4):
        log[place : place + 4] = bytes(4)
    assert ids(outcome(bytes(log))[0]) == [1, 2, 3, 4, *range(6, 11)]


@settings(max_examples=60)
@given(st.integers(1, len(LOG)))
def test_no_truncation_raises_or_loses_what_is_whole(length: int) -> None:
    records, damages = outcome(LOG[:length])
    assert damages or len(records) == 10
    whole = sum(HEADER + CHUNK_HEADER < end <= length for end in (record_at(number + 1, LOG) for number in range(5)))
    assert len(records) >= whole


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, HEADER + CHUNK_HEADER + 2000), st.integers(0, 255)), max_size=20))
def test_no_changed_bytes_raise(changes: list[tuple[int, int]]) -> None:
    log = bytearray(LOG)
    for at, value in changes:
        log[at] = value
    records, damages = outcome(bytes(log))
    assert len(records) + len(damages) >= 5


@settings(max_examples=60)
@given(st.binary(max_size=3000), st.sampled_from([b"", b"ElfFile\0", b"ElfChnk\0", LOG[: HEADER + CHUNK_HEADER]]))
def test_no_garbage_raises(garbage: bytes, start: bytes) -> None:
    outcome(start + garbage)


def test_deeply_nested_elements_are_damage() -> None:
    nested: Sequence[tuple[str, object]] = ()
    for _ in range(300):
        nested = [("a", nested)]
    records, damages = outcome(event_log(1, 1, nested))
    assert len(records) + len(damages) == 1


def twins() -> list[Path]:
    return sorted(file for file in REGRESSION.rglob("*.json") if file.with_suffix(".evtx").exists())


@pytest.mark.skipif(not REGRESSION.exists(), reason=f"needs recorded events in {REGRESSION}")
def test_a_recorded_log_and_its_export_say_the_same() -> None:
    """The exports lack blanks at the end of texts, and one was edited by hand in the case of a letter."""

    def comparable(fields: dict[str, LogValue]) -> dict[str, LogValue]:
        return {name: value.rstrip().casefold() if isinstance(value, str) else value for name, value in fields.items()}

    assert twins()
    for file in twins():
        with file.with_suffix(".evtx").open("rb") as log, file.open("rb") as export:
            logged = [item for _, item in evtx.read(log, "log")]
            exported = [item for _, item in windows_json.read(export, "export")]
        assert len(logged) == len(exported), file
        for one, other in zip(logged, exported, strict=True):
            assert isinstance(one, LogRecord), file
            assert isinstance(other, LogRecord), file
            assert comparable(one.fields) == comparable(other.fields), file
            assert (one.host, one.provider, one.channel, one.code, one.record_id, one.gaps) == (
                (other.host, other.provider, other.channel, other.code, other.record_id, ())
            ), file
            assert abs(one.ts_ns - other.ts_ns) < 1000, file


@pytest.mark.skipif(not REGRESSION.exists(), reason=f"needs recorded events in {REGRESSION}")
def test_the_time_of_a_recorded_event_has_all_of_its_digits() -> None:
    times: list[int] = []
    for file in twins()[:20]:
        with file.with_suffix(".evtx").open("rb") as log:
            times += [item.ts_ns for _, item in evtx.read(log, "log") if isinstance(item, LogRecord)]
    assert any(ns % 1000 for ns in times)
