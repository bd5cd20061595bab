"""Windows events, understood: the log source Sigma has for them, and the process, file, connection they are about.

Sysmon, the Security log and PowerShell are read into typed parts; of every other channel the service is known. Sysmon's
fields are described in its manual (learn.microsoft.com/sysinternals/downloads/sysmon), those of Security in Microsoft's
"Appendix L: Events to Monitor" and its audit policy reference.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from shield.event import Category, Dns, File, LogValue, Network, Pe, Process, Registry, User
from shield.normalizer.interpretation import Interpretation
from shield.normalizer.windows_service import service_of
from shield.record import LogRecord

Fields = Mapping[str, LogValue]
_Reading = Callable[[Fields, int], Interpretation]

_PID_MOST = (1 << 32) - 1
_NOBODY = ("0x0", "0x3e7", "0x3e5", "0x3e4", "", "-", "0")
_ACCOUNTS = {
    "S-1-5-18": "NT AUTHORITY\\SYSTEM",
    "S-1-5-19": "NT AUTHORITY\\LOCAL SERVICE",
    "S-1-5-20": "NT AUTHORITY\\NETWORK SERVICE",
}
_INTEGRITY = {
    "S-1-16-0": "Untrusted",
    "S-1-16-4096": "Low",
    "S-1-16-8192": "Medium",
    "S-1-16-8448": "MediumPlus",
    "S-1-16-12288": "High",
    "S-1-16-16384": "System",
    "S-1-16-20480": "Protected",
}
_TRANSPORTS = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}
_HIVES = (("\\REGISTRY\\MACHINE", "HKLM"), ("\\REGISTRY\\USER", "HKU"))
_CONTROL_SET = re.compile(r"^(HKLM\\SYSTEM\\)ControlSet\d{3}(?=\\|$)", re.IGNORECASE)
_DWORD, _QWORD = ("%%1876", "REG_DWORD"), ("%%1883", "REG_QWORD")
_SUCCESS = ("0x0", "0", "0x00000000")


def interpret(record: LogRecord) -> Interpretation:
    """Return what a Windows event is about."""
    fields = record.fields
    service = service_of(record.channel, record.provider)
    reading = _READINGS.get((service, record.code))
    if reading is not None:
        return reading(fields, record.ts_ns)
    if service in _IN_PROCESS:
        return Interpretation(
            service=service,
            sigma_category=_SCRIPTS.get((service, record.code), ""),
            process=_writer(fields),
        )
    if not service and record.provider == _KERNEL_FILE:
        return _kernel_file(fields, record.code)
    category = _CATEGORIES.get((service, record.code), "log_record")
    return Interpretation(
        category=category,
        service=service,
        user=_subject(fields),
        session=_session(fields),
        aliases=_without_blanks(fields),
    )


# Values


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if type(value) is str:
        return "" if value == "-" else value
    return "" if value is None or isinstance(value, tuple) else str(value)


def _number(fields: Fields, name: str) -> int:
    """Return a number that may be written in decimal or, with `0x`, in hexadecimal digits; 0 where it is none."""
    value = fields.get(name)
    if type(value) is str:
        try:
            value = int(value, 16 if value[:2] in ("0x", "0X") else 10)
        except ValueError:
            return 0
    return value if isinstance(value, int) and 0 <= value <= _PID_MOST else 0


def _name(path: str) -> str:
    return path[path.rfind("\\") + 1 :]


def _guid(fields: Fields, name: str) -> str:
    return _text(fields, name).strip("{}")


@lru_cache(maxsize=4096)
def _hashes_in(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(","))
    return {name.strip().lower(): digest.strip().lower() for name, _, digest in pairs if digest.strip()}


def _hashes(fields: Fields, name: str = "Hashes") -> dict[str, str]:
    text = _text(fields, name)
    return _hashes_in(text) if text else {}


def _account(name: str) -> User | None:
    return User(name=name) if name else None


def _qualified(fields: Fields, role: str) -> str:
    """Return an account of a Security event as Sysmon would name it: `DOMAIN\\name`."""
    sid = _text(fields, f"{role}UserSid") or _text(fields, f"{role}Sid")
    if sid in _ACCOUNTS:
        return _ACCOUNTS[sid]
    name, domain = _text(fields, f"{role}UserName"), _text(fields, f"{role}DomainName")
    return f"{domain}\\{name}" if name and domain else name


def _subject(fields: Fields) -> User | None:
    if "SubjectUserName" in fields:
        return _account(_qualified(fields, "Subject"))
    return _account(_text(fields, "User"))


def _session(fields: Fields, name: str = "SubjectLogonId") -> str:
    logon = _text(fields, name).lower()
    return "" if logon in _NOBODY else logon


def _without_blanks(fields: Fields) -> dict[str, LogValue] | None:
    """Return the fields of Defender and others by the names Sigma has for them: ThreatName, not Threat Name."""
    aliases = {name.replace(" ", ""): value for name, value in fields.items() if " " in name}
    return {name: value for name, value in aliases.items() if name not in fields} or None


def _writer(fields: Fields) -> Process | None:
    """Return the process that wrote the event itself, on its own behalf."""
    pid = _number(fields, "Execution_ProcessID")
    return Process(pid=pid) if pid else None


# Sysmon


def _sysmon_process(fields: Fields, role: str = "") -> Process:
    image = _text(fields, f"{role}Image")
    return Process(
        pid=_number(fields, f"{role}ProcessId"),
        entity_id=_guid(fields, f"{role}ProcessGuid") or (_guid(fields, f"{role}ProcessGUID") if role else ""),
        name=_name(image),
        exe=image,
    )


def _sysmon_start(fields: Fields, ts_ns: int) -> Interpretation:
    image = _text(fields, "Image")
    parent_image = _text(fields, "ParentImage")
    ppid = _number(fields, "ParentProcessId")
    return Interpretation(
        category="process_start",
        service="sysmon",
        sigma_category="process_creation",
        process=Process(
            pid=_number(fields, "ProcessId"),
            ppid=ppid,
            entity_id=_guid(fields, "ProcessGuid"),
            name=_name(image),
            exe=image,
            cmdline=_text(fields, "CommandLine"),
            cwd=_text(fields, "CurrentDirectory"),
            start_ns=ts_ns,
            session=_number(fields, "TerminalSessionId"),
            hashes=_hashes(fields),
            pe=Pe(
                _text(fields, "OriginalFileName"),
                _text(fields, "Description"),
                _text(fields, "Product"),
                _text(fields, "Company"),
                _text(fields, "FileVersion"),
            ),
            integrity=_text(fields, "IntegrityLevel"),
            logon_id=_text(fields, "LogonId"),
        ),
        parent=Process(
            pid=ppid,
            entity_id=_guid(fields, "ParentProcessGuid"),
            name=_name(parent_image),
            exe=parent_image,
            cmdline=_text(fields, "ParentCommandLine"),
        ),
        parent_user=_text(fields, "ParentUser"),
        user=_account(_text(fields, "User")),
        session=_session(fields, "LogonId"),
    )


def _sysmon_exit(fields: Fields, ts_ns: int) -> Interpretation:
    return _sysmon_event(fields, "process_exit", "process_termination")


def _sysmon_event(
    fields: Fields, category: Category, sigma_category: str, file: File | None = None, registry: Registry | None = None
) -> Interpretation:
    return Interpretation(
        category=category,
        service="sysmon",
        sigma_category=sigma_category,
        process=_sysmon_process(fields),
        user=_account(_text(fields, "User")),
        file=file,
        registry=registry,
    )


def _sysmon_file(category: Category, sigma_category: str, hashes: str = "Hashes") -> _Reading:
    def read(fields: Fields, ts_ns: int) -> Interpretation:
        file = File(path=_text(fields, "TargetFilename"), hashes=_hashes(fields, hashes))
        return _sysmon_event(fields, category, sigma_category, file)

    return read


def _sysmon_image(fields: Fields, ts_ns: int) -> Interpretation:
    file = File(path=_text(fields, "ImageLoaded"), hashes=_hashes(fields))
    return _sysmon_event(fields, "module_load", "image_load", file)


def _sysmon_driver(fields: Fields, ts_ns: int) -> Interpretation:
    file = File(path=_text(fields, "ImageLoaded"), hashes=_hashes(fields))
    return Interpretation(category="module_load", service="sysmon", sigma_category="driver_load", file=file)


def _sysmon_key(fields: Fields, ts_ns: int) -> Interpretation:
    is_deleted = _text(fields, "EventType").startswith("Delete")
    registry = Registry(path=_text(fields, "TargetObject"))
    sigma_category = "registry_delete" if is_deleted else "registry_add"
    return _sysmon_event(fields, "registry_change", sigma_category, registry=registry)


def _sysmon_value(fields: Fields, ts_ns: int) -> Interpretation:
    registry = Registry(path=_text(fields, "TargetObject"), data=_text(fields, "Details"))
    return _sysmon_event(fields, "registry_change", "registry_set", registry=registry)


def _sysmon_renamed_key(fields: Fields, ts_ns: int) -> Interpretation:
    registry = Registry(path=_text(fields, "NewName"), old_path=_text(fields, "TargetObject"))
    return _sysmon_event(fields, "registry_change", "registry_rename", registry=registry)


def _sysmon_connection(fields: Fields, ts_ns: int) -> Interpretation:
    initiated = fields.get("Initiated")
    return Interpretation(
        category="network_connection",
        service="sysmon",
        sigma_category="network_connection",
        process=_sysmon_process(fields),
        user=_account(_text(fields, "User")),
        network=Network(
            transport=_text(fields, "Protocol").lower(),
            source_ip=_text(fields, "SourceIp"),
            source_port=_number(fields, "SourcePort"),
            source_host=_text(fields, "SourceHostname"),
            destination_ip=_text(fields, "DestinationIp"),
            destination_port=_number(fields, "DestinationPort"),
            destination_host=_text(fields, "DestinationHostname"),
            initiated=None if initiated is None else str(initiated).lower() == "true",
        ),
    )


def _sysmon_dns(fields: Fields, ts_ns: int) -> Interpretation:
    answers = tuple(filter(None, _text(fields, "QueryResults").split(";")))
    return Interpretation(
        category="dns_query",
        service="sysmon",
        sigma_category="dns_query",
        process=_sysmon_process(fields),
        user=_account(_text(fields, "User")),
        dns=Dns(query=_text(fields, "QueryName"), answers=answers, status=_text(fields, "QueryStatus")),
    )


def _sysmon_other(sigma_category: str, category: Category = "log_record") -> _Reading:
    def read(fields: Fields, ts_ns: int) -> Interpretation:
        return _sysmon_event(fields, category, sigma_category)

    return read


def _sysmon_between(sigma_category: str) -> _Reading:
    """Read an event of one process that reaches into another."""

    def read(fields: Fields, ts_ns: int) -> Interpretation:
        return Interpretation(
            service="sysmon",
            sigma_category=sigma_category,
            process=_sysmon_process(fields, "Source"),
            user=_account(_text(fields, "SourceUser")),
        )

    return read


def _sysmon_itself(sigma_category: str, category: Category = "log_record") -> _Reading:
    def read(fields: Fields, ts_ns: int) -> Interpretation:
        user = _account(_text(fields, "User"))
        return Interpretation(category=category, service="sysmon", sigma_category=sigma_category, user=user)

    return read


# Security


def _security_start(fields: Fields, ts_ns: int) -> Interpretation:
    image = _text(fields, "NewProcessName")
    parent_image = _text(fields, "ParentProcessName")
    ppid = _number(fields, "ProcessId")
    role = "Target" if _text(fields, "TargetUserName") else "Subject"
    label = _text(fields, "MandatoryLabel")
    return Interpretation(
        category="process_start",
        service="security",
        sigma_category="process_creation",
        process=Process(
            pid=_number(fields, "NewProcessId"),
            ppid=ppid,
            name=_name(image),
            exe=image,
            cmdline=_text(fields, "CommandLine"),
            start_ns=ts_ns,
            integrity=_INTEGRITY.get(label, label),
            logon_id=_text(fields, f"{role}LogonId"),
        ),
        parent=Process(pid=ppid, name=_name(parent_image), exe=parent_image),
        user=_account(_qualified(fields, role)),
        session=_session(fields, f"{role}LogonId"),
    )


def _security_exit(fields: Fields, ts_ns: int) -> Interpretation:
    image = _text(fields, "ProcessName")
    return Interpretation(
        category="process_exit",
        service="security",
        sigma_category="process_termination",
        process=Process(
            pid=_number(fields, "ProcessId"), name=_name(image), exe=image, exit_code=_number(fields, "Status")
        ),
        user=_subject(fields),
        session=_session(fields),
    )


def _security_process(fields: Fields, pid: str = "ProcessId", name: str = "ProcessName") -> Process | None:
    image = _text(fields, name)
    return Process(pid=_number(fields, pid), name=_name(image), exe=image) if image else None


def _security_registry(fields: Fields, ts_ns: int) -> Interpretation:
    is_deleted = _text(fields, "OperationType") in ("%%1906", "Registry value deleted")
    key, value = _registry_key(_text(fields, "ObjectName")), _text(fields, "ObjectValueName")
    return Interpretation(
        category="registry_change",
        service="security",
        sigma_category="registry_delete" if is_deleted else "registry_set",
        process=_security_process(fields),
        user=_subject(fields),
        registry=Registry(path=f"{key}\\{value}" if value else key, data=_registry_data(fields)),
        session=_session(fields),
    )


def _registry_key(path: str) -> str:
    """Return a key by the name Sysmon has for it: `HKLM\\System\\CurrentControlSet\\...`."""
    for native, hive in _HIVES:
        if path[: len(native)].upper() == native:
            return _CONTROL_SET.sub(r"\1CurrentControlSet", hive + path[len(native) :])
    return path


def _registry_data(fields: Fields) -> str:
    """Return the data that was written as Sysmon writes it."""
    data, kind = _text(fields, "NewValue"), _text(fields, "NewValueType")
    if kind in _DWORD and data.isdecimal():
        return f"DWORD (0x{int(data):08x})"
    if kind in _QWORD and data.isdecimal():
        return f"QWORD (0x{int(data) >> 32:08x}-0x{int(data) & 0xFFFF_FFFF:08x})"
    return data


def _security_connection(fields: Fields, ts_ns: int) -> Interpretation:
    direction = _text(fields, "Direction")
    return Interpretation(
        category="network_connection",
        service="security",
        sigma_category="network_connection",
        process=_security_process(fields, "ProcessID", "Application"),
        network=Network(
            transport=_transport(fields),
            source_ip=_text(fields, "SourceAddress"),
            source_port=_number(fields, "SourcePort"),
            destination_ip=_text(fields, "DestAddress"),
            destination_port=_number(fields, "DestPort"),
            initiated={"%%14593": True, "Outbound": True, "%%14592": False, "Inbound": False}.get(direction),
        ),
    )


def _security_listen(fields: Fields, ts_ns: int) -> Interpretation:
    return Interpretation(
        category="network_listen",
        service="security",
        process=_security_process(fields, "ProcessId", "Application"),
        network=Network(
            transport=_transport(fields),
            source_ip=_text(fields, "SourceAddress"),
            source_port=_number(fields, "SourcePort"),
        ),
    )


def _transport(fields: Fields) -> str:
    protocol = _text(fields, "Protocol")
    return _TRANSPORTS.get(protocol, protocol.lower())


def _security_logon(category: Category) -> _Reading:
    def read(fields: Fields, ts_ns: int) -> Interpretation:
        address = _text(fields, "IpAddress")
        network = (
            Network(
                source_ip=address,
                source_port=_number(fields, "IpPort"),
                source_host=_text(fields, "WorkstationName"),
            )
            if address
            else None
        )
        return Interpretation(
            category=category,
            service="security",
            process=_security_process(fields),
            user=_account(_qualified(fields, "Target")),
            network=network,
            session=_session(fields, "TargetLogonId") or _session(fields),
        )

    return read


def _security_ticket(fields: Fields, ts_ns: int) -> Interpretation:
    succeeded = _text(fields, "Status").lower() in _SUCCESS
    return _security_logon("auth_success" if succeeded else "auth_failure")(fields, ts_ns)


def _security_event(category: Category) -> _Reading:
    def read(fields: Fields, ts_ns: int) -> Interpretation:
        return Interpretation(
            category=category,
            service="security",
            process=_security_process(fields),
            user=_subject(fields),
            session=_session(fields),
        )

    return read


# Others


def _dns_client(fields: Fields, ts_ns: int) -> Interpretation:
    answers = tuple(filter(None, _text(fields, "QueryResults").split(";")))
    return Interpretation(
        category="dns_query",
        service="dns-client",
        process=_writer(fields),
        dns=Dns(query=_text(fields, "QueryName"), answers=answers, status=_text(fields, "QueryStatus")),
    )


def _kernel_file(fields: Fields, code: str) -> Interpretation:
    category, sigma_category = _KERNEL_FILE_EVENTS.get(code, ("log_record", ""))
    image = _text(fields, "Image")
    path = _text(fields, "FileName") or _text(fields, "FilePath") or _text(fields, "TargetFilename")
    pid = _number(fields, "ProcessId") or _number(fields, "Execution_ProcessID")
    return Interpretation(
        category=category,
        sigma_category=sigma_category,
        process=Process(pid=pid, name=_name(image), exe=image),
        file=File(path=path, old_path=_text(fields, "SourceFilename")) if path else None,
    )


_KERNEL_FILE = "Microsoft-Windows-Kernel-File"
_KERNEL_FILE_EVENTS: dict[str, tuple[Category, str]] = {
    "10": ("log_record", "file_access"),
    "11": ("file_delete", "file_delete"),
    "12": ("log_record", "file_access"),
    "15": ("log_record", "file_access"),
    "16": ("file_write", ""),
    "19": ("file_rename", "file_rename"),
    "26": ("file_delete", "file_delete"),
    "27": ("file_rename", "file_rename"),
    "30": ("file_create", "file_event"),
}

# Their events are written by the very process they are about.
_IN_PROCESS = frozenset(("powershell", "powershell-classic", "dns-client", "capi2"))

_SCRIPTS = {
    ("powershell", "4103"): "ps_module",
    ("powershell", "4104"): "ps_script",
    ("powershell-classic", "400"): "ps_classic_start",
    ("powershell-classic", "600"): "ps_classic_provider_start",
    ("powershell-classic", "800"): "ps_classic_script",
}

_SYSMON: dict[int, _Reading] = {
    1: _sysmon_start,
    2: _sysmon_file("file_attribute", "file_change"),
    3: _sysmon_connection,
    4: _sysmon_itself("sysmon_status"),
    5: _sysmon_exit,
    6: _sysmon_driver,
    7: _sysmon_image,
    8: _sysmon_between("create_remote_thread"),
    9: _sysmon_other("raw_access_thread"),
    10: _sysmon_between("process_access"),
    11: _sysmon_file("file_create", "file_event"),
    12: _sysmon_key,
    13: _sysmon_value,
    14: _sysmon_renamed_key,
    15: _sysmon_file("file_create", "create_stream_hash", hashes="Hash"),
    16: _sysmon_itself("sysmon_status"),
    17: _sysmon_other("pipe_created"),
    18: _sysmon_other("pipe_created"),
    19: _sysmon_itself("wmi_event", "persistence_change"),
    20: _sysmon_itself("wmi_event", "persistence_change"),
    21: _sysmon_itself("wmi_event", "persistence_change"),
    22: _sysmon_dns,
    23: _sysmon_file("file_delete", "file_delete"),
    24: _sysmon_other("clipboard_capture"),
    25: _sysmon_other("process_tampering"),
    26: _sysmon_file("file_delete", "file_delete_detected"),
    27: _sysmon_file("log_record", "file_block_executable"),
    28: _sysmon_file("log_record", "file_block_shredding"),
    29: _sysmon_file("file_create", "file_executable_detected"),
    255: _sysmon_itself("sysmon_error"),
}

_SECURITY: dict[_Reading, tuple[int, ...]] = {
    _security_start: (4688,),
    _security_exit: (4689,),
    _security_registry: (4657,),
    _security_connection: (5156, 5157),
    _security_listen: (5154, 5158),
    _security_logon("auth_success"): (4624,),
    _security_logon("auth_failure"): (4625, 4771, 4772, 4777),
    _security_ticket: (4768, 4769, 4770, 4776),
    _security_event("privilege_change"): (4672, 4673, 4674, 4703, 4704, 4705, 4717, 4718),
    _security_event("account_change"): (
        *(4720, 4722, 4723, 4724, 4725, 4726, 4738, 4740, 4741, 4742, 4743, 4765, 4766, 4767, 4780, 4781, 4794),
        *range(4727, 4738),
        *range(4744, 4765),
    ),
    _security_event("persistence_change"): (4697, 4698, 4699, 4700, 4701, 4702),
    _security_event("log_record"): (4611, 4656, 4658, 4660, 4661, 4662, 4663, 4670, 4690, 4798, 4799),
}

_READINGS: dict[tuple[str, str], _Reading] = {
    **{("sysmon", str(code)): reading for code, reading in _SYSMON.items()},
    **{("security", str(code)): reading for reading, codes in _SECURITY.items() for code in codes},
    **{("dns-client", str(code)): _dns_client for code in (3006, 3008, 3010, 3018, 3020)},
}

_CATEGORIES: dict[tuple[str, str], Category] = {
    **dict.fromkeys((("system", "7045"), ("system", "7040")), "persistence_change"),
    **dict.fromkeys((("taskscheduler", str(code)) for code in (106, 140, 141)), "persistence_change"),
    ("wmi", "5861"): "persistence_change",
}
