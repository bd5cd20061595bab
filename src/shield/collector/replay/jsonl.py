"""Events written down as JSON lines, by Shield or in its format (shield.event)."""

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from shield.collector.replay.damage import Damaged
from shield.record import RecordedEvent

LINE_MOST = 16 << 20
"""A line longer than this, in bytes, is no event: it is refused without being held in memory."""

_decoder = msgspec.json.Decoder(RecordedEvent)


def read(file: BinaryIO, source: str) -> Iterator[tuple[bytes, RecordedEvent | Damaged]]:
    """Yield each line of `file`, as it is, with the event on it or what is wrong with it; blank lines are passed over.

    `source` is the file's name, for errors.
    """
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        yield line, _decoded(line, source, number)


def _decoded(line: bytes, source: str, number: int) -> RecordedEvent | Damaged:
    if len(line) > LINE_MOST:
        return Damaged(source, number, f"the line is longer than {LINE_MOST >> 20} MiB")
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Damaged(source, number, str(error) or type(error).__name__)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of `file`; of one that is too long only the first part."""
    while line := file.readline(LINE_MOST + 1):
        yield line
        while len(line) > LINE_MOST and not line.endswith(b"\n") and (line := file.readline(LINE_MOST + 1)):
            pass
