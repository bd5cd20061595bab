"""Events of Sysmon for Linux, whole, cut off and hostile."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay.damage import Damaged
from shield.collector.replay.sysmon_linux import matches, read
from shield.record import LogRecord

EVENT = (
    '<Event><System><Provider Name="Linux-Sysmon" Guid="{ff032593-a8d3-4f13-b0d6-01fc615a0f97}"/><EventID>1</EventID>'
    "<Version>5</Version><Level>4</Level><Task>1</Task><Opcode>0</Opcode><Keywords>0x8000000000000000</Keywords>"
    '<TimeCreated SystemTime="2021-10-14T12:00:00.123456000Z"/><EventRecordID>12</EventRecordID><Correlation/>'
    '<Execution ProcessID="901" ThreadID="902"/><Channel>Linux-Sysmon/Operational</Channel><Computer>web-3</Computer>'
    '<Security UserId="0"/></System><EventData><Data Name="RuleName">-</Data>'
    '<Data Name="ProcessGuid">{ec2e1234-1111-6168-0000-000000000000}</Data><Data Name="ProcessId">55</Data>'
    '<Data Name="Image">/usr/bin/curl</Data><Data Name="CommandLine">curl -d &lt;x&gt; &amp;</Data>'
    '<Data Name="User">root</Data></EventData></Event>'
)
PREFIX = "Oct 14 12:00:00 web-3 sysmon: "


def only(text: str | bytes) -> LogRecord | Damaged:
    ((_, item),) = read(io.BytesIO(text if isinstance(text, bytes) else text.encode()), "syslog")
    assert isinstance(item, LogRecord | Damaged)
    return item


@pytest.mark.parametrize("prefix", ["", PREFIX, "<14>" + PREFIX, "2021-10-14T12:00:00+00:00 web-3 sysmon[7]: "])
def test_an_event_has_its_data_by_name_and_the_parts_of_its_system(prefix: str) -> None:
    found = only(prefix + EVENT + "\n")
    assert isinstance(found, LogRecord)
    assert (found.os, found.provider, found.channel) == ("linux", "Linux-Sysmon", "Linux-Sysmon/Operational")
    assert (found.code, found.record_id, found.host) == ("1", 12, "web-3")
    assert found.ts_ns == 1_634_212_800_123_456_000
    assert found.fields["CommandLine"] == "curl -d <x> &"
    assert (found.fields["EventID"], found.fields["ProcessId"], found.fields["Computer"]) == (1, 55, "web-3")
    assert found.gaps == ()
    assert matches((prefix + EVENT + "\n").encode())


def test_an_event_that_syslog_cut_off_tells_what_is_there() -> None:
    found = only(EVENT[: EVENT.index('</Data><Data Name="User"') - 4])
    assert isinstance(found, LogRecord)
    assert found.fields["Image"] == "/usr/bin/curl"
    assert "CommandLine" not in found.fields
    assert found.gaps == ("the record is cut off",)


def test_bytes_that_xml_cannot_hold_do_not_hide_an_event() -> None:
    found = only(EVENT.encode().replace(b"curl -d", b"curl \x1b[2J \xff"))
    assert isinstance(found, LogRecord)
    assert str(found.fields["CommandLine"]).startswith("curl \ufffd[2J \uefff")
    assert found.gaps == ("characters that XML can't hold were replaced",)


def test_a_document_with_entities_of_its_own_is_refused() -> None:
    bomb = '<!DOCTYPE Event [<!ENTITY a "' + "x" * 99 + '">]>' + EVENT.replace("curl -d", "&a;&a;")
    found = only("<Event" + bomb)
    assert isinstance(found, Damaged)
    found = only(EVENT.replace("<System>", '<!DOCTYPE a [<!ENTITY a "b">]><System>'))
    assert isinstance(found, Damaged)


@pytest.mark.parametrize(
    "line",
    [
        "rubbish",
        "<Event></Event>",
        "<Event>" * 5000,
        "<Event><System><EventID>1</EventID></System></Event>",
        EVENT.replace("Linux-Sysmon", "Other"),
        EVENT.replace("<EventID>1</EventID>", ""),
    ],
)
def test_what_is_no_event_is_damaged(line: str) -> None:
    found = only(line)
    assert isinstance(found, Damaged)
    assert (found.source, found.line) == ("syslog", 1)
    assert found.problem


def test_a_mixed_log_is_left_to_the_reader_of_text_logs() -> None:
    assert not matches(f"{PREFIX}{EVENT}\nOct 14 12:00:00 web-3 sshd[1]: hello\n".encode())
    assert matches(f"{PREFIX}{EVENT}\n{PREFIX}{EVENT[:99]}".encode())
    assert not matches(b"")


PIECES = st.sampled_from(
    ["<Event>", "<System>", "</System>", '<Data Name="', '">', "</Data>", "&#0;", "&a;", "<![CDATA[", "\n", EVENT[:120]]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=30).map("".join))
def test_no_text_raises(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    matches(raw)
    for line, item in read(io.BytesIO(raw), "syslog"):
        assert line
        assert isinstance(item, LogRecord | Damaged)
