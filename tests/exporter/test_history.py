"""Reading events back: in order through rotation, around damage, and as they come."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.event import Ancestor, Data, Event, Process, Signal, encode, uuid7
from shield.exporter.history import Damage, Entry, Filter, entries, find, follow, read
from shield.exporter.jsonl import JsonlWriter
from shield.exporter.rotation import rotated

SECOND = 1_000_000_000
NOW = 1_795_529_002 * SECOND


def event(number: int = 0, **fields: object) -> Event:
    """An event that differs from others by `number`."""
    values: dict[str, object] = {
        "ts": NOW // SECOND + number,
        "host": "web-3",
        "category": "process_start",
        "action": "ALLOW",
        "score": 0,
        "rationale": "low_signal",
        "data": Data(process=Process(pid=100 + number, exe="/bin/true", cmdline=f"true {number}")),
        "policy_version": "1",
        "dedupe_key": "",
        "correlation_id": f"story-{number}",
        "event_id": uuid7(NOW // 1_000_000 + number, number),
        "ts_ns": NOW + number * SECOND,
        "seq": number,
    }
    return Event(**{**values, **fields})  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def written(path: Path, numbers: range, rotate_bytes: int = 1200) -> JsonlWriter:
    """Write events, an event a second, into as many files as `rotate_bytes` makes."""
    writer = JsonlWriter(path, rotate_bytes=rotate_bytes, fsync="never", keep_seconds=None)
    for number in numbers:
        writer.write([encode(event(number))], NOW + number * SECOND)
    return writer


def numbers(stream: Iterator[Event]) -> list[int]:
    return [each.seq for each in stream]


def news(stream: Iterator[Entry | None]) -> list[int]:
    """The numbers of what `follow` has until it waits."""
    return [entry.event.seq for entry in iter(lambda: next(stream), None) if entry]


def test_events_are_read_in_the_order_of_writing_through_rotation(path: Path) -> None:
    written(path, range(20)).close()
    assert len(rotated(path)) > 3
    assert numbers(read(path)) == list(range(20))


def test_rotated_files_are_read_without_a_current_one(path: Path) -> None:
    written(path, range(10)).close()
    path.unlink()
    assert numbers(read(path)) == list(range(len(numbers(read(path)))))


@pytest.mark.parametrize("missing", ["events.jsonl", "no/such/folder/events.jsonl"])
def test_a_missing_file_is_an_error_not_an_empty_history(tmp_path: Path, missing: str) -> None:
    with pytest.raises(FileNotFoundError):
        list(read(tmp_path / missing))


@pytest.mark.parametrize(
    "damage",
    [
        b'{"ts":1,"host":"torn',
        b"",
        b"\0" * 5000,
        b'{"ts":"not a number"}',
        b'{"host":"\xff"}',
        b"\xff\xfe",
        b'{"x":' + b"[" * 100_000,
        b"[]",
    ],
)
def test_a_damaged_line_is_skipped_and_told_with_its_place(path: Path, damage: bytes) -> None:
    path.write_bytes(encode(event(1)) + b"\n" + damage + b"\n" + encode(event(2)) + b"\n")
    damages: list[Damage] = []
    assert numbers(read(path, damages.append)) == [1, 2]
    assert [(each.file, each.line) for each in damages] == [(path, 2)]
    assert damages[0].reason


def test_a_line_without_end_is_never_held_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shield.exporter.history.LINE_LIMIT", 2000)
    path.write_bytes(b"x" * 10_000 + b"\n" + encode(event(2)) + b"\n")
    damages: list[Damage] = []
    assert numbers(read(path, damages.append)) == [2]
    assert [(each.line, each.reason) for each in damages] == [(1, "is longer than 2,000 bytes")]


@given(st.binary(max_size=300))
def test_no_bytes_can_stop_the_reader(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "events.jsonl"
    path.write_bytes(junk + b"\n" + encode(event(7)) + b"\n")
    assert numbers(read(path))[-1:] == [7]


def test_the_bytes_of_a_line_come_with_the_event(path: Path) -> None:
    raw = encode(event(1)).replace(b":", b" : ", 1)[:-1] + b',"from_the_future":true}'
    path.write_bytes(raw + b"\n")
    assert [entry.raw for entry in entries(path)] == [raw]


def test_an_event_is_found_by_the_beginning_of_its_id_in_any_file(path: Path) -> None:
    written(path, range(20)).close()
    for number in (0, 11, 19):
        wanted = event(number).event_id
        assert [entry.event.seq for entry in find(path, wanted)] == [number]
        assert number in [entry.event.seq for entry in find(path, wanted[:13].upper())]
    assert list(find(path, "ffff")) == []


def test_an_id_mentioned_in_another_event_is_not_that_event(path: Path) -> None:
    earlier = event(1).event_id
    mention = event(2, story=(Signal("r", "rule", 40, event_id=earlier),))
    path.write_bytes(encode(mention) + b"\n")
    assert list(find(path, earlier)) == []


@pytest.mark.parametrize("text", ["", "xyz", '"', "0" * 37, "-1"])
def test_what_cannot_be_an_id_is_refused(path: Path, text: str) -> None:
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="hexadecimal digits"):
        list(find(path, text))


def test_following_shows_only_what_is_new(path: Path) -> None:
    writer = written(path, range(3), rotate_bytes=1 << 20)
    stream = follow(path, sleep=lambda _: None)
    assert news(stream) == []
    writer.write([encode(event(3)), encode(event(4))], NOW)
    assert news(stream) == [3, 4]
    writer.close()


def test_following_from_the_start_goes_on_without_a_gap(path: Path) -> None:
    writer = written(path, range(20))
    stream = follow(path, from_start=True, sleep=lambda _: None)
    assert news(stream) == list(range(20))
    for number in range(20, 40):
        writer.write([encode(event(number))], NOW + number * SECOND)
        if number % 7 == 0:  # between looks, the file is rotated more than once
            assert news(stream)[-1] == number
    writer.close()
    assert news(stream) == [36, 37, 38, 39]


def test_following_waits_for_a_file_and_for_the_end_of_a_line(path: Path) -> None:
    stream = follow(path, sleep=lambda _: None)
    assert news(stream) == []
    line = encode(event(5))
    with path.open("ab", buffering=0) as file:
        file.write(line[:40])
        assert news(stream) == []
        file.write(line[40:] + b"\n")
        assert news(stream) == [5]


def test_following_goes_on_after_the_file_was_removed_or_cut(path: Path) -> None:
    writer = written(path, range(2), rotate_bytes=1 << 20)
    stream = follow(path, from_start=True, sleep=lambda _: None)
    assert news(stream) == [0, 1]
    path.unlink()
    assert news(stream) == []
    writer.write([encode(event(2))], NOW + 60 * SECOND)
    assert news(stream) == [2]
    path.write_bytes(b"")
    assert news(stream) == []
    writer.write([encode(event(3))], NOW + 120 * SECOND)
    assert news(stream) == [3]
    writer.close()


def test_following_goes_on_where_its_file_expired(path: Path) -> None:
    writer = JsonlWriter(path, rotate_bytes=500, keep_files=2, keep_seconds=None)
    writer.write([encode(event(0))], NOW)
    stream = follow(path, from_start=True, sleep=lambda _: None)
    assert news(stream) == [0]
    for number in range(1, 8):
        writer.write([encode(event(number))], NOW)
    writer.close()
    left = numbers(read(path))
    assert left[-1] == 7
    assert news(stream) == left


ALERT = event(
    5,
    action="ALERT",
    score=80,
    signals=(Signal("id-1", "web_shell", 50),),
    story=(Signal("id-2", "odd_path", 30),),
    data=Data(process=Process(pid=42, cmdline='sh -c "CURL \uef80x"'), parent=Ancestor(pid=41, exe="/usr/sbin/nginx")),
)


@pytest.mark.parametrize(
    "matching",
    [
        Filter(),
        Filter(actions=frozenset({"ALERT", "WATCH"}), categories=frozenset({"process_start"}), minimum_score=80),
        Filter(since_ns=ALERT.ts_ns, until_ns=ALERT.ts_ns + 1),
        Filter(correlation_id="story-5", pid=42),
        Filter(rule="id-1"),
        Filter(rule="odd_path"),
        Filter(text='c "curl'),
        Filter(text="\uef80"),
        Filter(text="NGINX"),
    ],
)
def test_a_filter_lets_pass_what_it_asks_for(matching: Filter) -> None:
    assert matching.matches(ALERT)


@pytest.mark.parametrize(
    "other",
    [
        Filter(actions=frozenset({"WATCH"})),
        Filter(categories=frozenset({"loss"})),
        Filter(minimum_score=81),
        Filter(since_ns=ALERT.ts_ns + 1),
        Filter(until_ns=ALERT.ts_ns),
        Filter(correlation_id="story-55"),
        Filter(pid=41),
        Filter(rule="web"),
        Filter(text="cmdline"),
    ],
)
def test_a_filter_holds_back_the_rest(other: Filter) -> None:
    assert not other.matches(ALERT)
