"""Windows event logs as they lie on disk (.evtx), read as far as they can be.

A log is a header of 4 KiB and chunks of 64 KiB, each a world of its own: its records share strings and templates with
no other chunk. So chunks are read one by one, from a file or a pipe, and what is broken in one costs nothing beyond it.
Before the `evtx` package (Rust) reads a chunk, its chain of records is followed here; where a link is broken, that part
is put out of the package's way and told as Damaged, and reading goes on with the next record that is whole.

Layout: [MS-EVEN6], and "Windows XML Event Log (EVTX) format" of the libevtx project.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import msgspec
from evtx import PyEvtxParser
from msgspec import Struct

from shield.collector.replay.damage import Damaged
from shield.collector.replay.windows_event import NotWindows, decode
from shield.record import LogRecord

ALTERED = "its part of the log doesn't fit its checksum: it was changed, or copied while it was being written"

_FILE_MAGIC = b"ElfFile\0"
_CHUNK_MAGIC = b"ElfChnk\0"
_RECORD_MAGIC = b"**\0\0"
_FILE_HEADER = 4096
_CHUNK = 65536
_CHUNK_HEADER = 512
_RECORD_HEADER = 24
_RECORD_LEAST = _RECORD_HEADER + 8
_NO_TOKEN = 0xFF
_NO_RECORD_ID = (1 << 64) - 1

_CHUNK_COUNT = struct.Struct("<42xH")
_CHUNK_FIELDS = struct.Struct("<24xQQ4x4xII")  # ids of the first and last record, end of the records, their checksum
_LAST_ID = struct.Struct("<Q")
_RECORD = struct.Struct("<4sIQ8x")
_U32 = struct.Struct("<I")

# One chunk after a header that says so is a whole log to the package.
_ONE_CHUNK = struct.pack("<8sQQQIHHHH76sII", _FILE_MAGIC, 0, 0, 1, 128, 1, 3, _FILE_HEADER, 1, bytes(76), 0, 0).ljust(
    _FILE_HEADER, b"\0"
)


class _Span(Struct, frozen=True, gc=False):
    """A part of a chunk: a record, or where `problem` says so, something that is none."""

    start: int
    end: int
    record_id: int = 0
    problem: str = ""


def matches(head: bytes) -> bool:
    """Return whether a file that starts with `head` is an event log."""
    return head.startswith((_FILE_MAGIC, _CHUNK_MAGIC))


def read(file: BinaryIO, source: str) -> Iterator[tuple[bytes, LogRecord | Damaged]]:
    """Yield each record of the log in `file`, as JSON and as what it says, and each part that can't be read."""
    header, offset = b"", 0
    head = _read(file, len(_CHUNK_MAGIC))
    if head != _CHUNK_MAGIC:
        header = head + _read(file, _FILE_HEADER - len(head))
        offset, head = len(header), b""
    if header and len(header) < _FILE_HEADER:
        yield header, Damaged(source, 0, "the file ends within its header", 0)
        return
    chunks = 0
    while chunk := head + _read(file, _CHUNK - len(head)):
        shift = _misplaced(chunk)
        if shift:
            yield chunk[:shift], Damaged(source, 0, f"{shift} bytes that are no part of an event log", offset)
            head = chunk[shift:]
            offset += shift
            continue
        if any(chunk):  # a log may have room that was never used
            yield from _records(chunk, source, offset)
        chunks += 1
        offset += len(chunk)
        head = b""
    if header and chunks < (promised := _CHUNK_COUNT.unpack_from(header)[0]):
        problem = f"the file ends too early: it has {chunks} of the {promised} chunks that its header tells of"
        yield b"", Damaged(source, 0, problem, offset)


def _read(file: BinaryIO, size: int) -> bytes:
    """Return the next `size` bytes, fewer only at the end of the file."""
    parts: list[bytes] = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _misplaced(chunk: bytes) -> int:
    """Return how many bytes stand before the chunk that should begin here."""
    if chunk.startswith(_CHUNK_MAGIC) or chunk.startswith(_RECORD_MAGIC, _CHUNK_HEADER):
        return 0
    return max(chunk.find(_CHUNK_MAGIC), 0)


def _records(chunk: bytes, source: str, offset: int) -> Iterator[tuple[bytes, LogRecord | Damaged]]:
    problem, end, gaps = _header(chunk)
    if problem:
        yield chunk[:_CHUNK_HEADER], Damaged(source, 0, problem, offset)
    missing = len(chunk) < _CHUNK and min(end, _CHUNK) > len(chunk)
    spans = list(_spans(chunk, min(end, len(chunk)), missing))
    lost = 0
    for span, outcome in zip(spans, _parsed(chunk, spans, bool(problem)), strict=True):
        if isinstance(outcome, str):
            lost = max(lost, span.record_id)
            yield chunk[span.start : span.end], Damaged(source, 0, span.problem or outcome, offset + span.start)
            continue
        text, written = outcome
        yield text, _decoded(text, written, gaps, Damaged(source, 0, "", offset + span.start))
    if missing:
        yield b"", Damaged(source, 0, _missing(chunk, spans), offset + len(chunk))


def _header(chunk: bytes) -> tuple[str, int, tuple[str, ...]]:
    """Return what is wrong with a chunk's header, where its records end, and what is doubtful about them."""
    if len(chunk) < _CHUNK_HEADER:
        return "the file ends within a chunk's header", len(chunk), ()
    _, _, end, checksum = _CHUNK_FIELDS.unpack_from(chunk)
    (own,) = _U32.unpack_from(chunk, 124)
    whole = zlib.crc32(chunk[128:_CHUNK_HEADER], zlib.crc32(chunk[:120])) == own
    if not chunk.startswith(_CHUNK_MAGIC) or not _CHUNK_HEADER <= end <= _CHUNK:
        return "the header of a chunk is damaged; its records are looked for one by one", _CHUNK, (ALTERED,)
    altered = not whole or (len(chunk) == _CHUNK and zlib.crc32(chunk[_CHUNK_HEADER:end]) != checksum)
    return "", end, (ALTERED,) if altered else ()


def _spans(chunk: bytes, end: int, is_cut: bool) -> Iterator[_Span]:
    """Yield the parts of a chunk up to `end`, without a gap between them."""
    at = _CHUNK_HEADER
    while at < end:
        size, record_id = _record_at(chunk, at, end)
        if size:
            yield _Span(at, at + size, record_id)
            at += size
            continue
        following = _next_record(chunk, at, end)
        if following == end and (is_cut or not any(chunk[at:end])):
            return
        yield _Span(at, following, problem=f"{following - at} bytes that are no record")
        at = following


def _record_at(chunk: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the size and the id of the record at an offset; the size is 0 where none is."""
    if at + _RECORD_LEAST > end:
        return 0, 0
    magic, size, record_id = _RECORD.unpack_from(chunk, at)
    if magic != _RECORD_MAGIC or not _RECORD_LEAST <= size <= end - at:
        return 0, 0
    return (size, record_id) if _U32.unpack_from(chunk, at + size - 4)[0] == size else (0, 0)


def _next_record(chunk: bytes, at: int, end: int) -> int:
    """Return where the first record after an offset starts, `end` where there is none."""
    found = at
    while (found := chunk.find(_RECORD_MAGIC, found + 1, end)) >= 0:
        if found - at >= _RECORD_LEAST and _record_at(chunk, found, end)[0]:
            return found
    return end


def _parsed(chunk: bytes, spans: list[_Span], is_repaired: bool) -> list[tuple[bytes, str] | str]:
    """Return for each span its record as JSON with the time it was written, else what is wrong with it."""
    if not spans:
        return []
    outcomes = _run(_patched(chunk, spans, is_repaired), len(spans))
    if len(outcomes) == len(spans):
        return outcomes
    # The package gave up on the chunk; one record at a time shows which one it can't read.
    return [span.problem or _alone(chunk, spans, number) for number, span in enumerate(spans)]


def _alone(chunk: bytes, spans: list[_Span], number: int) -> tuple[bytes, str] | str:
    span = spans[number]
    before = [_Span(_CHUNK_HEADER, span.start, problem="passed over")] if number else []
    outcomes = _run(_patched(chunk, [*before, span], is_repaired=True), len(before) + 1)
    return outcomes[-1] if len(outcomes) == len(before) + 1 else f"record {span.record_id} can't be read"


def _patched(chunk: bytes, spans: list[_Span], is_repaired: bool) -> io.BytesIO:
    """Return a log of one chunk whose records are `spans`, with one that can't be read for each that is none."""
    log = bytearray(_ONE_CHUNK + chunk.ljust(_CHUNK, b"\0"))
    if is_repaired:
        log[_FILE_HEADER : _FILE_HEADER + _CHUNK_HEADER] = _CHUNK_MAGIC.ljust(_CHUNK_HEADER, b"\0")
        _U32.pack_into(log, _FILE_HEADER + 40, 128)
    _LAST_ID.pack_into(log, _FILE_HEADER + 32, _NO_RECORD_ID)  # the package stops at that id, wherever it meets it
    _U32.pack_into(log, _FILE_HEADER + 48, spans[-1].end)
    for span in spans:
        if span.problem:
            at = _FILE_HEADER + span.start
            _RECORD.pack_into(log, at, _RECORD_MAGIC, span.end - span.start, 0)
            log[at + _RECORD_HEADER] = _NO_TOKEN
    return io.BytesIO(log)


def _run(log: io.BytesIO, most: int) -> list[tuple[bytes, str] | str]:
    """Return each record as JSON with its time, or what is wrong with it, but nothing where the package breaks down."""
    outcomes: list[tuple[bytes, str] | str] = []
    try:
        records = PyEvtxParser(log, number_of_threads=1, validate_checksums=False).records_json()
    except (RuntimeError, ValueError, OSError):
        return outcomes
    while len(outcomes) <= most:
        try:
            outcomes.extend(map(_text_and_time, cast("Iterator[dict[str, str]]", records)))
            return outcomes
        except (RuntimeError, ValueError) as error:
            outcomes.append(" ".join(str(error).split()))
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # what a panic in Rust becomes is no Exception
                raise
            return []
    return []


def _text_and_time(record: dict[str, str]) -> tuple[bytes, str]:
    return record["data"].encode(), record["timestamp"].removesuffix(" UTC")


def _decoded(text: bytes, written: str, gaps: tuple[str, ...], damage: Damaged) -> LogRecord | Damaged:
    try:
        return decode(text, written, gaps)
    except (msgspec.MsgspecError, UnicodeDecodeError, NotWindows, RecursionError) as error:
        return msgspec.structs.replace(damage, problem=str(error) or type(error).__name__)


def _missing(chunk: bytes, spans: list[_Span]) -> str:
    _, last_id, _, _ = _CHUNK_FIELDS.unpack_from(chunk)
    reached = max((span.record_id for span in spans), default=0)
    number = last_id - reached if reached and last_id > reached else 0
    return f"the file ends within a chunk: {number or 'an unknown number of'} records are missing"
