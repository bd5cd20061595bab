"""Events as JSON lines in a file that rotates: what the agent leaves behind for the SIEM, and for `shield events`.

`write` never raises and never blocks on anything but the disk itself. What can't be written now waits in memory and
is retried in order; what doesn't fit there is counted in `dropped`.
"""

import errno
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from shield.exporter.appendfile import AppendFile, OutputError
from shield.exporter.backlog import Backlog
from shield.exporter.rotation import expired, next_name, rotated

__all__ = ["JsonlWriter", "OutputError", "Sync", "default_path"]

Sync = Literal["never", "interval", "always"]

_SECOND_NS = 1_000_000_000
_RETRY_LINES = 1024
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def default_path() -> Path:
    """Return where events go unless told otherwise: /var/log/shield for root on Linux, else the user's state home."""
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/log/shield/events.jsonl")
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return home / "shield" / "events.jsonl"


class JsonlWriter:
    """Appends lines to `path`; times are Unix nanoseconds given by the caller, so a clock set back breaks nothing.

    The file is rotated (`shield.exporter.rotation`) before a batch would make it larger than `rotate_bytes`, and at
    the first line of a new period of `rotate_seconds`, counted in UTC: 86400 gives a file a day. A batch is never
    split over two files. Of the rotated files the newest `keep_files` stay, none last written over `keep_seconds` ago.
    None for any of these switches it off.

    `fsync` says what a power loss may cost (a crash of the agent alone costs nothing, the kernel has the lines):
    `never` what the kernel hasn't written back yet, usually up to 30 s; `interval` at most what came in the last
    `fsync_seconds` before a write or flush; `always` nothing that `write` has returned from, at a disk write a batch.

    While the disk is full or broken, up to `backlog_bytes` of lines wait in memory. A file that was removed or replaced
    is noticed within a second and opened anew. Raises OutputError when `path` can't be opened at the start.
    """

    def __init__(
        self,
        path: Path,
        *,
        rotate_bytes: int | None = 64 << 20,
        rotate_seconds: int | None = 86_400,
        keep_files: int | None = 16,
        keep_seconds: int | None = 30 * 86_400,
        fsync: Sync = "interval",
        fsync_seconds: float = 1.0,
        backlog_bytes: int = 8 << 20,
    ) -> None:
        self.path = path.absolute()
        self.written = 0
        """Lines that are whole in a file."""
        self.dropped: Counter[str] = Counter()
        """Lines given up, by reason: `disk_full`, `io_error`, `unwritable` (the file can't be opened), `closed`."""
        self.torn_lines = 0
        """Lines without an end, left by a crash, that were ended."""
        self.reopened = 0
        """Times the file was removed or replaced under the writer."""
        self.truncated = 0
        """Times somebody cut the file shorter under the writer."""
        self.rotations = 0
        self.expired_files = 0
        """Rotated files deleted by `keep_files` and `keep_seconds`."""
        self.errors: Counter[str] = Counter()
        """Failed operations by reason, whether or not they cost a line."""
        self.last_error = ""
        self._rotate_bytes = rotate_bytes
        self._rotate_ns = rotate_seconds and rotate_seconds * _SECOND_NS
        self._keep_files = keep_files
        self._keep_ns = keep_seconds and keep_seconds * _SECOND_NS
        self._fsync = fsync
        self._fsync_ns = int(fsync_seconds * _SECOND_NS)
        self._backlog = Backlog(backlog_bytes)
        self._reason = "io_error"
        self._checked_ns = self._synced_ns = self._now_ns = 0
        self._dirty = self._closed = False
        self._period = 0
        self._file: AppendFile | None = None
        self._open()

    @property
    def pending(self) -> int:
        """Lines that wait in memory."""
        return len(self._backlog)

    def write(self, lines: Sequence[bytes], now_ns: int) -> None:
        """Append `lines`, each complete and without its newline, as one write. Never raises OSError."""
        if self._closed:
            self.dropped["closed"] += len(lines)
            return
        if not lines:
            return
        self._now_ns = now_ns
        done = 0 if self._backlog and not self._drained() else self._deliver(lines)
        if done < len(lines):
            refused = self._backlog.extend(lines[done:])
            self._count_dropped(refused)
        self._sync_if_due()

    def flush(self, now_ns: int) -> None:
        """Retry what is pending, look after the file, sync if it is time to; call it now and then when all is quiet."""
        self._now_ns = now_ns
        if not self._closed:
            self._present()
            self._drained()
        self._sync_if_due()

    def sync(self) -> None:
        """Have the disk hold every line in the file; a failure is counted in `errors`."""
        if self._file is None or not self._dirty:
            return
        try:
            self._file.sync()
        except OSError as error:
            self._failed(error)
            return
        self._dirty = False

    def close(self) -> None:
        """Try once more to write what is pending, count the rest as dropped, and close. May be called twice."""
        if self._closed:
            return
        self._drained()
        self._count_dropped(len(self._backlog))
        self._backlog.remove(len(self._backlog))
        if self._fsync != "never":
            self.sync()
        self._release()
        self._closed = True

    def _drained(self) -> bool:
        """Write what is pending, oldest first; return whether all of it could be."""
        while self._backlog:
            lines = self._backlog.head(_RETRY_LINES)
            done = self._deliver(lines)
            self._backlog.remove(done)
            if done < len(lines):
                return False
        return True

    def _deliver(self, lines: Sequence[bytes]) -> int:
        """Append `lines` to the right file; return how many of the first ones are whole in it."""
        data = b"\n".join(lines) + b"\n"
        if not (self._present() and self._roomy(len(data))) or self._file is None:
            return 0
        length, error = self._file.append(data)
        self._dirty = True
        done = len(lines)
        if error:
            self._failed(error)
            done = data.count(b"\n", 0, length)
        self.written += done
        return done

    def _present(self) -> bool:
        """Make sure that the open file is the one at `path`; looks at most once a second."""
        if self._file and abs(self._now_ns - self._checked_ns) >= _SECOND_NS:
            self._checked_ns = self._now_ns
            if not self._file.in_place():
                self.reopened += 1
                self._release()
            elif self._file.shrunk():
                self.truncated += 1
        return self._file is not None or self._reopen()

    def _roomy(self, length: int) -> bool:
        """Rotate if it is time to; return whether there is a file to write `length` bytes to."""
        if self._file is None:
            return False
        too_large = self._rotate_bytes is not None and self._file.size + length > self._rotate_bytes
        if (self._period_over() or too_large) and self._file.size:
            return self._rotate(self._file)
        return True

    def _period_over(self) -> bool:
        """Return whether a new period has begun; after a clock set back, the period counts from there."""
        if not self._rotate_ns:
            return False
        period = self._now_ns // self._rotate_ns
        over, self._period = period > self._period, period
        return over

    def _rotate(self, file: AppendFile) -> bool:
        if not file.in_place():
            self.reopened += 1
            self._release()
            return self._reopen()
        if self._fsync != "never":
            self.sync()
        try:
            existing = rotated(self.path)
            self.path.rename(next_name(self.path, self._now_ns, existing))
        except OSError as error:
            self._failed(error)
            return True
        self.rotations += 1
        self._release()
        self._expire()
        return self._reopen()

    def _expire(self) -> None:
        oldest_ns = self._now_ns - self._keep_ns if self._keep_ns else None
        try:
            for path in expired(rotated(self.path), self._keep_files, oldest_ns):
                path.unlink()
                self.expired_files += 1
        except OSError as error:
            self._failed(error)

    def _open(self) -> None:
        self._file = AppendFile(self.path)
        self.torn_lines += self._file.repaired
        if self._rotate_ns:
            begun_ns = self._file.modified_ns if self._file.size else self._now_ns
            self._period = begun_ns // self._rotate_ns
        if self._fsync != "never":
            self._sync_directory()

    def _reopen(self) -> bool:
        try:
            self._open()
        except OutputError as error:
            self._reason = "unwritable"
            self._note(str(error))
            return False
        return True

    def _release(self) -> None:
        if self._file:
            self._file.close()
        self._file = None

    def _sync_if_due(self) -> None:
        """Sync by the policy; a clock set back counts as an interval that is over."""
        waited = self._now_ns - self._synced_ns
        if self._fsync == "always" or (self._fsync == "interval" and not 0 <= waited < self._fsync_ns):
            self._synced_ns = self._now_ns
            self.sync()

    def _sync_directory(self) -> None:
        """Have the disk hold the file's name too: a new file is lost in a power loss without."""
        try:
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self._reason = "disk_full" if error.errno in _DISK_FULL else "io_error"
        self._note(f"{self.path}: {error.strerror or error}")

    def _note(self, message: str) -> None:
        self.errors[self._reason] += 1
        self.last_error = message

    def _count_dropped(self, lines: int) -> None:
        if lines:
            self.dropped[self._reason] += lines
