"""Windows events as other programs export them: whatever the form, the fields are those of the event's XML."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay import windows_json
from shield.collector.replay.damage import Damaged
from shield.collector.replay.windows_event import NO_TIME
from shield.record import LogRecord

NS = 1_603_047_662_500_000_000
SYSMON = "Microsoft-Windows-Sysmon/Operational"
DATA = {"UtcTime": "2020-10-18 19:01:02.500", "ProcessId": 4312, "Image": "C:\\x.exe", "User": "DOM\\alice"}
FIELDS = {
    "EventID": 1,
    "Provider_Name": "Microsoft-Windows-Sysmon",
    "Channel": SYSMON,
    "Computer": "ws1",
    "Level": 4,
    "Task": 1,
    "Opcode": 0,
    "Version": 5,
    "Keywords": "0x8000000000000000",
    "EventRecordID": 77,
    "Execution_ProcessID": 3168,
    "Security_UserID": "S-1-5-18",
    **DATA,
}


def xml_form(data: object = None, part: str = "EventData", attributes: str = "#attributes", **system: object) -> Any:
    return {
        "Event": {
            attributes: {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"},
            "System": {
                "Provider": {attributes: {"Name": "Microsoft-Windows-Sysmon", "Guid": "5770385F"}},
                "EventID": 1,
                "Version": 5,
                "Level": 4,
                "Task": 1,
                "Opcode": 0,
                "Keywords": "0x8000000000000000",
                "TimeCreated": {attributes: {"SystemTime": "2020-10-18T19:01:02.500000Z"}},
                "EventRecordID": 77,
                "Correlation": None,
                "Execution": {attributes: {"ProcessID": 3168, "ThreadID": 4580}},
                "Channel": SYSMON,
                "Computer": "ws1",
                "Security": {attributes: {"UserID": "S-1-5-18"}},
                **system,
            },
            part: DATA if data is None else data,
        }
    }


def python_evtx() -> Any:
    """The same as xmltodict writes it: attributes with an at sign, and all values as text."""
    return {
        "Event": {
            "@xmlns": "http://schemas.microsoft.com/win/2004/08/events/event",
            "System": {
                "Provider": {"@Name": "Microsoft-Windows-Sysmon", "@Guid": "{5770385f}"},
                "EventID": {"@Qualifiers": "", "#text": "1"},
                "Version": "5",
                "Level": "4",
                "Task": "1",
                "Opcode": "0",
                "Keywords": "0x8000000000000000",
                "TimeCreated": {"@SystemTime": "2020-10-18 19:01:02.500000"},
                "EventRecordID": "77",
                "Execution": {"@ProcessID": "3168", "@ThreadID": "4580"},
                "Channel": SYSMON,
                "Computer": "ws1",
                "Security": {"@UserID": "S-1-5-18"},
            },
            "EventData": {"Data": [{"@Name": name, "#text": value} for name, value in DATA.items()]},
        }
    }


def velociraptor() -> Any:
    return {
        "System": {
            "Provider": {"Name": "Microsoft-Windows-Sysmon", "Guid": "5770385F"},
            "EventID": {"Value": 1},
            "Version": 5,
            "Level": 4,
            "Task": 1,
            "Opcode": 0,
            "Keywords": "0x8000000000000000",
            "TimeCreated": {"SystemTime": 1603047662.5},
            "EventRecordID": 77,
            "Execution": {"ProcessID": 3168, "ThreadID": 4580},
            "Channel": SYSMON,
            "Computer": "ws1",
            "Security": {"UserID": "S-1-5-18"},
        },
        "EventData": DATA,
        "Message": "Process Create",
    }


WINLOGBEAT = {
    "@timestamp": "2020-10-18T19:01:02.500Z",
    "log": {"level": "information"},
    "message": "Process Create",
    "host": {"name": "ws1"},
    "winlog": {
        "channel": SYSMON,
        "provider_name": "Microsoft-Windows-Sysmon",
        "computer_name": "ws1",
        "event_id": "1",
        "version": 5,
        "task": 1,
        "opcode": 0,
        "keywords": "0x8000000000000000",
        "record_id": 77,
        "process": {"pid": 3168, "thread": {"id": 4580}},
        "user": {"identifier": "S-1-5-18", "name": "SYSTEM"},
        "event_data": DATA,
    },
}
NXLOG = {
    "EventTime": "2020-10-18 15:01:02",
    "Hostname": "ws1",
    "Keywords": "0x8000000000000000",
    "Level": 4,
    "EventID": 1,
    "SourceName": "Microsoft-Windows-Sysmon",
    "Version": 5,
    "Task": 1,
    "OpcodeValue": 0,
    "RecordNumber": 77,
    "ExecutionProcessID": 3168,
    "Channel": SYSMON,
    "UserID": "S-1-5-18",
    "Message": "Process Create:\r\nRuleName: -",
    **DATA,
}


def read(*documents: object) -> list[LogRecord | Damaged]:
    text = "\n".join(json.dumps(document) for document in documents).encode()
    return [item for _, item in windows_json.read(io.BytesIO(text), "x.json")]


def one(document: object) -> LogRecord:
    (item,) = read(document)
    assert isinstance(item, LogRecord), item
    return item


@pytest.mark.parametrize(
    "document",
    [
        xml_form(),
        xml_form(attributes="@attributes"),
        xml_form(attributes="attributes"),
        xml_form({"Data": [{"#attributes": {"Name": name}, "#text": value} for name, value in DATA.items()]}),
        xml_form([{"Data": {"@Name": name, "#text": value}} for name, value in DATA.items()]),
        xml_form(EventID={"#attributes": {"Qualifiers": 0}, "#text": 1}),
        python_evtx(),
        velociraptor(),
        WINLOGBEAT,
        {"_index": "x", "_source": WINLOGBEAT},
        {f"winlog.{name}": value for name, value in WINLOGBEAT["winlog"].items()}  # type: ignore[attr-defined]
        | {"@timestamp": "2020-10-18T19:01:02.500Z", "log.level": "information"},
        NXLOG,
    ],
)
def test_every_form_gives_the_fields_of_the_xml(document: object) -> None:
    record = one(document)
    assert {name: value for name, value in record.fields.items() if name != "EventTime"} == FIELDS
    assert (record.os, record.host, record.provider) == ("windows", "ws1", "Microsoft-Windows-Sysmon")
    assert (record.channel, record.code, record.record_id) == (SYSMON, "1", 77)
    assert (record.ts_ns, record.gaps) == (NS, ())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"Data": "one"}, {"Data": "one"}),
        ({"Data": {"#text": "one"}}, {"Data": "one"}),
        ({"Data": {"#text": ["one", "", 3]}}, {"Data": ("one", "", 3)}),
        ({"Data": ["one", None, "two"]}, {"Data": ("one", "two")}),
        ({"Data": [{"@Name": "A", "#text": "1"}, {"@Name": "A", "#text": "2"}]}, {"A": ("1", "2")}),
        ({"Data": [{"@Name": "A"}]}, {"A": ""}),
        ({"Data": {"@Name": "A", "#text": "1"}, "Binary": "00"}, {"A": "1", "Binary": "00"}),
        ({"A": None, "B": False, "C": 1.5}, {"B": False, "C": 1.5}),
        (None, {}),
        ({"A": 1 << 80}, {"A": str(1 << 80)}),
    ],
)
def test_data_of_every_shape_become_fields(data: object, expected: dict[str, object]) -> None:
    document = xml_form()
    document["Event"]["EventData"] = data
    fields = one(document).fields
    assert {name: value for name, value in fields.items() if name not in FIELDS} == expected
    assert None not in fields.values()


def test_user_data_are_flat_by_the_names_of_their_leaves() -> None:
    data = {
        "Rule": {
            "#attributes": {"xmlns:auto-ns2": "http://x", "xmlns": "y"},
            "PolicyName": "EXE",
            "Target": {"#attributes": {"kind": "file"}, "#text": "a.exe"},
            "Target_1": "b.exe",
            "Nested": {"Deep": {"Path": "C:\\x"}},
            "Nothing": None,
        }
    }
    fields = one(xml_form(data, "UserData", Channel="Microsoft-Windows-AppLocker/EXE and DLL")).fields
    expected = {"PolicyName": "EXE", "kind": "file", "Target": ("a.exe", "b.exe"), "Path": "C:\\x"}
    assert {name: value for name, value in fields.items() if name not in FIELDS} == expected


def test_a_field_of_the_data_counts_more_than_one_of_the_system_part_but_for_the_event_id() -> None:
    record = one(xml_form({"LogFileCleared": {"Channel": "System", "EventID": 5, "Version": "15.0"}}, "UserData"))
    assert (record.fields["Channel"], record.fields["Version"], record.fields["EventID"]) == ("System", "15.0", 1)
    assert (record.channel, record.code) == (SYSMON, "1")


def test_rendered_text_is_the_message() -> None:
    document = xml_form()
    document["Event"]["RenderingInfo"] = {"Message": "A process was created."}
    assert one(document).message == "A process was created."
    assert one(NXLOG).message == NXLOG["Message"]
    assert one(WINLOGBEAT).message == "Process Create"


def test_get_winevent_names_what_it_lists_without_names() -> None:
    export = {
        "Id": 4104,
        "Version": 1,
        "Level": 5,
        "Task": 2,
        "Opcode": 15,
        "Keywords": 0,
        "RecordId": 9,
        "ProviderName": "Microsoft-Windows-PowerShell",
        "ProviderId": "a0c1853b",
        "LogName": "Microsoft-Windows-PowerShell/Operational",
        "ProcessId": 4312,
        "ThreadId": 1,
        "MachineName": "ws1",
        "UserId": {"BinaryLength": 12, "Value": "S-1-5-18"},
        "TimeCreated": "\\/Date(1603047662500)\\/",
        "Bookmark": {},
        "Message": "Creating Scriptblock text (1 of 1)",
        "Properties": [{"Value": 1}, {"Value": 1}, {"Value": "whoami"}, {"Value": "id"}, {"Value": ""}],
    }
    record = one(export)
    assert (record.fields["ScriptBlockText"], record.fields["Execution_ProcessID"]) == ("whoami", 4312)
    assert (record.fields["Security_UserID"], record.fields["EventID"]) == ("S-1-5-18", 4104)
    assert (record.ts_ns, record.host, record.code) == (NS, "ws1", "4104")
    assert one(export | {"LogName": "Other", "Properties": [{"Value": "a"}, {"Value": 2}]}).fields["Data"] == ("a", 2)


def test_sysmon_fields_are_found_in_its_text_where_nothing_else_has_them() -> None:
    text = "Process Create:\r\nUtcTime: 2020-10-18 19:01:02.500\r\nImage: C:\\x.exe\r\nCommandLine: x -a b: c"
    export = {"EventID": 1, "LogName": SYSMON, "ProviderName": "Microsoft-Windows-Sysmon", "Message": text}
    record = one(export)
    assert (record.fields["Image"], record.fields["CommandLine"], record.ts_ns) == ("C:\\x.exe", "x -a b: c", NS)


def test_what_winlogbeat_moved_into_ecs_fields_comes_back() -> None:
    moved = {
        **WINLOGBEAT,
        "winlog": {**WINLOGBEAT["winlog"], "event_data": {"IntegrityLevel": "High"}},  # type: ignore[dict-item]
        "process": {"executable": "C:\\x.exe", "command_line": "x -a", "parent": {"executable": "C:\\p.exe"}},
    }
    fields = one(moved).fields
    assert (fields["Image"], fields["CommandLine"], fields["ParentImage"]) == ("C:\\x.exe", "x -a", "C:\\p.exe")


@pytest.mark.parametrize("time", [None, "yesterday", -5, "1601-01-01T00:00:00Z", [], True])
def test_an_event_whose_time_cannot_be_read_is_kept_with_a_gap(time: object) -> None:
    record = one(xml_form(TimeCreated={"#attributes": {"SystemTime": time}}))
    assert (record.ts_ns, record.gaps) == (0, (NO_TIME,))


def test_sysmon_for_linux_is_of_linux() -> None:
    assert one(xml_form(Provider={"#attributes": {"Name": "Linux-Sysmon"}})).os == "linux"


@pytest.mark.parametrize(
    "document", [{}, {"Event": {}}, {"Event": 5}, {"EventID": 4}, {"Channel": "x"}, {"winlogs": {}}]
)
def test_what_is_no_windows_event_is_told_with_its_place(document: object) -> None:
    first, second, third = read(xml_form(), document, xml_form())
    assert isinstance(first, LogRecord)
    assert isinstance(third, LogRecord)
    assert isinstance(second, Damaged)
    assert (second.place, second.problem[:16]) == ("x.json:2", "no Windows event")


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["@Name", "#text", "Data", "#attributes"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(_values, st.sampled_from([*xml_form()["Event"]["System"], "EventData"]))
def test_no_value_anywhere_raises(value: object, name: str) -> None:
    document = xml_form()
    if name == "EventData":
        document["Event"][name] = value
    else:
        document["Event"]["System"][name] = value
    flat = {**NXLOG, "Message": value, "EventData": value, "Keywords": value, "Hostname": value}
    beat = {**WINLOGBEAT, "winlog": {"event_data": value, "event_id": value, "channel": value, "user_data": value}}
    for item in read(document, flat, beat):
        if isinstance(item, LogRecord):
            assert all(isinstance(each, str | int | float | bool | tuple) for each in item.fields.values())
            assert all(isinstance(each, str) for each in (item.host, item.channel, item.provider, item.code))
