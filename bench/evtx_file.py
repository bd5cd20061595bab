"""Windows event logs (EVTX) of any size, made from recorded ones: the real binary format, with values that differ.

A recorded file's chunk is kept with its records, its template definitions and its strings where they are, and filled
with further records that refer to those definitions. A further record equals the recorded one in everything but its
number, its time and the values of its event data; a value keeps its binary type. The format is that of Joachim Metz,
"Windows XML Event Log (EVTX) format" (libevtx), and of Microsoft's [MS-EVEN6], 2.2.12 to 2.2.18.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zlib import crc32

import msgspec
from evtx import PyEvtxParser
from msgspec import Struct

from shield.event import LogValue
from shield.record import LogRecord

_FILE_HEADER = struct.Struct("<8sQQQIHHHH")  # magic, first and last chunk, next record, sizes and version, chunks
_CHUNK_HEADER = struct.Struct("<8sQQQQIII")  # magic, first and last number and id, size, last record, free space
_RECORD_HEADER = struct.Struct("<4sIQQ")  # magic, size, id, time
_INSTANCE = struct.Struct("<BBII")  # token, always 1, the template's id, where in the chunk its definition is
_VALUE = struct.Struct("<HBx")  # size, type
_U32 = struct.Struct("<I")
_FRAGMENT = b"\x0f\x01\x01\x00"
_END = b"\0"
_TEMPLATE = 0x0C
_HEADER_BYTES, _FILE_HEADER_ROOM, _CHUNK_BYTES, _FIRST_RECORD, _DEFINITION_BYTES = 128, 4096, 65536, 512, 24
_VERSION = (1, 3)  # minor, major
_SUMMED, _RECORDS_SUM_AT, _SUM_AT = 120, 52, 124
_NULL, _TEXT, _U64, _GUID, _FILETIME, _SID, _XML = 0x00, 0x01, 0x0A, 0x0F, 0x11, 0x13, 0x21
_NUMBERS = {0x04: "<B", 0x06: "<H", 0x08: "<I", _U64: "<Q", 0x0D: "<I", 0x14: "<I", 0x15: "<Q"}
_FILETIME_OF_1970, _NS_OF_FILETIME = 116_444_736_000_000_000, 100
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

Supply = Callable[[str, str, int], LogRecord]
"""Gives the record to write next: of this channel, with this code, and the how manyth of the file it is, from 1."""


class Unsuitable(Exception):
    """This recorded file is of a shape that can't be filled with further records."""


class Instance(Struct, frozen=True):
    """A template and the values to put into it, each with its type; `rest` is what follows them."""

    template_id: int
    definition_at: int
    values: tuple[tuple[int, bytes], ...]
    rest: bytes

    def encoded(self) -> bytes:
        """Return it as binary XML that refers to the template's definition elsewhere in the chunk."""
        types = b"".join(_VALUE.pack(len(value), kind) for kind, value in self.values)
        head = _FRAGMENT + _INSTANCE.pack(_TEMPLATE, 1, self.template_id, self.definition_at)
        return b"".join([head, _U32.pack(len(self.values)), types, *(value for _, value in self.values), self.rest])


class Recorded(Struct, frozen=True):
    """A recorded file's only chunk, its records, and the first of them taken apart.

    `system` is its outer template, `event_data` the one among its values; `names` are those of the latter's values.
    """

    channel: str
    code: str
    chunk: bytes
    records: tuple[bytes, ...]
    system: Instance
    event_data: Instance
    names: tuple[str, ...]


class Written(Struct, frozen=True):
    """What a file holds. `recorded` of its records are recorded ones as they were, but for their number."""

    records: int
    recorded: int
    chunks: int
    size: int


def records(path: Path) -> Iterator[LogRecord]:
    """Yield the records of a file as the `evtx` package reads them."""
    for found in filter(None, PyEvtxParser(str(path)).records_json()):
        yield _log_record(msgspec.json.decode(found["data"])["Event"])


def read(path: Path) -> Recorded:
    """Return a recorded file, ready to be filled. Raises Unsuitable where it can't be."""
    chunk = path.read_bytes()[_FILE_HEADER_ROOM:]
    if len(chunk) != _CHUNK_BYTES:
        raise Unsuitable(f"{path}: it has more than one chunk, or none")
    raw = tuple(_raw_records(chunk))
    system, end = _instance(chunk, _FIRST_RECORD + _RECORD_HEADER.size)
    if not system.values or system.values[-1][0] != _XML:
        raise Unsuitable(f"{path}: its event data is no template of its own")
    event_data, data_end = _instance(chunk, end - len(system.values[-1][1]))
    first = next(records(path))
    if len(first.fields) != len(event_data.values):
        raise Unsuitable(f"{path}: its event data has values without a name")
    event_data = msgspec.structs.replace(event_data, rest=chunk[data_end:end])
    return Recorded(first.channel, first.code, chunk, raw, system, event_data, tuple(first.fields))


def read_folder(folder: Path) -> list[Recorded]:
    """Return what can be filled of a folder and those below, in the order of the files' names."""
    found: list[Recorded] = []
    for path in sorted(folder.rglob("*.evtx")):
        try:
            found.append(read(path))
        except Unsuitable:
            continue
    return found


def write(path: Path, sources: Sequence[Recorded], count: int, supply: Supply) -> Written:
    """Write a file of `count` records, made of a chunk of each of `sources` in turn, over and over.

    Raises ValueError where a supplied value is not of the type that the recorded one has.
    """
    number = recorded = chunks = 0
    with path.open("wb") as file:
        file.write(bytes(_FILE_HEADER_ROOM))
        while number < count:
            source = sources[chunks % len(sources)]
            contents = _contents(source, number, count, supply)
            file.write(_chunk(source.chunk, contents, number + 1))
            recorded += min(len(source.records), len(contents))
            number, chunks = number + len(contents), chunks + 1
        file.seek(0)
        file.write(_file_header(chunks, number))
    return Written(number, recorded, chunks, path.stat().st_size)


def _log_record(event: dict[str, Any]) -> LogRecord:
    system, code = event["System"], event["System"]["EventID"]
    when = datetime.fromisoformat(system["TimeCreated"]["#attributes"]["SystemTime"])
    return LogRecord(
        os="windows",
        ts_ns=(when - _EPOCH) // _MICROSECOND * 1000,
        host=system["Computer"],
        provider=system["Provider"]["#attributes"]["Name"],
        channel=system["Channel"],
        code=str(code["#text"] if isinstance(code, dict) else code),
        record_id=system["EventRecordID"],
        fields={name: value for name, value in (event.get("EventData") or {}).items() if value is not None},
    )


def _raw_records(chunk: bytes) -> Iterator[bytes]:
    at, free = _FIRST_RECORD, _CHUNK_HEADER.unpack_from(chunk)[-1]
    while at < free:
        size = _RECORD_HEADER.unpack_from(chunk, at)[1]
        yield chunk[at : at + size]
        at += size


def _instance(chunk: bytes, at: int) -> tuple[Instance, int]:
    """Return the instance at an offset of the chunk, without what follows its values, and where those end."""
    if chunk[at : at + len(_FRAGMENT)] != _FRAGMENT or chunk[at + len(_FRAGMENT)] != _TEMPLATE:
        raise Unsuitable("a record isn't made from a template")
    at += len(_FRAGMENT)
    _, _, template_id, definition_at = _INSTANCE.unpack_from(chunk, at)
    at += _INSTANCE.size
    if definition_at == at:  # the first use of a template holds its definition
        at += _DEFINITION_BYTES + _U32.unpack_from(chunk, at + _DEFINITION_BYTES - _U32.size)[0]
    count = _U32.unpack_from(chunk, at)[0]
    at += _U32.size
    types = [_VALUE.unpack_from(chunk, at + _VALUE.size * index) for index in range(count)]
    at += _VALUE.size * count
    values: list[tuple[int, bytes]] = []
    for size, kind in types:
        values.append((kind, chunk[at : at + size]))
        at += size
    return Instance(template_id, definition_at, tuple(values), _END), at


def _contents(source: Recorded, before: int, count: int, supply: Supply) -> list[bytes]:
    """Return a chunk's records: the recorded ones, and as many others as there is room and need for."""
    found = list(source.records[: count - before])
    room = _CHUNK_BYTES - _FIRST_RECORD - sum(len(record) for record in found)
    while before + len(found) < count:
        number = before + len(found) + 1
        record = _record(source, supply(source.channel, source.code, number), number)
        room -= len(record)
        if room < 0:
            break
        found.append(record)
    return found


def _record(source: Recorded, wanted: LogRecord, number: int) -> bytes:
    values = [
        _value(wanted.fields[name], kind) if name in wanted.fields else (kind, recorded)
        for name, (kind, recorded) in zip(source.names, source.event_data.values, strict=True)
    ]
    event_data = msgspec.structs.replace(source.event_data, values=tuple(values)).encoded()
    time = wanted.ts_ns // _NS_OF_FILETIME + _FILETIME_OF_1970
    own = {_FILETIME: struct.pack("<Q", time), _U64: struct.pack("<Q", number), _XML: event_data}
    system = tuple((kind, own.get(kind, value)) for kind, value in source.system.values)
    body = msgspec.structs.replace(source.system, values=system).encoded()
    body += bytes(-(len(body) + _RECORD_HEADER.size + _U32.size) % 8)
    size = len(body) + _RECORD_HEADER.size + _U32.size
    return _RECORD_HEADER.pack(b"**\0\0", size, number, time) + body + _U32.pack(size)


def _value(value: LogValue, kind: int) -> tuple[int, bytes]:
    """Return a value as binary of a type ([MS-EVEN6] 2.2.18), a text where the recorded value was none."""
    if kind in (_NULL, _TEXT):
        return _TEXT, str(value).encode("utf-16-le")
    try:
        if kind in _IN_WORDS:
            return kind, _IN_WORDS[kind](str(value))
        return kind, struct.pack(_NUMBERS[kind], int(value, 0) if isinstance(value, str) else value)
    except (struct.error, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{value!r} can't be a value of type {kind:#04x}: {error}") from None


def _sid(text: str) -> bytes:
    """Return a security identifier, `S-1-5-18` or its like, as binary ([MS-DTYP] 2.4.2)."""
    revision, authority, *parts = (int(part) for part in text.removeprefix("S-").split("-"))
    return struct.pack(f"<BB6s{len(parts)}I", revision, len(parts), authority.to_bytes(6, "big"), *parts)


_IN_WORDS: dict[int, Callable[[str], bytes]] = {_GUID: lambda text: UUID(text).bytes_le, _SID: _sid}


def _chunk(source: bytes, contents: Sequence[bytes], first: int) -> bytes:
    """Return the chunk with these records, numbered from `first`; its templates and strings stay where they are."""
    numbered = [
        record[:8] + struct.pack("<Q", number) + record[16:] for number, record in enumerate(contents, start=first)
    ]
    data, last = b"".join(numbered), first + len(contents) - 1
    free = _FIRST_RECORD + len(data)
    header = bytearray(source[:_FIRST_RECORD])
    last_at = free - len(contents[-1])
    _CHUNK_HEADER.pack_into(header, 0, b"ElfChnk\0", first, last, first, last, _HEADER_BYTES, last_at, free)
    _U32.pack_into(header, _RECORDS_SUM_AT, crc32(data))
    _U32.pack_into(header, _SUM_AT, crc32(header[_HEADER_BYTES:], crc32(header[:_SUMMED])))
    return (bytes(header) + data).ljust(_CHUNK_BYTES, b"\0")


def _file_header(chunks: int, records: int) -> bytes:
    header = bytearray(_HEADER_BYTES)
    sizes = (_HEADER_BYTES, *_VERSION, _FILE_HEADER_ROOM)
    _FILE_HEADER.pack_into(header, 0, b"ElfFile\0", 0, chunks - 1, records + 1, *sizes, chunks)
    _U32.pack_into(header, _SUM_AT, crc32(header[:_SUMMED]))
    return bytes(header)
