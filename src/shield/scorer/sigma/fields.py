"""The fields of an event as Sigma rules name them.

Sigma's own names (Image, CommandLine, ...) are looked up in a table. Any other name is a path into the event's `data`
(`process.exe_memfd`, `process.env.LD_PRELOAD`, `ancestors.exe`), so that rules can use all that Shield knows; a path
through a list gives a list, and a rule's value matches it if it matches any element. What is empty is absent: None.
"""

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any, cast

import msgspec

from shield.event import Ancestor, Category, Event

Value = str | int | float | bool | tuple[Any, ...] | None
Getter = Callable[[Event], Value]

CATEGORIES: dict[str, Category] = {"process_creation": "process_start", "process_termination": "process_exit"}
"""Sigma's log source categories, and the events they are about."""

_PATHS = {
    "Image": "process.exe",
    "CommandLine": "process.cmdline",
    "CurrentDirectory": "process.cwd",
    "ProcessId": "process.pid",
    "ProcessGuid": "process.entity_id",
    "ParentImage": "parent.exe",
    "ParentCommandLine": "parent.cmdline",
    "ParentProcessId": "parent.pid",
    "ParentProcessGuid": "parent.entity_id",
    "ParentUser": "parent.user",
    "TerminalSessionId": "process.session",
}


SHARED_PARTS: dict[str, Callable[[Event], object]] = {
    "parent": lambda event: event.data.parent,
    "ancestors": lambda event: event.data.ancestors,
    "user": lambda event: event.data.user,
    "container": lambda event: event.data.container,
    "process.env": lambda event: event.data.process and event.data.process.env,
}
"""The parts of an event that many events have in common, mostly as the very same object, and how to take them out."""


def part_of(field: str) -> str:
    """Return the shared part that `field` is in, else a name that is none."""
    path = "user" if field == "User" else _PATHS.get(field, field)
    return "process.env" if path.startswith("process.env.") else path.partition(".")[0]


def getter(field: str) -> Getter:
    """Return the function that takes the value of `field` out of an event."""
    if field == "User":
        return _user
    part, _, rest = _PATHS.get(field, field).partition(".")
    match part, rest.split("."):
        case "process" | "parent" | "user" | "container", [name]:
            return _attribute(part, name)
        case "process", ["env", variable]:
            return lambda event: (event.data.process.env.get(variable) or None) if event.data.process else None
        case "process", ["namespaces", name]:
            return lambda event: getattr(event.data.process and event.data.process.namespaces, name, None)
        case "ancestors", [name] if name in Ancestor.__struct_fields__:
            take = attrgetter(name)
            return lambda event: tuple(map(take, event.data.ancestors)) or None
        case _:
            return _absent


def texts(event: Event) -> tuple[str, ...]:
    """Return every text in an event's data, for rules that search for bare keywords."""
    return tuple(_texts(msgspec.to_builtins(event.data)))


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list | tuple):
        for inner in cast("Iterable[object]", part.values() if isinstance(part, dict) else part):
            yield from _texts(inner)


def _attribute(part: str, name: str) -> Getter:
    def get(event: Event) -> Value:
        found: Value = getattr(getattr(event.data, part), name, None)
        return found if isinstance(found, str | int | float | tuple) and found not in ("", ()) else None

    return get


def _user(event: Event) -> Value:
    user = event.data.user
    return (user.effective_name or user.name or None) if user else None


def _absent(event: Event) -> Value:
    return None
