"""Windows events that other programs exported as JSON: one a line, printed over many lines, or in an array.

Understood are the JSON form of an event's XML (evtx_dump, python-evtx, Velociraptor, Chainsaw; see `windows_event`),
what Winlogbeat and Elasticsearch write (`winlog.*`, as it is or below `_source`), and flat events: those of NXLog, of
`Get-WinEvent | ConvertTo-Json`, and of data sets made from either. All get the fields the event's XML would have given.
"""

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, cast

import msgspec

from shield.collector.replay.damage import Damaged
from shield.collector.replay.documents import Document, documents
from shield.collector.replay.windows_event import (
    NO_TIME,
    Fields,
    NotWindows,
    add,
    add_leaves,
    decode,
    from_builtins,
    integer,
    moment,
    positive,
)
from shield.event import LogScalar
from shield.record import LogRecord

_XML_FORM = re.compile(rb'\s*\{\s*"Event"\s*:')
_KEYS = re.compile(
    rb'"(?:winlog|winlog\.(?:event_id|channel|provider_name)|event_data|EventID|EventId|event_id|LogName|ProviderName)"\s*:'
)
_SYSTEM = re.compile(rb'"System"\s*:\s*\{')
_SYSMON = "Microsoft-Windows-Sysmon/Operational"
_MESSAGE_FIELD = re.compile(r"^(\w+):[ \t]*(.*?)\s*$", re.MULTILINE)
_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_LEVELS = {"critical": 1, "error": 2, "warning": 3, "information": 4, "verbose": 5}

_FLAT_NAMES = {
    "EventID": ("EventID", "EventId", "event_id", "Id"),
    "Channel": ("Channel", "LogName", "log_name"),
    "Provider_Name": ("Provider_Name", "SourceName", "ProviderName", "source_name", "Provider"),
    "Computer": ("Computer", "Hostname", "MachineName", "ComputerName", "computer_name"),
    "EventRecordID": ("EventRecordID", "RecordNumber", "RecordId", "record_number"),
    "Execution_ProcessID": ("Execution_ProcessID", "ExecutionProcessID"),
    "Security_UserID": ("Security_UserID", "UserID", "UserId"),
    "Opcode": ("Opcode", "OpcodeValue"),
}
_CONTAINERS = ("EventData", "event_data", "UserData", "user_data")

# What Get-WinEvent lists in Properties has no names; these are those of the most telling events.
_PROPERTIES = {
    ("Security", 4688): (
        "SubjectUserSid SubjectUserName SubjectDomainName SubjectLogonId NewProcessId NewProcessName TokenElevationType"
        " ProcessId CommandLine TargetUserSid TargetUserName TargetDomainName TargetLogonId ParentProcessName"
        " MandatoryLabel"
    ),
    ("Security", 4624): (
        "SubjectUserSid SubjectUserName SubjectDomainName SubjectLogonId TargetUserSid TargetUserName TargetDomainName"
        " TargetLogonId LogonType LogonProcessName AuthenticationPackageName WorkstationName LogonGuid"
        " TransmittedServices LmPackageName KeyLength ProcessId ProcessName IpAddress IpPort"
    ),
    ("Microsoft-Windows-PowerShell/Operational", 4103): "ContextInfo UserData Payload",
    ("Microsoft-Windows-PowerShell/Operational", 4104): "MessageNumber MessageTotal ScriptBlockText ScriptBlockId Path",
    ("System", 7045): "ServiceName ImagePath ServiceType StartType AccountName",
}

# Winlogbeat's modules move fields of Sysmon and Security into those of the Elastic Common Schema.
_ECS_NAMES = {
    "process.executable": "Image",
    "process.command_line": "CommandLine",
    "process.working_directory": "CurrentDirectory",
    "process.entity_id": "ProcessGuid",
    "process.pid": "ProcessId",
    "process.pe.original_file_name": "OriginalFileName",
    "process.pe.description": "Description",
    "process.pe.product": "Product",
    "process.pe.company": "Company",
    "process.pe.file_version": "FileVersion",
    "process.parent.executable": "ParentImage",
    "process.parent.command_line": "ParentCommandLine",
    "process.parent.entity_id": "ParentProcessGuid",
    "process.parent.pid": "ParentProcessId",
    "file.path": "TargetFilename",
    "registry.path": "TargetObject",
    "dns.question.name": "QueryName",
    "source.ip": "SourceIp",
    "source.port": "SourcePort",
    "destination.ip": "DestinationIp",
    "destination.port": "DestinationPort",
    "destination.domain": "DestinationHostname",
    "network.transport": "Protocol",
}
_ECS_OBJECTS = frozenset(path.partition(".")[0] for path in _ECS_NAMES)


def matches(head: bytes) -> bool:
    """Return whether a file that starts with `head` holds Windows events as JSON, as its first object shows."""
    for document in documents(io.BytesIO(head)):
        if not document.problem:
            return is_windows(document.text)
    return bool(_XML_FORM.search(head) or _SYSTEM.search(head) or _KEYS.search(head))  # it is cut within the first


def is_windows(text: bytes) -> bool:
    """Return whether a JSON object is a Windows event."""
    if _XML_FORM.match(text):
        return True
    try:
        export = _inner(msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, NotWindows):
        return False
    return _is_xml_form(export) or _is_winlogbeat(export) or _is_flat(export)


def read(file: BinaryIO, source: str) -> Iterator[tuple[bytes, LogRecord | Damaged]]:
    """Yield each event in `file` with its text, and each part that is none. `source` is the file's name, for errors."""
    for document in documents(file):
        yield document.text, record(document, source)


def record(document: Document, source: str) -> LogRecord | Damaged:
    """Return the event in a JSON document, or what is wrong with it."""
    if document.problem:
        return Damaged(source, document.line, document.problem)
    try:
        if _XML_FORM.match(document.text):
            return decode(document.text)
        return _from_export(msgspec.json.decode(document.text))
    except (msgspec.MsgspecError, UnicodeDecodeError, NotWindows, RecursionError) as error:
        return Damaged(source, document.line, str(error) or type(error).__name__)


def _from_export(document: object) -> LogRecord:
    export = _inner(document)
    if _is_xml_form(export):
        return from_builtins(export)
    if _is_winlogbeat(export):
        return _from_winlogbeat(export)
    if _is_flat(export):
        return _from_flat(export)
    raise NotWindows("no Windows event: it has no EventID, or neither Channel nor provider")


def _inner(document: object) -> dict[str, Any]:
    """Return an exported object, out of the search result it may be in."""
    if not isinstance(document, dict):
        raise NotWindows("no Windows event: not a JSON object")
    export = cast("dict[str, Any]", document)
    inner = export.get("_source")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else export


def _is_xml_form(export: Mapping[str, Any]) -> bool:
    return isinstance(export.get("Event"), dict) or isinstance(export.get("System"), dict)


def _is_winlogbeat(export: Mapping[str, Any]) -> bool:
    return isinstance(export.get("winlog"), dict) or any(key.startswith("winlog.") for key in export)


def _is_flat(export: Mapping[str, Any]) -> bool:
    def names(name: str) -> bool:
        return any(export.get(alias) is not None for alias in _FLAT_NAMES[name])

    return names("EventID") and (names("Channel") or names("Provider_Name"))


def _from_winlogbeat(export: Mapping[str, Any]) -> LogRecord:
    winlog = _below(export, "winlog")
    fields: Fields = {}
    add_leaves(fields, "EventData", _below(winlog, "event_data"))
    add_leaves(fields, "UserData", {k: v for k, v in _below(winlog, "user_data").items() if k != "xml_name"})
    if any(key.partition(".")[0] in _ECS_OBJECTS for key in export):
        _add_moved(fields, export)
    level = _at(export, "log.level")
    found = {
        "EventID": integer(_at(winlog, "event_id")),
        "Provider_Name": _at(winlog, "provider_name"),
        "Channel": _at(winlog, "channel"),
        "Computer": _at(winlog, "computer_name") or _at(export, "host.name"),
        "Level": _LEVELS.get(level) if isinstance(level, str) else None,
        "Task": _at(winlog, "task"),
        "Opcode": _at(winlog, "opcode"),
        "Version": integer(_at(winlog, "version")),
        "Keywords": _at(winlog, "keywords"),
        "EventRecordID": integer(_at(winlog, "record_id")),
        "Execution_ProcessID": integer(_at(winlog, "process.pid")),
        "Security_UserID": _at(winlog, "user.identifier"),
    }
    return _record(fields, found, _at(export, "@timestamp"), _at(export, "message"))


def _add_moved(fields: Fields, export: Mapping[str, Any]) -> None:
    for path, name in _ECS_NAMES.items():
        if name not in fields and isinstance(value := _at(export, path), str | int) and value != "":
            add(fields, name, value)


def _from_flat(export: dict[str, Any]) -> LogRecord:
    rest = dict(export)
    found = _flat_system(rest)
    message = rest.pop("Message", rest.pop("message", None))
    fields: Fields = {}
    for container in _CONTAINERS:
        if isinstance(rest.get(container), dict | list):
            add_leaves(fields, "EventData", rest.pop(container))
    if isinstance(message, str) and found.get("Channel") == _SYSMON and not fields and "UtcTime" not in rest:
        _add_message(fields, message)
    if "ProviderId" in rest and isinstance(properties := rest.pop("Properties", None), list):
        _add_properties(fields, found, cast("list[object]", properties))
    for name, value in rest.items():
        if name not in fields:
            add_leaves(fields, name, value)
    return _record(fields, found, _flat_time(export), message)


def _flat_system(rest: dict[str, Any]) -> dict[str, Any]:
    """Take what belongs to an event's System part out of a flat event."""
    found: dict[str, Any] = {}
    for name, aliases in _FLAT_NAMES.items():
        alias = next((alias for alias in aliases if rest.get(alias) is not None), None)
        if alias is not None:
            found[name] = integer(_value(rest.pop(alias)))
    if "ProviderId" in rest:  # Get-WinEvent's ProcessId is the writer's; in any other flat event it is the data's
        found["Execution_ProcessID"] = rest.pop("ProcessId", None)
    return found


def _add_message(fields: Fields, message: str) -> None:
    """Add what a Sysmon event says in its text, which names all fields."""
    for name, value in cast("list[tuple[str, str]]", _MESSAGE_FIELD.findall(message)):
        if name not in fields:
            fields[name] = value


def _add_properties(fields: Fields, found: Mapping[str, Any], properties: list[object]) -> None:
    values = [_value(item) for item in properties]
    names = _PROPERTIES.get((str(found.get("Channel")), positive(found.get("EventID"))), "").split()
    if len(names) >= len(values):
        for name, value in zip(names, values, strict=False):
            add_leaves(fields, name, value)
    elif not fields:
        add_leaves(fields, "Data", values)


def _flat_time(export: Mapping[str, Any]) -> object:
    """Return the most exact of a flat event's times; one without a zone is local to nobody knows where."""
    created = _value(export.get("TimeCreated"))
    if created is not None:
        return created
    event_time = export.get("EventTime", export.get("SystemTime"))
    if isinstance(event_time, str) and _ZONE.search(event_time):
        return event_time
    candidates = (export.get("UtcTime"), export.get("@timestamp"), event_time, export.get("timestamp"))
    return next((time for time in candidates if time is not None), None)


def _record(fields: Fields, found: Mapping[str, Any], time: object, message: object) -> LogRecord:
    """Return the record of an event whose System part is `found`."""
    for name, value in found.items():
        if value is not None and value != "" and name not in fields:
            add_leaves(fields, name, value)
    if isinstance(code := found.get("EventID"), int | str):
        fields["EventID"] = code
    ts_ns, gaps = moment(time, ())
    if gaps and isinstance(utc := fields.get("UtcTime"), str):
        ts_ns, gaps = moment(utc, ())
    return LogRecord(
        os="windows",
        ts_ns=ts_ns,
        host=_text(found.get("Computer")),
        provider=_text(found.get("Provider_Name")),
        channel=_text(found.get("Channel")),
        code=_text(fields.get("EventID")),
        record_id=positive(found.get("EventRecordID")),
        message=_text(message),
        fields=fields,
        gaps=(NO_TIME,) if gaps else (),
    )


def _value(value: object) -> object:
    """Return what ConvertTo-Json made of an object: its value alone."""
    if isinstance(value, dict):
        mapping = cast("dict[str, object]", value)
        return next((mapping[key] for key in ("Value", "value", "Name", "DateTime") if key in mapping), None)
    return value


def _below(mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object in an object, also where its keys were joined by dots."""
    found: dict[str, Any] = {}
    if isinstance(inner := mapping.get(name), dict):
        found.update(cast("dict[str, Any]", inner))
    prefix = f"{name}."
    found.update((key[len(prefix) :], value) for key, value in mapping.items() if key.startswith(prefix))
    return found


def _at(mapping: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, whether or not its keys were joined by dots."""
    if path in mapping:
        return mapping[path]
    name, _, rest = path.partition(".")
    while rest:
        if isinstance(inner := mapping.get(name), dict):
            return _at(cast("dict[str, Any]", inner), rest)
        step, _, rest = rest.partition(".")
        name = f"{name}.{step}"
    return None


def _text(value: object) -> str:
    return str(cast("LogScalar", value)) if isinstance(value, str | int | float) else ""
