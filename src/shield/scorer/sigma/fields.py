"""The fields of an event as Sigma rules name them.

What the log that an event was read from has under a name comes first. Then Sigma's own names (Image, CommandLine, ...)
are looked up in a table. Any other name is a path into the event's `data` (`process.exe_memfd`,
`process.env.LD_PRELOAD`, `ancestors.exe`), so that rules can use all that Shield knows; a path through a list gives a
list, and a rule's value matches it if it matches any element. What Shield itself knows nothing of is absent: None.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import Any, cast

from shield.event import Ancestor, Data, Event

FieldValue = str | int | float | bool | tuple[Any, ...] | None
Getter = Callable[[Event], FieldValue]

NAMES = {
    "Image": "process.exe",
    "CommandLine": "process.cmdline",
    "CurrentDirectory": "process.cwd",
    "ProcessId": "process.pid",
    "ProcessGuid": "process.entity_id",
    "OriginalFileName": "process.pe.original_file_name",
    "Description": "process.pe.description",
    "Product": "process.pe.product",
    "Company": "process.pe.company",
    "FileVersion": "process.pe.file_version",
    "IntegrityLevel": "process.integrity",
    "LogonId": "process.logon_id",
    "md5": "process.hashes.md5",
    "sha1": "process.hashes.sha1",
    "sha256": "process.hashes.sha256",
    "Imphash": "process.hashes.imphash",
    "ParentImage": "parent.exe",
    "ParentCommandLine": "parent.cmdline",
    "ParentProcessId": "parent.pid",
    "ParentProcessGuid": "parent.entity_id",
    "ParentUser": "parent.user",
    "TerminalSessionId": "process.session",
    "TargetFilename": "file.path",
    "SourceFilename": "file.old_path",
    "ImageLoaded": "file.path",
    "SourceIp": "network.source_ip",
    "SourcePort": "network.source_port",
    "SourceHostname": "network.source_host",
    "DestinationIp": "network.destination_ip",
    "DestinationPort": "network.destination_port",
    "DestinationHostname": "network.destination_host",
    "Initiated": "network.initiated",
    "Protocol": "network.transport",
    "QueryName": "dns.query",
    "QueryResults": "dns.answers",
    "QueryStatus": "dns.status",
    "TargetObject": "registry.path",
    "Details": "registry.data",
    "Message": "log.message",
}
"""Sigma's names of fields, and where Shield keeps what they mean."""

SHARED_PARTS: dict[str, Callable[[Event], object]] = {
    "parent": lambda event: event.data.parent,
    "ancestors": lambda event: event.data.ancestors,
    "user": lambda event: event.data.user,
    "container": lambda event: event.data.container,
    "process.env": lambda event: (event.data.process and event.data.process.env) or None,
}
"""The parts of an event that many events have in common, mostly as the very same object, and how to take them out."""

_PARTS = frozenset(Data.__struct_fields__)


def part_of(field: str) -> str:
    """Return the shared part that `field` is in, else a name that is none."""
    path = "user" if field == "User" else NAMES.get(field, field)
    return "process.env" if path.startswith("process.env.") else path.partition(".")[0]


_TYPES = frozenset((str, int, float, bool, tuple))
_EMPTIABLE = (str, tuple)
"""The types whose empty value says that there is none."""

_TOLD: dict[str, Callable[[Any], tuple[str, ...]]] = {
    "process": attrgetter("exe", "cmdline", "cwd"),
    "parent": attrgetter("exe", "cmdline"),
    "user": attrgetter("name", "effective_name"),
    "file": attrgetter("path", "old_path"),
    "network": attrgetter("source_ip", "source_host", "destination_ip", "destination_host"),
    "dns": lambda dns: (dns.query, *dns.answers),
    "registry": attrgetter("path", "data", "old_path"),
}


@lru_cache(maxsize=4096)
def getter(field: str) -> Getter:
    """Return the function that takes the value of `field` out of any event."""
    observed = observed_getter(field)

    def get(event: Event) -> FieldValue:
        log = event.data.log
        if log is not None and (found := log.fields.get(field)) is not None:
            return found
        return observed(event)

    return get


def observed_getter(field: str) -> Getter:
    """Return the function that takes the value of `field` out of the typed parts of an event, its log left aside."""
    special = _SPECIAL.get(field)
    if special is not None:
        return special
    part, _, rest = NAMES.get(field, field).partition(".")
    if part not in _PARTS or not rest:
        return _absent
    match part, rest.split("."):
        case "ancestors", [name] if name in Ancestor.__struct_fields__:
            take = attrgetter(name)
            return lambda event: tuple(map(take, event.data.ancestors)) or None
        case _, [name]:
            return _attribute(part, name)
        case _, [inner, name]:
            return _inner(part, inner, name)
        case _:
            return _absent


def is_observed(field: str) -> bool:
    """Return whether the typed parts of an event can have a field of that name."""
    return observed_getter(field) is not _absent


def texts(event: Event) -> tuple[str, ...]:
    """Return the texts of an event, for rules that search for bare keywords.

    Of a log's record they are all its own: what the log says of it (provider, channel) is none of them, a number in it
    is, as it is written. Of an event that Shield observed itself they are those that a log of it would have (`_TOLD`).
    """
    data = event.data
    log = data.log
    if log is None:
        found = [get(part) for name, get in _TOLD.items() if (part := getattr(data, name)) is not None]
        return tuple(text for texts in found for text in texts if text)
    found = [one for part in log.fields.values() for one in ((part,) if isinstance(part, str) else _texts(part))]
    return (*found, log.message) if log.message else tuple(found)


def joined_texts(event: Event) -> str:
    """Return every text that `texts` does, each on a line of its own."""
    return "\n".join(texts(event))


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list | tuple):
        for inner in cast("Iterable[object]", part.values() if isinstance(part, dict) else part):
            yield from _texts(inner)
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield str(part)


def _attribute(part: str, name: str) -> Getter:
    def get(event: Event) -> FieldValue:
        return _known(getattr(getattr(event.data, part), name, None))

    return get


def _inner(part: str, inner: str, name: str) -> Getter:
    def get(event: Event) -> FieldValue:
        holder = getattr(getattr(event.data, part), inner, None)
        if isinstance(holder, dict):
            return _known(cast("dict[str, Any]", holder).get(name))
        return _known(getattr(holder, name, None))

    return get


def _known(found: Any) -> FieldValue:
    return found if type(found) in _TYPES and (found or type(found) not in _EMPTIABLE) else None


def _user(event: Event) -> FieldValue:
    user = event.data.user
    return (user.effective_name or user.name or None) if user else None


def _host(event: Event) -> FieldValue:
    return event.host or None


def _hashes(event: Event) -> FieldValue:
    """Return the hashes of the image or the file as Sysmon writes them: `SHA1=...,MD5=...`."""
    holder = event.data.process if event.data.process and event.data.process.hashes else event.data.file
    if holder is None or not holder.hashes:
        return None
    return ",".join(f"{name.upper()}={digest}" for name, digest in holder.hashes.items())


def _absent(event: Event) -> FieldValue:
    return None


_SPECIAL: dict[str, Getter] = {
    "User": _user,
    "Hashes": _hashes,
    "Computer": _host,
    "ComputerName": _host,
}
