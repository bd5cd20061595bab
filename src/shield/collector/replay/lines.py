"""The lines of a log file, none of which takes more memory than LINE_MOST."""

from collections.abc import Iterator
from typing import BinaryIO

from shield.collector.replay.damage import Damaged

LINE_MOST = 16 << 20
"""A line longer than this, in bytes, is no record: it is refused without being held in memory."""


def numbered(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of `file`, counted from 1, with their newlines; of one that is too long only the first part."""
    number = 0
    while line := file.readline(LINE_MOST + 1):
        number += 1
        yield number, line
        while len(line) > LINE_MOST and not line.endswith(b"\n") and (line := file.readline(LINE_MOST + 1)):
            pass


def too_long(source: str, number: int) -> Damaged:
    """Return what is wrong with a line longer than LINE_MOST."""
    return Damaged(source, number, f"the line is longer than {LINE_MOST >> 20} MiB")


def whole_lines(head: bytes) -> list[bytes]:
    """Return the lines of a file that begins with `head`, without a last one that may be cut off."""
    lines = head.splitlines()
    return lines[:-1] if len(lines) > 1 and not head.endswith(b"\n") else lines
