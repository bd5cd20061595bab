"""Which format a file of recorded telemetry is in, as its first bytes show, whatever its name.

JSON documents of different formats may stand in one file: one that is not of the format the file began with is read by
the format that it is of.
"""

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from shield.collector.replay import auditd, ecs, evtx, jsonl, syslog, sysmon_linux, windows_json
from shield.collector.replay.damage import Damaged, Item
from shield.collector.replay.documents import documents

_HEAD = 65536
_LEAST = 4096
_SHOWN = 16
_TRIED = 4

Items = Iterator[tuple[bytes, Item]]
"""What a reader yields: a part of the file as it is, and what it says."""


class UnknownFormat(ValueError):
    """A file that none of the readers can read; the message names it and what can be read."""


class Reader(NamedTuple):
    """The format of a file, as people call it, and what is in it."""

    format: str
    items: Items


class _Format(NamedTuple):
    name: str
    matches: Callable[[bytes], bool]
    read: Callable[[BinaryIO, str], Items]


class _EventKeys(msgspec.Struct, frozen=True, gc=False):
    category: str
    data: dict[str, msgspec.Raw]


def _is_event(text: bytes) -> bool:
    """Return whether a JSON object is an event of Shield's, right or not."""
    try:
        _event_keys.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _holds_events(head: bytes) -> bool:
    return any(_is_event(document.text) for document in documents(io.BytesIO(head)) if not document.problem)


_event_keys = msgspec.json.Decoder(_EventKeys)
_EVTX = _Format("Windows event log (EVTX)", evtx.matches, evtx.read)
_EVENTS = _Format("Shield's events", _holds_events, jsonl.read)
_WINDOWS = _Format("Windows events as JSON", windows_json.matches, windows_json.read)
_ECS = _Format("Elastic Common Schema", ecs.matches, ecs.read)
_JSON = (_EVENTS, _WINDOWS, _ECS)
_JOURNAL = _Format("journal as JSON", syslog.matches, syslog.read)
_TEXT = (
    _Format("Linux audit log", auditd.matches, auditd.read),
    _Format("Sysmon for Linux", sysmon_linux.matches, sysmon_linux.read),
    _Format("syslog text", syslog.matches, syslog.read),
)


def open_reader(file: BinaryIO, source: str) -> Reader:
    """Return the reader of what is in `file`, which may be a pipe. `source` is its name, for errors.

    Raises UnknownFormat where it is in none of the formats Shield reads; an empty file is in any.
    """
    head, whole = _peek(file)
    if not head.strip():
        return Reader("empty", jsonl.read(whole, source))
    if evtx.matches(head):
        return Reader(_EVTX.name, evtx.read(whole, source))
    text = _utf8(head)
    is_json = text.lstrip(b"\xef\xbb\xbf \t\r\n\0")[:1] in (b"{", b"[")
    found = _found(text, (*_JSON, _JOURNAL) if is_json else (*_TEXT, *_JSON))
    if found is None:
        raise UnknownFormat(_refusal(source, head))
    items = found.read(whole, source)
    return Reader(found.name, _judged(items, found) if found in _JSON else items)


def _found(head: bytes, formats: tuple[_Format, ...]) -> _Format | None:
    """Return the first of `formats` that fits the head or, where that is damaged, one of its first lines."""
    for text in (head, *(line + b"\n" for line in head.split(b"\n", _TRIED)[:_TRIED] if line.strip())):
        for one in formats:
            if one.matches(text):
                return one
    return None


def _judged(items: Items, expected: _Format) -> Items:
    """Yield `items`, reading each that is not of the format expected by the one it is of."""
    others = [one for one in _JSON if one is not expected]
    for raw, item in items:
        if not isinstance(item, Damaged):
            yield raw, item
            continue
        fitting = next((one for one in others if raw[:1] == b"{" and one.matches(raw)), None)
        yield raw, _reread(raw, item, fitting) if fitting else item


def _reread(raw: bytes, item: Damaged, fitting: _Format) -> Item:
    found = next((found for _, found in fitting.read(io.BytesIO(raw), item.source)), item)
    return msgspec.structs.replace(found, line=item.line) if isinstance(found, Damaged) else found


def _refusal(source: str, head: bytes) -> str:
    names = ", ".join(one.name for one in (_EVTX, *_JSON, *_TEXT))
    return f"{source}: it begins with {head[:_SHOWN]!r}, which is none of the formats Shield reads: {names}"


def _utf8(head: bytes) -> bytes:
    """Return text as UTF-8, from what PowerShell writes too."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return head[: len(head) & ~1].decode("utf-16", "replace").encode("utf-8", "replace")
    return head


def _peek(file: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Return the first bytes of a file, and the file as it was before; of a pipe, no more than its first lines."""
    if file.seekable():
        start = file.tell()
        head = file.read(_HEAD)
        file.seek(start)
        return head, file
    head = b""
    while len(head) < _HEAD and not _has_line(head) and (piece := _available(file)):
        head += piece
    return head, io.BufferedReader(_Rejoined(head, file), 1 << 16)


def _has_line(head: bytes) -> bool:
    """Return whether there is a whole line that says more than a bracket."""
    first, newline, _ = head.lstrip().partition(b"\n")
    return bool(newline) and (len(first.strip(b"[{ \t\r")) > 0 or len(head) > _LEAST)


def _available(file: BinaryIO) -> bytes:
    read1 = getattr(file, "read1", None)
    return read1(_HEAD) if read1 else file.readline(_HEAD)


class _Rejoined(io.RawIOBase):
    """A stream from its beginning, of which `head` has been read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        piece = self._head[: len(buffer)] if self._head else self._more(len(buffer))
        self._head = self._head[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def _more(self, size: int) -> bytes:
        read1 = getattr(self._rest, "read1", None)
        return read1(size) if read1 else self._rest.read(size)
