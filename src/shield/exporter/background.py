"""A terminal that may be slow or stopped, as a file that never blocks.

A terminal blocks its writers while it is paused (Ctrl-S), its ssh connection hangs, or its pipe is full. A thread of
its own waits for it; what comes meanwhile is queued up to a limit, then left out, counted, and said so afterwards.
"""

import io
import os
import threading
from collections import deque
from typing import TextIO

_QUEUE = 256


class NonBlockingWriter(io.TextIOBase):
    """A text file over `stream`'s descriptor, for rich's Console; each `write` is shown whole or not at all.

    The descriptor is written to directly: a thread stuck inside sys.stdout would hang the interpreter at its end.
    """

    encoding: str = "utf-8"

    def __init__(self, stream: TextIO, limit: int = _QUEUE) -> None:
        self.not_shown = 0
        """Writes left out because the terminal did not keep up, or is gone."""
        self.encoding = stream.encoding
        self._fd = stream.fileno()
        self._limit = limit
        self._queue: deque[str] = deque()
        self._unsaid = 0
        self._gone = self._ending = self._busy = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor behind."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether a terminal is behind."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Queue `text`, or count it as not shown; returns at once."""
        with self._changed:
            if self._gone or self._ending or len(self._queue) >= self._limit:
                self.not_shown += 1
                self._unsaid += 1
            else:
                self._queue.append(self._confession() + text)
                self._changed.notify_all()
        return len(text)

    def finish(self, timeout_s: float = 1.0) -> None:
        """Wait up to `timeout_s` seconds for the terminal to take what is queued, then give up on it."""
        with self._changed:
            if self._unsaid and not self._gone:
                self._queue.append(self._confession())
            self._ending = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._gone or not (self._queue or self._busy), timeout_s)
            self.not_shown += len(self._queue)
            self._queue.clear()

    def _confession(self) -> str:
        """Return what to say about the writes left out since it was last said."""
        unsaid, self._unsaid = self._unsaid, 0
        return f"{unsaid:,} not shown: the terminal did not keep up; the events file has them\n" if unsaid else ""

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue or self._ending)
                if not self._queue:
                    return
                data = self._queue.popleft().encode(self.encoding, "backslashreplace")
                self._busy = True
            if not self._sent(data):
                return

    def _sent(self, data: bytes) -> bool:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            with self._changed:
                self._gone = True
                self.not_shown += 1 + len(self._queue)
                self._queue.clear()
                self._changed.notify_all()
            return False
        return True
