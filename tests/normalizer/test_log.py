"""Log records become events, joined into stories: what one process does and what its children do."""

import uuid
from typing import Any

import pytest

from shield.event import Event, Log, LogValue, decode, encode
from shield.normalizer.log import LogNormalizer
from shield.record import LogRecord

SYSMON = "Microsoft-Windows-Sysmon/Operational"
NS = 1_761_165_207_276_702_100


@pytest.fixture
def normalizer() -> LogNormalizer:
    return LogNormalizer("test")


def record(channel: str, code: int, host: str = "ws1", ts_ns: int = NS, **fields: LogValue) -> LogRecord:
    return LogRecord("windows", ts_ns, host, "provider", channel, str(code), 7, "text", fields)


def guid(number: int, started: int = 1_761_165_207) -> str:
    """Return a GUID as Sysmon makes it, of a machine, a second and a token."""
    return f"5AB40FD1-{started & 0xFFFF:04X}-{started >> 16:04X}-5631-{number:012X}"


def sysmon_start(pid: int, ppid: int, image: str = "a.exe", parent: str = "p.exe", **fields: Any) -> LogRecord:
    return record(
        SYSMON,
        1,
        **{
            "ProcessGuid": guid(pid),
            "ProcessId": pid,
            "Image": f"C:\\{image}",
            "ParentProcessGuid": guid(ppid),
            "ParentProcessId": ppid,
            "ParentImage": f"C:\\{parent}",
            "ParentCommandLine": f"{parent} -x",
            "ParentUser": "AD\\p",
            **fields,
        },
    )


def security_start(pid: int, ppid: int, image: str = "a.exe", parent: str = "p.exe", host: str = "ws1") -> LogRecord:
    return record(
        "Security",
        4688,
        host,
        NewProcessId=hex(pid),
        NewProcessName=f"C:\\{image}",
        ProcessId=hex(ppid),
        ParentProcessName=f"C:\\{parent}",
    )


def test_an_event_holds_the_record_and_bears_its_time_and_host(normalizer: LogNormalizer) -> None:
    event = normalizer.event(sysmon_start(10, 5), 3)
    assert (event.ts_ns, event.ts, event.host, event.os) == (NS, NS // 10**9, "ws1", "windows")
    assert (event.category, event.action, event.score) == ("process_start", "ALLOW", 0)
    assert uuid.UUID(event.event_id).int >> 80 == NS // 1_000_000
    log = event.data.log
    assert log
    assert log == Log(
        "windows", "sysmon", "process_creation", "provider", SYSMON, "1", 7, "text", sysmon_start(10, 5).fields
    )
    assert decode(encode(event)) == event


def test_the_parent_is_what_the_log_says_of_it(normalizer: LogNormalizer) -> None:
    data = normalizer.event(sysmon_start(10, 5), 0).data
    assert data.parent
    assert (data.parent.pid, data.parent.exe, data.parent.cmdline) == (5, "C:\\p.exe", "p.exe -x")
    assert (data.parent.user, data.parent.entity_id, data.parent.known) == ("AD\\p", guid(5), True)
    assert data.process
    assert data.process.entity_id == guid(10)


def stories(normalizer: LogNormalizer, *records: LogRecord) -> list[str]:
    return [normalizer.event(each, 0).correlation_id for each in records]


@pytest.mark.parametrize("start", [sysmon_start, security_start])
def test_children_and_siblings_are_one_story(normalizer: LogNormalizer, start: Any) -> None:
    found = stories(normalizer, start(10, 5), start(11, 10, "b.exe", "a.exe"), start(12, 5, "c.exe"))
    assert len(set(found)) == 1
    assert found[0]


def test_ancestors_reach_back_through_all_starts(normalizer: LogNormalizer) -> None:
    stories(normalizer, sysmon_start(10, 5), sysmon_start(11, 10, "b.exe", "a.exe"))
    last = normalizer.event(sysmon_start(12, 11, "c.exe", "b.exe"), 0)
    assert [above.exe for above in last.data.ancestors] == ["C:\\b.exe", "C:\\a.exe", "C:\\p.exe"]


def test_the_two_logs_of_one_start_are_one_story(normalizer: LogNormalizer) -> None:
    assert (
        len(set(stories(normalizer, sysmon_start(10, 5), security_start(10, 5), sysmon_start(11, 10, "b", "a.exe"))))
        == 1
    )
    assert len(set(stories(LogNormalizer(), security_start(10, 5), sysmon_start(10, 5)))) == 1


@pytest.mark.parametrize(
    "doing",
    [
        record(SYSMON, 3, ProcessGuid="{" + guid(10) + "}", ProcessId="10", Image="C:\\a.exe"),
        record(SYSMON, 10, SourceProcessGUID=guid(10), SourceProcessId=10, SourceImage="C:\\a.exe"),
        record("Security", 4663, ProcessId="0xa", ProcessName="C:\\a.exe", SubjectLogonId="0x99"),
        record("Microsoft-Windows-PowerShell/Operational", 4104, Execution_ProcessID=10, ScriptBlockText="x"),
    ],
)
def test_what_a_process_does_belongs_to_its_story(normalizer: LogNormalizer, doing: LogRecord) -> None:
    start = normalizer.event(sysmon_start(10, 5), 0)
    event = normalizer.event(doing, 0)
    assert event.correlation_id == start.correlation_id
    assert event.data.process
    assert event.data.process.exe == "C:\\a.exe"
    assert event.data.parent is None


def test_a_process_whose_start_was_not_recorded_is_known_from_what_it_does(normalizer: LogNormalizer) -> None:
    doing = record(SYSMON, 3, ProcessGuid=guid(10), ProcessId=10, Image="C:\\a.exe")
    child = sysmon_start(11, 10, "b.exe", "a.exe")
    assert len(set(stories(normalizer, doing, child, doing))) == 1


def test_a_late_start_still_tells_whose_child_a_process_is(normalizer: LogNormalizer) -> None:
    normalizer.event(record(SYSMON, 3, ProcessGuid=guid(10), ProcessId=10, Image="C:\\a.exe"), 0)
    parent = normalizer.event(sysmon_start(5, 1, "p.exe", "o.exe"), 0)
    event = normalizer.event(sysmon_start(10, 5), 0)
    assert event.data.parent
    assert (event.data.parent.exe, event.correlation_id) == ("C:\\p.exe", parent.correlation_id)


def test_an_end_tells_what_ended_and_how_long_it_ran(normalizer: LogNormalizer) -> None:
    start = normalizer.event(sysmon_start(10, 5, CommandLine="a -b"), 0)
    ending = record(SYSMON, 5, ts_ns=NS + 5_000, ProcessGuid=guid(10), ProcessId=10, Image="C:\\a.exe")
    end = normalizer.event(ending, 0)
    assert (end.category, end.correlation_id) == ("process_exit", start.correlation_id)
    assert end.data.process
    assert (end.data.process.cmdline, end.data.process.ppid, end.data.process.lifetime_ns) == ("a -b", 5, 5_000)
    assert end.data.parent
    assert end.data.parent.exe == "C:\\p.exe"


def test_a_pid_that_is_used_again_is_another_process(normalizer: LogNormalizer) -> None:
    first = normalizer.event(sysmon_start(10, 5, "a.exe"), 0)
    second = normalizer.event(
        sysmon_start(10, 6, "z.exe", "q.exe", ProcessGuid=guid(10, 1_761_169_999), ParentProcessGuid=guid(6)), 0
    )
    assert second.correlation_id != first.correlation_id
    stale = normalizer.event(record(SYSMON, 3, ProcessGuid=guid(10), ProcessId=10), 0)
    assert stale.correlation_id == guid(10)
    later = normalizer.event(security_start(20, 10, "y.exe", "other.exe"), 0)
    assert later.data.parent
    assert later.data.parent.exe == "C:\\other.exe"


def test_hosts_do_not_share_processes(normalizer: LogNormalizer) -> None:
    one = normalizer.event(security_start(10, 5, host="ws1"), 0)
    other = normalizer.event(security_start(11, 10, "b.exe", "x.exe", host="ws2"), 0)
    again = normalizer.event(security_start(12, 10, "c.exe", "a.exe", host="WS1"), 0)
    assert other.data.parent
    assert other.data.parent.exe == "C:\\x.exe"
    assert (again.correlation_id, other.correlation_id != one.correlation_id) == (one.correlation_id, True)


def test_what_no_process_did_belongs_to_its_session(normalizer: LogNormalizer) -> None:
    logon = record("Security", 4624, TargetUserName="bob", TargetLogonId="0x9f")
    change = record("Security", 4732, SubjectUserName="bob", SubjectLogonId="0x9f")
    assert stories(normalizer, logon, change) == ["ws1/0x9f", "ws1/0x9f"]
    assert stories(normalizer, record("System", 7045)) == [""]


def test_gaps_of_the_reader_leave_the_evidence_incomplete(normalizer: LogNormalizer) -> None:
    event = normalizer.event(LogRecord("windows", channel="System", gaps=("a gap",)), 0)
    assert (event.evidence_complete, event.gaps) == (False, ("a gap",))


def test_names_with_blanks_are_also_known_without_them(normalizer: LogNormalizer) -> None:
    fields: dict[str, LogValue] = {"Threat Name": "EICAR", "Path": "x"}
    event = normalizer.event(record("Microsoft-Windows-Windows Defender/Operational", 1116, **fields), 0)
    assert event.data.log
    assert event.data.log.fields == fields | {"ThreatName": "EICAR"}


def test_records_of_linux_are_read_as_such(normalizer: LogNormalizer) -> None:
    event: Event = normalizer.event(LogRecord("linux", NS, "web", "sshd", "syslog", message="Accepted password"), 0)
    assert event.os == "linux"
    assert event.data.log
    assert (event.data.log.product, event.data.log.service) == ("linux", "sshd")


def test_very_many_hosts_take_no_more_memory_than_many(normalizer: LogNormalizer) -> None:
    for number in range(600):
        normalizer.event(security_start(10, 5, host=f"ws{number}"), 0)
    assert len(normalizer._lineages) <= 256  # pyright: ignore[reportPrivateUsage]


def test_the_same_records_give_the_same_events() -> None:
    records = [sysmon_start(10, 5), security_start(11, 10), record("System", 7045)]
    one, other = LogNormalizer(), LogNormalizer()
    assert [one.event(each, 1) for each in records] == [other.event(each, 1) for each in records]
