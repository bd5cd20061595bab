"""What stands in a file of recorded telemetry and can't be read."""

from msgspec import Struct

from shield.record import LogRecord, RecordedEvent


class Damaged(Struct, frozen=True):
    """A part of a file that is no record: a line of text (counted from 1), else the bytes from `offset` on."""

    source: str
    line: int
    problem: str
    offset: int = 0

    @property
    def place(self) -> str:
        """Where the part is, for people."""
        return f"{self.source}:{self.line}" if self.line else f"{self.source}: at byte {self.offset}"


Item = RecordedEvent | LogRecord | Damaged
"""What a reader finds, one by one."""
