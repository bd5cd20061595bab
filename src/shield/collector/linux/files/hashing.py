"""Hashing files beside the stream of events: in one thread, at a bounded rate, never waiting for what is no plain file.

What is asked for with `submit` goes first; `idle` work, an iterator, goes on a step at a time while nothing is asked.
"""

import hashlib
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

TOO_LARGE = "the file is larger than the limit for hashing"
GONE = "the file was gone before it was hashed"
UNREADABLE = "the file could not be read"
NOT_HASHED_IN_TIME = "the file was not hashed in time"

_CHUNK = 1 << 18
_QUEUE_MOST = 4096
# O_NONBLOCK: neither a pipe nor a lease that somebody holds makes the opening wait.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class HashJob:
    """A file to be hashed; when `done`, `sha256` is its hash, or `why_not` says why there is none."""

    __slots__ = ("done", "path", "sha256", "then", "why_not")

    def __init__(self, path: bytes, then: Callable[[str], None]) -> None:
        self.path = path
        self.then = then
        self.done = False
        self.sha256 = ""
        self.why_not = ""


class FileHasher:
    """SHA-256 of files of at most `limit` bytes: `rate` bytes a second for jobs, as many for the idle work.

    `fileno` is readable once jobs are done. Idle work yields how many seconds it wants to wait before its next step.
    """

    def __init__(self, limit: int, rate: int) -> None:
        self._limit = limit
        self._pace, self._idle_pace = _Pace(rate), _Pace(rate)
        self._jobs: deque[HashJob] = deque()
        self._idle: Iterator[float] | None = None
        self._wanted = threading.Condition()
        self._ended = False
        self._done_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="shield-file-hash", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when a job is done."""
        return self._done_fd

    def submit(self, path: bytes, then: Callable[[str], None]) -> HashJob:
        """Ask for the hash of `path`; where too many wait already, the job is done at once, without a hash.

        `then` is called with the hash, in the hasher's thread, however long it took.
        """
        job = HashJob(path, then)
        with self._wanted:
            if len(self._jobs) >= _QUEUE_MOST:
                job.why_not, job.done = NOT_HASHED_IN_TIME, True
            else:
                self._jobs.append(job)
                self._wanted.notify()
        return job

    def when_idle(self, work: Iterator[float]) -> None:
        """Do `work` while no hash is asked for; it takes the place of what was given before."""
        with self._wanted:
            self._idle = work
            self._wanted.notify()

    def wake(self) -> None:
        """Make the descriptor readable: the idle work has found something."""
        os.eventfd_write(self._done_fd, 1)

    def acknowledge(self) -> None:
        """Make the descriptor unreadable until another job is done."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._done_fd)

    def hash(self, path: bytes) -> tuple[str, str]:
        """Return the hash of the file at `path`, or `""` and why there is none; for the idle work alone to call.

        Jobs that come meanwhile are done in between.
        """
        return self._hash(path, self._rest)

    def _hash(self, path: bytes, rest: Callable[[int], None]) -> tuple[str, str]:
        try:
            opened = os.open(path, _OPEN)
        except FileNotFoundError:
            return "", GONE
        except OSError:
            return "", UNREADABLE
        try:
            return self._hash_opened(opened, rest)
        except OSError:
            return "", UNREADABLE
        finally:
            os.close(opened)

    def close(self) -> None:
        """End the thread; may be called twice."""
        with self._wanted:
            self._ended = True
            self._wanted.notify()
        self._thread.join()
        if self._done_fd >= 0:
            os.close(self._done_fd)
            self._done_fd = -1

    def _hash_opened(self, opened: int, rest: Callable[[int], None]) -> tuple[str, str]:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            return "", UNREADABLE
        if status.st_size > self._limit:
            return "", TOO_LARGE
        digest, left = hashlib.sha256(), self._limit
        while chunk := os.read(opened, min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:  # it grew meanwhile
                return "", TOO_LARGE
            if self._ended:
                return "", NOT_HASHED_IN_TIME
            digest.update(chunk)
            rest(len(chunk))
        return digest.hexdigest(), ""

    def _run(self) -> None:
        while not self._ended:
            self._do_jobs()
            idle = self._idle
            seconds = next(idle, None) if idle is not None else None
            with self._wanted:
                if seconds is None and self._idle is idle:
                    self._idle = None
                if not self._jobs and not self._ended and (self._idle is None or seconds):
                    self._wanted.wait(seconds)

    def _do_jobs(self) -> None:
        while self._jobs and not self._ended:
            job = self._jobs.popleft()
            job.sha256, job.why_not = self._hash(job.path, self._rest_briefly)
            if job.sha256:
                job.then(job.sha256)
            job.done = True
            self.wake()

    def _rest_briefly(self, read: int) -> None:
        time.sleep(self._pace.spend(read))

    def _rest(self, read: int) -> None:
        """Rest after `read` bytes of idle work; a job that comes ends the rest."""
        seconds = self._idle_pace.spend(read)
        with self._wanted:
            if seconds and not self._jobs and not self._ended:
                self._wanted.wait(seconds)
        self._do_jobs()


class _Pace:
    """Bytes a second, with a second's worth saved up for a burst."""

    def __init__(self, rate: int) -> None:
        self._rate = max(1, rate)
        self._saved = float(self._rate)
        self._at = time.monotonic()

    def spend(self, amount: int) -> float:
        """Return how many seconds to rest after `amount` bytes."""
        now = time.monotonic()
        self._saved = min(float(self._rate), self._saved + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._saved / self._rate)
