"""Events written down as JSON lines, by Shield or in its format (shield.event)."""

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from shield.collector.replay.damage import Damaged
from shield.collector.replay.lines import LINE_MOST, numbered, too_long
from shield.record import RecordedEvent

_decoder = msgspec.json.Decoder(RecordedEvent)


def read(file: BinaryIO, source: str) -> Iterator[tuple[bytes, RecordedEvent | Damaged]]:
    """Yield each line of `file`, as it is, with the event on it or what is wrong with it; blank lines are passed over.

    `source` is the file's name, for errors.
    """
    for number, line in numbered(file):
        if not line.strip():
            continue
        yield line, _decoded(line, source, number)


def _decoded(line: bytes, source: str, number: int) -> RecordedEvent | Damaged:
    if len(line) > LINE_MOST:
        return too_long(source, number)
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Damaged(source, number, str(error) or type(error).__name__)
