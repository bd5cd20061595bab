"""Windows events in the JSON form of their XML: `{"Event": {"System": ..., "EventData" or "UserData": ...}}`.

What evtx_dump and the `evtx` package write is decoded into typed structs. Whatever differs from that is walked: other
programs name attributes `@Name`, `@attributes` or `attributes`, write all numbers as text, list `Data` elements.

The fields of a record are its data's leaves by name, a name that repeats becoming a tuple, and the parts of `System`
that Sigma rules ask for: EventID, Provider_Name, Channel, Computer, Level, Task, Opcode, Version, Keywords,
EventRecordID, Execution_ProcessID, Security_UserID. A name that is in both is the data's, but for EventID.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Struct, field

from shield.collector.replay.timestamp import epoch_ns, unix_ns
from shield.event import LogScalar, LogValue, Platform
from shield.record import LogRecord

NO_TIME = "its time can't be read"

Fields = dict[str, LogValue]

_Integer = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Scalar = str | _Integer | float | bool
_ATTRIBUTES = ("#attributes", "@attributes", "attributes")
_TEXTS = ("#text", "Value", "_", "$", "content")
_REPEATED = re.compile(r"(.+)_[1-9]\d*")
_LINUX_PROVIDER = "Linux-Sysmon"
_INTEGER_LEAST, _INTEGER_MOST = -(1 << 63), (1 << 64) - 1


class NotWindows(ValueError):
    """A JSON value that is no Windows event."""


class _Provider(Struct, frozen=True, gc=False):
    Name: str = ""


class _TimeCreated(Struct, frozen=True, gc=False):
    SystemTime: str = ""


class _Execution(Struct, frozen=True, gc=False):
    ProcessID: int


class _Security(Struct, frozen=True, gc=False):
    UserID: str


class _ProviderElement(Struct, frozen=True, gc=False):
    attributes: _Provider = field(name="#attributes")


class _TimeCreatedElement(Struct, frozen=True, gc=False):
    attributes: _TimeCreated = field(name="#attributes")


class _ExecutionElement(Struct, frozen=True, gc=False):
    attributes: _Execution = field(name="#attributes")


class _SecurityElement(Struct, frozen=True, gc=False):
    attributes: _Security = field(name="#attributes")


class _EventIdElement(Struct, frozen=True, gc=False):
    text: int = field(name="#text")


class _System(Struct, frozen=True, gc=False):
    Provider: _ProviderElement
    EventID: int | _EventIdElement
    TimeCreated: _TimeCreatedElement
    Channel: str
    Computer: str
    Level: int
    Task: int
    Opcode: int
    Keywords: str
    EventRecordID: int
    Version: int | None = None
    Execution: _ExecutionElement | None = None
    Security: _SecurityElement | None = None


class _Named(Struct, frozen=True, gc=False):
    System: _System
    EventData: dict[str, _Scalar] | None = None
    UserData: None = None
    RenderingInfo: None = None


class _Texts(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    text: _Scalar | tuple[_Scalar, ...] = field(name="#text")


class _Positional(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    Data: _Texts


class _Unnamed(Struct, frozen=True, gc=False):
    System: _System
    EventData: _Positional
    UserData: None = None
    RenderingInfo: None = None


class _NamedEvent(Struct, frozen=True, gc=False):
    Event: _Named


class _UnnamedEvent(Struct, frozen=True, gc=False):
    Event: _Unnamed


_named = msgspec.json.Decoder(_NamedEvent)
_unnamed = msgspec.json.Decoder(_UnnamedEvent)
_any = msgspec.json.Decoder()


def decode(text: bytes, written: str = "", gaps: tuple[str, ...] = ()) -> LogRecord:
    """Return the event in `text`.

    `written` is the time an EVTX record's own header bears: where it is the event's, it is ten times as exact. Raises
    msgspec.DecodeError where `text` is no JSON, and NotWindows where it is no event.
    """
    try:
        event = _named.decode(text).Event
        data: Mapping[str, LogValue] = event.EventData or {}
    except msgspec.ValidationError:
        try:
            event = _unnamed.decode(text).Event
            data = {"Data": event.EventData.Data.text}
        except msgspec.ValidationError:
            return from_builtins(_any.decode(text), written, gaps)
    system = event.System
    code = system.EventID if type(system.EventID) is int else cast("_EventIdElement", system.EventID).text
    provider = system.Provider.attributes.Name
    fields: Fields = {
        "Provider_Name": provider,
        "Channel": system.Channel,
        "Computer": system.Computer,
        "Level": system.Level,
        "Task": system.Task,
        "Opcode": system.Opcode,
        "Keywords": system.Keywords,
        "EventRecordID": system.EventRecordID,
        **data,
        "EventID": code,
    }
    if system.Execution is not None:
        fields.setdefault("Execution_ProcessID", system.Execution.attributes.ProcessID)
    if system.Security is not None:
        fields.setdefault("Security_UserID", system.Security.attributes.UserID)
    if system.Version is not None:
        fields.setdefault("Version", system.Version)
    created = system.TimeCreated.attributes.SystemTime
    ts_ns, gaps = moment(written if written[:26] == created[:26] else created, gaps)
    return LogRecord(
        _platform(provider),
        ts_ns,
        system.Computer,
        provider,
        system.Channel,
        str(code),
        system.EventRecordID,
        "",
        fields,
        gaps,
    )


def from_builtins(document: object, written: str = "", gaps: tuple[str, ...] = ()) -> LogRecord:
    """Return the event in a decoded JSON document. Raises NotWindows where there is none."""
    event = _mapping(_mapping(document).get("Event", document))
    system = _mapping(event.get("System"))
    if not system:
        raise NotWindows("no Windows event: it has no System part")
    fields: Fields = {}
    for part in ("EventData", "UserData", "ProcessingErrorData"):
        add_leaves(fields, part, event.get(part))
    values = _system_values(system)
    for name, value in values.items():
        fields.setdefault(name, value)
    if "EventID" in values:
        fields["EventID"] = values["EventID"]
    created = _attribute(system.get("TimeCreated"), "SystemTime")
    exact = written if isinstance(created, str) and written[:26] == created[:26] else created
    ts_ns, gaps = moment(exact, gaps)
    rendered = _mapping(event.get("RenderingInfo")).get("Message", event.get("Message"))
    return LogRecord(
        os=_platform(values.get("Provider_Name")),
        ts_ns=ts_ns,
        host=str(values.get("Computer", "")),
        provider=str(values.get("Provider_Name", "")),
        channel=str(values.get("Channel", "")),
        code=str(values.get("EventID", "")),
        record_id=positive(values.get("EventRecordID")),
        message=rendered if isinstance(rendered, str) else "",
        fields=fields,
        gaps=gaps,
    )


def _platform(provider: object) -> Platform:
    return "linux" if provider == _LINUX_PROVIDER else "windows"


def moment(time: object, gaps: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Return a time as Unix nanoseconds, 0 with a gap more where it is none."""
    try:
        if isinstance(time, str):
            return unix_ns(time), gaps
        if isinstance(time, int | float) and not isinstance(time, bool):
            return epoch_ns(time), gaps
    except ValueError:
        pass
    return 0, (*gaps, NO_TIME)


def integer(value: object) -> object:
    """Return the number that `value` is or writes out in decimal digits, else `value`."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < len(str(_INTEGER_MOST)):
        return int(value)
    return value


def positive(value: object) -> int:
    """Return `value` where it is a number a record can have, else 0."""
    return value if isinstance(value, int) and 0 <= value <= _INTEGER_MOST else 0


def add(fields: Fields, name: str, value: object) -> None:
    """Add a scalar to `fields`: None is left out, and a name that is there already gets a tuple of all its values."""
    if value is None:
        return
    if isinstance(value, int) and not _INTEGER_LEAST <= value <= _INTEGER_MOST:
        value = str(value)
    scalar = cast("LogScalar", value)
    if name in fields:
        known = fields[name]
        fields[name] = (*known, scalar) if isinstance(known, tuple) else (known, scalar)
    else:
        fields[name] = scalar


def add_leaves(fields: Fields, name: str, node: object) -> None:
    """Add all that stands below an element by its leaves' own names; a `Data` element's is what it is called.

    Attributes are leaves too, but for namespaces.
    """
    if isinstance(node, dict):
        _add_element(fields, name, cast("dict[str, object]", node))
    elif isinstance(node, list):
        for item in cast("list[object]", node):
            add_leaves(fields, name, item)
    elif node is not None and name not in ("EventData", "UserData", "ProcessingErrorData"):
        add(fields, name, node)


def _add_element(fields: Fields, name: str, element: dict[str, object]) -> None:
    attributes = _attributes(element)
    own = attributes.pop("Name", None) if name == "Data" else None
    if isinstance(own, str) and own:
        name = own
        if not any(key in element for key in _TEXTS) and not _children(element):
            add(fields, name, "")
    for key, value in attributes.items():
        if not key.startswith("xmlns"):
            add_leaves(fields, key, value)
    for key, value in _children(element):
        if key == "#text" or (own is not None and key in _TEXTS):
            leaf = name
        else:
            leaf = _base(key, element) if key[-1:].isdigit() else key
        if type(value) is str and leaf not in fields and leaf is not name:
            fields[leaf] = value
        else:
            add_leaves(fields, leaf, value)


def _children(element: dict[str, object]) -> list[tuple[str, object]]:
    return [(key, value) for key, value in element.items() if key not in _ATTRIBUTES and not key.startswith("@")]


def _base(key: str, siblings: Iterable[str]) -> str:
    """Return the name of an element that was given a number because one of its name came before it."""
    found = _REPEATED.fullmatch(key)
    return found[1] if found and found[1] in siblings else key


def _attributes(element: Mapping[str, object]) -> dict[str, object]:
    attributes: dict[str, object] = {}
    for key in _ATTRIBUTES:
        if isinstance(found := element.get(key), dict):
            attributes.update(cast("dict[str, object]", found))
    attributes.update((key[1:], value) for key, value in element.items() if key[:1] == "@" and key not in _ATTRIBUTES)
    return attributes


def _attribute(element: object, name: str) -> object:
    """Return an attribute of an element, which some write as if it were its child."""
    mapping = _mapping(element)
    return _attributes(mapping).get(name, mapping.get(name))


def _text(element: object) -> object:
    """Return the text of an element."""
    if isinstance(element, dict):
        mapping = _mapping(cast("object", element))
        return next((mapping[key] for key in _TEXTS if key in mapping), None)
    return element


def _system_values(system: Mapping[str, object]) -> Fields:
    values: Fields = {}
    provider = system.get("Provider")
    found = {
        "EventID": integer(_text(system.get("EventID"))),
        "Provider_Name": provider if isinstance(provider, str) else _attribute(provider, "Name"),
        "Channel": _text(system.get("Channel")),
        "Computer": _text(system.get("Computer")),
        "Level": integer(_text(system.get("Level"))),
        "Task": integer(_text(system.get("Task"))),
        "Opcode": integer(_text(system.get("Opcode"))),
        "Version": integer(_text(system.get("Version"))),
        "Keywords": _text(system.get("Keywords")),
        "EventRecordID": integer(_text(system.get("EventRecordID"))),
        "Execution_ProcessID": integer(_attribute(system.get("Execution"), "ProcessID")),
        "Security_UserID": _attribute(system.get("Security"), "UserID"),
    }
    for name, value in found.items():
        if isinstance(value, str | int | float) and value != "":
            add(values, name, value)
    return values


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
