"""Windows events: the log source that Sigma has for them, and what they are about in Shield's own terms."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shield.event import LogValue, Network, Pe, Registry
from shield.normalizer.interpretation import Interpretation
from shield.normalizer.windows_log import interpret
from shield.normalizer.windows_service import CHANNELS
from shield.record import LogRecord

RULES = Path(__file__).parents[3] / "shared/data/sigmahq"
SYSMON = "Microsoft-Windows-Sysmon/Operational"


def told(channel: str, code: int, provider: str = "", **fields: LogValue) -> Interpretation:
    return interpret(LogRecord("windows", 1, "ws1", provider, channel, str(code), fields=fields))


def source(told: Interpretation) -> tuple[str, str, str]:
    return told.service, told.sigma_category, told.category


@pytest.mark.parametrize(
    ("code", "sigma_category", "category"),
    [
        (1, "process_creation", "process_start"),
        (2, "file_change", "file_attribute"),
        (3, "network_connection", "network_connection"),
        (4, "sysmon_status", "log_record"),
        (5, "process_termination", "process_exit"),
        (6, "driver_load", "module_load"),
        (7, "image_load", "module_load"),
        (8, "create_remote_thread", "log_record"),
        (9, "raw_access_thread", "log_record"),
        (10, "process_access", "log_record"),
        (11, "file_event", "file_create"),
        (12, "registry_add", "registry_change"),
        (13, "registry_set", "registry_change"),
        (14, "registry_rename", "registry_change"),
        (15, "create_stream_hash", "file_create"),
        (16, "sysmon_status", "log_record"),
        (17, "pipe_created", "log_record"),
        (18, "pipe_created", "log_record"),
        (19, "wmi_event", "persistence_change"),
        (20, "wmi_event", "persistence_change"),
        (21, "wmi_event", "persistence_change"),
        (22, "dns_query", "dns_query"),
        (23, "file_delete", "file_delete"),
        (24, "clipboard_capture", "log_record"),
        (25, "process_tampering", "log_record"),
        (26, "file_delete_detected", "file_delete"),
        (27, "file_block_executable", "log_record"),
        (28, "file_block_shredding", "log_record"),
        (29, "file_executable_detected", "file_create"),
        (255, "sysmon_error", "log_record"),
        (99, "", "log_record"),
    ],
)
def test_every_sysmon_event_has_its_log_source(code: int, sigma_category: str, category: str) -> None:
    assert source(told(SYSMON, code)) == ("sysmon", sigma_category, category)


@pytest.mark.parametrize(
    ("channel", "code", "expected"),
    [
        ("Security", 4688, ("security", "process_creation", "process_start")),
        ("Security", 4689, ("security", "process_termination", "process_exit")),
        ("Security", 4657, ("security", "registry_set", "registry_change")),
        ("Security", 5156, ("security", "network_connection", "network_connection")),
        ("Security", 5158, ("security", "", "network_listen")),
        ("Security", 4624, ("security", "", "auth_success")),
        ("Security", 4625, ("security", "", "auth_failure")),
        ("Security", 4672, ("security", "", "privilege_change")),
        ("Security", 4732, ("security", "", "account_change")),
        ("Security", 4698, ("security", "", "persistence_change")),
        ("Security", 1102, ("security", "", "log_record")),
        ("System", 7045, ("system", "", "persistence_change")),
        ("Microsoft-Windows-PowerShell/Operational", 4103, ("powershell", "ps_module", "log_record")),
        ("PowerShellCore/Operational", 4104, ("powershell", "ps_script", "log_record")),
        ("Windows PowerShell", 400, ("powershell-classic", "ps_classic_start", "log_record")),
        ("Windows PowerShell", 600, ("powershell-classic", "ps_classic_provider_start", "log_record")),
        ("Windows PowerShell", 800, ("powershell-classic", "ps_classic_script", "log_record")),
        ("Microsoft-Windows-Windows Defender/Operational", 1116, ("windefend", "", "log_record")),
        ("microsoft-windows-applocker/exe and dll", 8004, ("applocker", "", "log_record")),
        ("Somebody/Operational", 1, ("", "", "log_record")),
    ],
)
def test_events_of_other_channels_have_theirs(channel: str, code: int, expected: tuple[str, str, str]) -> None:
    assert source(told(channel, code)) == expected


def test_an_export_without_channels_is_known_by_its_provider() -> None:
    assert told("", 1, "Microsoft-Windows-Sysmon").sigma_category == "process_creation"
    assert told("", 4688, "Microsoft-Windows-Security-Auditing").sigma_category == "process_creation"


@pytest.mark.skipif(not RULES.exists(), reason=f"needs public rules in {RULES}")
def test_public_rules_name_no_service_that_no_channel_has() -> None:
    named: set[str] = set()
    for file in RULES.rglob("*.yml"):
        text = file.read_text()
        if "product: windows" in text and "service:" in text:
            for rule in yaml.safe_load_all(text):
                logsource = rule.get("logsource", {})
                if logsource.get("product") == "windows" and "service" in logsource:
                    named.add(logsource["service"])
    assert named - CHANNELS.keys() == set()


def test_a_sysmon_start_tells_all_of_the_process() -> None:
    fields: dict[str, LogValue] = {
        "ProcessGuid": "{5AB40FD1-3F97-68F9-5631-000000003B02}",
        "ProcessId": "3424",
        "Image": "C:\\Windows\\System32\\sc.exe",
        "FileVersion": "10.0",
        "Description": "SC",
        "Product": "Windows",
        "Company": "-",
        "OriginalFileName": "sc.exe",
        "CommandLine": "sc  stop mpssvc",
        "CurrentDirectory": "C:\\",
        "User": "AD\\admin",
        "LogonId": "0x529ae3",
        "TerminalSessionId": 2,
        "IntegrityLevel": "High",
        "Hashes": "SHA1=AB,MD5=CD,SHA256=EF,IMPHASH=00",
        "ParentProcessGuid": "5AB40FD1-3F90-68F9-5531-000000003B02",
        "ParentProcessId": 6304,
        "ParentImage": "C:\\Windows\\System32\\cmd.exe",
        "ParentCommandLine": "cmd",
        "ParentUser": "AD\\admin",
    }
    found = told(SYSMON, 1, **fields)
    process, parent = found.process, found.parent
    assert process
    assert (process.pid, process.ppid, process.name, process.exe) == (3424, 6304, "sc.exe", fields["Image"])
    assert (process.entity_id, process.cmdline) == ("5AB40FD1-3F97-68F9-5631-000000003B02", "sc  stop mpssvc")
    assert (process.cwd, process.session, process.integrity, process.logon_id) == ("C:\\", 2, "High", "0x529ae3")
    assert process.hashes == {"sha1": "ab", "md5": "cd", "sha256": "ef", "imphash": "00"}
    assert process.pe == Pe("sc.exe", "SC", "Windows", "", "10.0")
    assert parent
    assert (parent.pid, parent.name, parent.cmdline, found.parent_user) == (6304, "cmd.exe", "cmd", "AD\\admin")
    assert found.user
    assert found.user.name == "AD\\admin"


def started(**fields: LogValue) -> Interpretation:
    base: dict[str, LogValue] = {
        "SubjectUserSid": "S-1-5-21-1",
        "SubjectUserName": "alice",
        "SubjectDomainName": "AD",
        "SubjectLogonId": "0x5a",
        "NewProcessId": "0x1a4",
        "NewProcessName": "C:\\Windows\\whoami.exe",
        "ProcessId": "0x1b0",
        "CommandLine": "whoami /all",
        "TargetUserSid": "S-1-0-0",
        "TargetUserName": "-",
        "TargetDomainName": "-",
        "TargetLogonId": "0x0",
        "ParentProcessName": "C:\\Windows\\cmd.exe",
        "MandatoryLabel": "S-1-16-12288",
    }
    return told("Security", 4688, **(base | fields))


def test_a_security_start_tells_the_same_of_the_process() -> None:
    found = started()
    process, parent, user = found.process, found.parent, found.user
    assert process
    assert (process.pid, process.ppid, process.exe, process.name) == (420, 432, "C:\\Windows\\whoami.exe", "whoami.exe")
    assert (process.cmdline, process.integrity, process.logon_id) == ("whoami /all", "High", "0x5a")
    assert parent
    assert (parent.pid, parent.exe) == (432, "C:\\Windows\\cmd.exe")
    assert user
    assert user.name == "AD\\alice"


@pytest.mark.parametrize(
    ("fields", "user", "logon"),
    [
        ({"TargetUserName": "bob", "TargetDomainName": "AD", "TargetLogonId": "0x77"}, "AD\\bob", "0x77"),
        ({"SubjectUserSid": "S-1-5-18", "SubjectUserName": "WS1$"}, "NT AUTHORITY\\SYSTEM", "0x5a"),
        ({"SubjectDomainName": "-"}, "alice", "0x5a"),
    ],
)
def test_a_process_runs_as_who_it_was_started_for(fields: dict[str, LogValue], user: str, logon: str) -> None:
    found = started(**fields)
    assert found.user
    assert found.process
    assert (found.user.name, found.process.logon_id) == (user, logon)


@pytest.mark.parametrize(
    ("label", "level"),
    [("S-1-16-4096", "Low"), ("S-1-16-8192", "Medium"), ("S-1-16-16384", "System"), ("S-1-16-5", "S-1-16-5"), ("", "")],
)
def test_a_label_is_an_integrity_level(label: str, level: str) -> None:
    process = started(MandatoryLabel=label).process
    assert process
    assert process.integrity == level


def test_a_sysmon_connection() -> None:
    found = told(
        SYSMON,
        3,
        Protocol="tcp",
        Initiated="true",
        SourceIp="10.0.0.1",
        SourcePort="50000",
        DestinationIp="192.0.2.1",
        DestinationPort=443,
        DestinationHostname="c2.example",
    )
    assert found.network == Network("tcp", "10.0.0.1", 50000, "", "192.0.2.1", 443, "c2.example", True)


@pytest.mark.parametrize(("direction", "initiated"), [("%%14593", True), ("%%14592", False), ("", None)])
def test_a_connection_the_firewall_saw(direction: str, initiated: bool | None) -> None:
    found = told(
        "Security",
        5156,
        ProcessID=1752,
        Application="\\device\\harddiskvolume1\\x.exe",
        Direction=direction,
        SourceAddress="10.0.0.1",
        SourcePort=50000,
        DestAddress="192.0.2.1",
        DestPort=443,
        Protocol=6,
    )
    assert found.network == Network("tcp", "10.0.0.1", 50000, "", "192.0.2.1", 443, "", initiated)
    assert found.process
    assert (found.process.pid, found.process.name) == (1752, "x.exe")


def test_a_dns_query() -> None:
    found = told(
        SYSMON, 22, QueryName="a.example", QueryStatus="0", QueryResults="type:  5 b.example;::ffff:192.0.2.1;"
    )
    assert found.dns
    assert (found.dns.query, found.dns.answers) == ("a.example", ("type:  5 b.example", "::ffff:192.0.2.1"))


@pytest.mark.parametrize(
    ("code", "fields", "registry", "sigma_category"),
    [
        (13, {"TargetObject": "HKLM\\a", "Details": "b"}, Registry("HKLM\\a", "b"), "registry_set"),
        (12, {"TargetObject": "HKLM\\a", "EventType": "CreateKey"}, Registry("HKLM\\a"), "registry_add"),
        (12, {"TargetObject": "HKLM\\a", "EventType": "DeleteValue"}, Registry("HKLM\\a"), "registry_delete"),
        (14, {"TargetObject": "HKLM\\a", "NewName": "HKLM\\b"}, Registry("HKLM\\b", "", "HKLM\\a"), "registry_rename"),
    ],
)
def test_sysmon_on_the_registry(
    code: int, fields: dict[str, LogValue], registry: Registry, sigma_category: str
) -> None:
    found = told(SYSMON, code, **fields)
    assert (found.registry, found.sigma_category) == (registry, sigma_category)


@pytest.mark.parametrize(
    ("key", "value", "kind", "data", "registry"),
    [
        (
            "\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Control\\Lsa",
            "LimitBlankPasswordUse",
            "%%1876",
            "1",
            Registry("HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa\\LimitBlankPasswordUse", "DWORD (0x00000001)"),
        ),
        ("\\REGISTRY\\USER\\S-1-5-21\\Run", "x", "%%1873", "a.exe", Registry("HKU\\S-1-5-21\\Run\\x", "a.exe")),
        ("\\REGISTRY\\MACHINE\\X", "", "%%1883", str(2**33 + 1), Registry("HKLM\\X", "QWORD (0x00000002-0x00000001)")),
    ],
)
def test_security_on_the_registry_reads_as_sysmon_does(
    key: str, value: str, kind: str, data: str, registry: Registry
) -> None:
    fields: dict[str, LogValue] = {"ObjectName": key, "ObjectValueName": value, "NewValueType": kind, "NewValue": data}
    assert told("Security", 4657, OperationType="%%1905", **fields).registry == registry
    assert told("Security", 4657, OperationType="%%1906", **fields).sigma_category == "registry_delete"


@pytest.mark.parametrize(("code", "name"), [(11, "Hashes"), (23, "Hashes"), (15, "Hash"), (29, "Hashes")])
def test_files_with_their_hashes(code: int, name: str) -> None:
    fields: dict[str, LogValue] = {"TargetFilename": "C:\\x", name: "MD5=AB"}
    file = told(SYSMON, code, **fields).file
    assert file
    assert (file.path, file.hashes) == ("C:\\x", {"md5": "ab"})


def test_the_one_that_reaches_into_another_process_is_the_doer() -> None:
    fields: dict[str, LogValue] = {"SourceProcessId": 7, "SourceProcessGUID": "G", "SourceImage": "C:\\a.exe"}
    process = told(SYSMON, 10, TargetImage="C:\\lsass.exe", **fields).process
    assert process
    assert (process.pid, process.entity_id, process.exe) == (7, "G", "C:\\a.exe")


def test_a_logon_is_about_who_logged_on() -> None:
    found = told(
        "Security",
        4624,
        TargetUserName="bob",
        TargetDomainName="AD",
        TargetLogonId="0x9F",
        IpAddress="192.0.2.7",
        IpPort="5000",
        WorkstationName="WS2",
        SubjectLogonId="0x3e7",
    )
    assert found.user
    assert found.network
    assert (found.user.name, found.session) == ("AD\\bob", "0x9f")
    assert (found.network.source_ip, found.network.source_host) == ("192.0.2.7", "WS2")


@pytest.mark.parametrize(("status", "category"), [("0x0", "auth_success"), ("0x18", "auth_failure")])
def test_a_ticket_is_granted_or_refused(status: str, category: str) -> None:
    assert told("Security", 4768, Status=status).category == category


@pytest.mark.parametrize("logon", ["0x3e7", "0x0", "-"])
def test_what_the_system_does_is_no_session(logon: str) -> None:
    assert told("Security", 4663, SubjectLogonId=logon).session == ""


_value = st.none() | st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.just(("a", 1))


_NAMES = """
    ProcessId NewProcessId Image User Hashes SourcePort Initiated QueryResults EventType NewValue NewValueType
    ObjectName TargetUserName SubjectUserName SubjectUserSid MandatoryLabel TerminalSessionId IpAddress Status Direction
    Protocol ProcessGuid Execution_ProcessID SubjectLogonId TargetObject
"""


@given(
    st.sampled_from(
        [SYSMON, "Security", "System", "Windows PowerShell", "Microsoft-Windows-DNS Client Events/Operational"]
    ),
    st.sampled_from([1, 3, 8, 11, 12, 13, 14, 15, 22, 3008, 400, 4624, 4657, 4688, 4689, 4768, 5156, 5158]),
    st.dictionaries(
        st.sampled_from(_NAMES.split()),
        _value,
    ),
)
def test_no_value_raises(channel: str, code: int, fields: dict[str, LogValue | None]) -> None:
    found = told(channel, code, **{name: value for name, value in fields.items() if value is not None})
    assert found.process is None or 0 <= found.process.pid < 1 << 32
