"""Lines that could not be written yet, in order and bounded in bytes."""

from collections import deque
from collections.abc import Sequence
from itertools import islice


class Backlog:
    """A queue of lines that holds at most `limit` bytes of them and refuses what comes when it is full.

    The oldest lines are kept: they tell how it began.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._lines)

    def extend(self, lines: Sequence[bytes]) -> int:
        """Add `lines` at the end; return how many of the last ones were refused."""
        for index, line in enumerate(lines):
            if self._bytes + len(line) > self._limit:
                return len(lines) - index
            self._lines.append(line)
            self._bytes += len(line)
        return 0

    def head(self, count: int) -> list[bytes]:
        """Return the oldest `count` lines without removing them."""
        return list(islice(self._lines, count))

    def remove(self, count: int) -> None:
        """Remove the oldest `count` lines."""
        for _ in range(count):
            self._bytes -= len(self._lines.popleft())
