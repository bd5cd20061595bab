"""Recorded events again: unchanged where they are whole, joined to earlier ones where they aren't."""

import uuid

import msgspec
import pytest

from shield.event import Ancestor, Category, Data, Process, User
from shield.normalizer.lineage import Lineage
from shield.normalizer.recorded import RecordedNormalizer
from shield.record import RecordedEvent

NS = 1_795_529_002_123_456_789


@pytest.fixture
def normalizer() -> RecordedNormalizer:
    return RecordedNormalizer(Lineage("replay"))


def recorded(data: Data, category: Category = "process_start", **fields: object) -> RecordedEvent:
    return msgspec.structs.replace(RecordedEvent(category, data, ts_ns=NS, host="web-3"), **fields)


def process(pid: int, ppid: int = 0, exe: str = "/bin/x", start_ns: int = 0) -> Data:
    return Data(process=Process(pid=pid, ppid=ppid, exe=exe, start_ns=start_ns), user=User(name="alice"))


def test_an_event_with_its_own_ancestry_passes_unchanged(normalizer: RecordedNormalizer) -> None:
    parent = Ancestor(10, exe="/usr/sbin/nginx", start_ns=7)
    data = msgspec.structs.replace(process(11, 10), parent=parent, ancestors=(parent, Ancestor(1, exe="/sbin/init")))
    original = recorded(
        data, ts=5, correlation_id="story", event_id="id", os="windows", dedupe_key="k", gaps=("a gap",)
    )
    event = normalizer.event(original, 0)
    assert event.data == data
    for name in ("ts", "ts_ns", "host", "category", "correlation_id", "event_id", "os", "dedupe_key", "gaps"):
        assert getattr(event, name) == getattr(original, name)
    assert not event.evidence_complete


def test_an_event_without_ancestry_is_joined_to_earlier_ones(normalizer: RecordedNormalizer) -> None:
    normalizer.event(recorded(process(10, 1, "/usr/sbin/nginx")), 0)
    shell = normalizer.event(recorded(process(11, 10, "/bin/sh")), 1)
    last = normalizer.event(recorded(process(12, 11, "/usr/bin/id")), 2)
    assert last.data.parent
    assert last.data.parent.exe == "/bin/sh"
    assert [above.exe for above in last.data.ancestors][:2] == ["/bin/sh", "/usr/sbin/nginx"]
    assert last.correlation_id == shell.correlation_id


def test_children_of_an_event_with_its_own_ancestry_inherit_it(normalizer: RecordedNormalizer) -> None:
    parent = Ancestor(10, exe="/usr/sbin/nginx")
    normalizer.event(recorded(msgspec.structs.replace(process(11, 10, "/bin/sh"), parent=parent)), 0)
    child = normalizer.event(recorded(process(12, 11, "/usr/bin/id")), 0)
    assert [above.exe for above in child.data.ancestors] == ["/bin/sh", "/usr/sbin/nginx"]


def test_a_recorded_end_belongs_to_the_story_of_its_start(normalizer: RecordedNormalizer) -> None:
    start = normalizer.event(recorded(process(11, 10)), 0)
    end = normalizer.event(recorded(process(11, 10), "process_exit"), 0)
    assert end.correlation_id == start.correlation_id != ""


@pytest.mark.parametrize("category", ["heartbeat", "loss", "tamper"])
def test_other_events_are_not_joined(normalizer: RecordedNormalizer, category: Category) -> None:
    event = normalizer.event(recorded(Data(), category, score=3, action="WATCH", rationale="r", severity="low"), 0)
    assert (event.correlation_id, event.score, event.action, event.rationale) == ("", 3, "WATCH", "r")
    assert event.severity == "low"


@pytest.mark.parametrize(
    ("fields", "ts", "ts_ns"),
    [
        ({"ts": 5, "ts_ns": 0}, 5, 5_000_000_000),
        ({"ts": 0, "ts_ns": NS}, NS // 10**9, NS),
        ({"ts": 5, "ts_ns": 5_000_000_001}, 5, 5_000_000_001),
    ],
)
def test_seconds_and_nanoseconds_complete_each_other(
    normalizer: RecordedNormalizer, fields: dict[str, object], ts: int, ts_ns: int
) -> None:
    event = normalizer.event(recorded(process(1), **fields), 0)
    assert (event.ts, event.ts_ns) == (ts, ts_ns)


def test_an_event_without_an_id_gets_one_of_its_time(normalizer: RecordedNormalizer) -> None:
    event = normalizer.event(recorded(process(1)), 5)
    assert uuid.UUID(event.event_id).int >> 80 == NS // 1_000_000


@pytest.mark.parametrize(
    ("data", "os"),
    [
        (process(1, exe="C:\\Windows\\cmd.exe"), "windows"),
        (process(1, exe="d:\\x.exe"), "windows"),
        (process(1, exe="/bin/sh"), "linux"),
        (process(1, exe=""), "linux"),
        (Data(process=Process(1), parent=Ancestor(2, exe="C:\\Windows\\explorer.exe")), "windows"),
        (Data(), "linux"),
    ],
)
def test_the_platform_is_told_by_the_drive_letter(normalizer: RecordedNormalizer, data: Data, os: str) -> None:
    assert normalizer.event(recorded(data), 0).os == os


def test_a_recorded_platform_counts_more_than_a_path(normalizer: RecordedNormalizer) -> None:
    assert normalizer.event(recorded(process(1, exe="C:\\x"), os="linux"), 0).os == "linux"
