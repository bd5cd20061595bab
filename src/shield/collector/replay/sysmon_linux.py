"""Sysmon for Linux: an event a line, as XML, bare or behind the prefix of a syslog line.

Fields are those of its EventData by their names, and the parts of System that a Windows event has too (EventID,
Computer, Channel, Provider_Name). The XML is read by expat; a document with a DTD, so with entities of its own, is
refused. Of an event that syslog cut off, what is there is told, with a gap.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

import msgspec

from shield.collector.replay import windows_event
from shield.collector.replay.damage import Damaged, Item
from shield.collector.replay.lines import LINE_MOST, numbered, too_long, whole_lines
from shield.record import LogRecord
from shield.text import decode

PROVIDER = "Linux-Sysmon"
START = "<Event"

_HEAD = re.compile(rb"(?:[^<]|<\d{1,3}>){0,512}<Event[^>]{0,256}><System><Provider Name=[\"']Linux-Sysmon[\"']")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_DEPTH_MOST = 8
_NUMBERS = ("ProcessId", "ParentProcessId", "SourcePort", "DestinationPort", "TerminalSessionId", "SourceProcessId")
_CUT = "the record is cut off"
_REPLACED = "characters that XML can't hold were replaced"


class NotSysmon(ValueError):
    """A text that is no event of Sysmon for Linux."""


def matches(head: bytes) -> bool:
    """Return whether a file that begins with `head` holds events of Sysmon for Linux alone."""
    lines = [line for line in whole_lines(head) if line.strip()]
    return bool(lines) and all(_HEAD.match(line) for line in lines)


def read(file: BinaryIO, source: str) -> Iterator[tuple[bytes, Item]]:
    """Yield each line of `file`, as it is, with the event on it or what is wrong with it; blank lines are passed over.

    `source` is the file's name, for errors.
    """
    for number, line in numbered(file):
        if not line.strip():
            continue
        yield line, too_long(source, number) if len(line) > LINE_MOST else _item(line, source, number)


def record(xml: str) -> LogRecord:
    """Return the event in `xml`. Raises NotSysmon where there is none."""
    text = _FORBIDDEN.sub("\ufffd", xml)
    event = _Event(text)
    try:
        found = windows_event.from_builtins({"Event": event.parts()})
    except windows_event.NotWindows as error:
        raise NotSysmon(event.problem or str(error)) from None
    if found.provider != PROVIDER or not found.code:
        raise NotSysmon(event.problem or "the event is not of Sysmon for Linux")
    fields = {
        name: windows_event.integer(value) if name in _NUMBERS and isinstance(value, str) else value
        for name, value in found.fields.items()
    }
    gaps = (*found.gaps, *([_CUT] if event.problem else ()), *([_REPLACED] if text != xml else ()))
    return msgspec.structs.replace(found, os="linux", fields=fields, gaps=gaps)


def _item(line: bytes, source: str, number: int) -> Item:
    text = decode(line.rstrip(b"\r\n\0"))
    start = text.find(START)
    if start < 0:
        return Damaged(source, number, "there is no <Event on the line")
    try:
        return record(text[start:])
    except NotSysmon as error:
        return Damaged(source, number, str(error))


class _Event:
    """Reads an event's XML: elements become mappings, `Data` by its name, text the value of what holds nothing else."""

    def __init__(self, xml: str) -> None:
        self.problem = ""
        self._system: dict[str, object] = {}
        self._data: dict[str, object] = {}
        self._path: list[str] = []
        self._name = ""
        self._attributes: dict[str, str] = {}
        self._text: list[str] = []
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._refuse
        try:
            parser.Parse(xml.encode("utf-8"), True)
        except expat.ExpatError as error:
            self.problem = f"no well-formed XML: {error}"

    def parts(self) -> dict[str, object]:
        """Return the event as JSON forms of Windows events have it."""
        return {"System": self._system, "EventData": self._data}

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) == _DEPTH_MOST:
            raise NotSysmon("its elements are nested too deeply")
        self._path.append(name)
        self._attributes = attributes
        self._text.clear()

    def _end(self, name: str) -> None:
        text = "".join(self._text)
        match self._path:
            case ["Event", "System", _]:
                self._system[name] = {f"@{key}": value for key, value in self._attributes.items()} | {"#text": text}
            case ["Event", "EventData", "Data"]:
                self._data[self._attributes.get("Name", "Data")] = text
            case _:
                pass
        self._path.pop()
        self._attributes = {}
        self._text.clear()

    def _refuse(self, *_: object) -> None:
        raise NotSysmon("it has a document type, which no event has")
