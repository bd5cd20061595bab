"""A file that only grows by whole lines, whatever goes wrong: a full disk, a crash in mid-line, a planted symlink."""

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750
# Without O_NONBLOCK, opening a FIFO put in the file's place would hang the agent; a regular file ignores it.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class OutputError(Exception):
    """`path` can't be written to. `reason` says why, `remedy` what would change that."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path}: {reason}; {remedy}")
        self.path = path
        self.reason = reason
        self.remedy = remedy


class AppendFile:
    """One open file, locked against a second writer (flock(2)); created 0640, its missing directories 0750.

    `size` is the length in bytes. `repaired` says that the last line had no end, as a crash leaves it, and was ended
    with a newline: not a byte is ever removed that was there before. Raises OutputError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = _open(path)
        try:
            status = self._claim()
            self.size = status.st_size
            self.modified_ns = status.st_mtime_ns
            self._identity = (status.st_dev, status.st_ino)
            self._torn = self.repaired = self.size > 0 and os.pread(self._fd, 1, self.size - 1) != b"\n"
            with suppress(OSError):  # the next append tries again
                self._end_torn_line()
        except OSError as error:
            self.close()
            raise _refusal(path, error) from error
        except OutputError:
            self.close()
            raise

    def append(self, data: bytes) -> tuple[int, OSError | None]:
        """Append `data`, whole lines, with one write; return how many bytes of whole lines are in the file.

        Where not all of it fits, the error is returned too, and the part of a line that did fit is taken back.
        """
        written = 0
        try:
            self._end_torn_line()
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            whole = data.rfind(b"\n", 0, written) + 1
            self._take_back(written - whole)
            self.size += whole
            return whole, error
        self.size += written
        return written, None

    def in_place(self) -> bool:
        """Return whether `path` still names this file; False after it was removed, renamed or replaced."""
        try:
            status = self.path.lstat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def shrunk(self) -> bool:
        """Return whether somebody else cut the file shorter since the last look; takes the new size over."""
        size = os.fstat(self._fd).st_size
        smaller, self.size = size < self.size, size
        return smaller

    def sync(self) -> None:
        """Have the disk hold everything written so far (fdatasync(2)). Raises OSError."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Give the file up. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _claim(self) -> os.stat_result:
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise OutputError(self.path, "is not a regular file", "name a file, or one that doesn't exist yet")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "stop the other agent, or name another file"
            raise OutputError(self.path, "another process writes to it", remedy) from None
        return status

    def _end_torn_line(self) -> None:
        if self._torn:
            self.size += os.write(self._fd, b"\n")
            self._torn = False

    def _take_back(self, partial: int) -> None:
        if not partial:
            return
        try:
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - partial)
        except OSError:
            self._torn = True


def _open(path: Path) -> int:
    try:
        _make_directories(path.parent)
        try:
            return os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        except FileExistsError:
            return os.open(path, _FLAGS)
    except OSError as error:
        raise _refusal(path, error) from error


def _make_directories(directory: Path) -> None:
    for each in (*reversed(directory.parents), directory):
        if not each.exists():
            each.mkdir(_DIRECTORY_MODE, exist_ok=True)


def _refusal(path: Path, error: OSError) -> OutputError:
    match error.errno:
        case errno.ELOOP:
            return OutputError(path, "is a symbolic link", "name the file itself, or remove the link")
        case errno.EISDIR:
            return OutputError(path, "is a directory", "name a file inside it")
        case errno.ENXIO | errno.ENODEV:
            return OutputError(path, "is not a regular file", "name a file, or one that doesn't exist yet")
        case errno.EACCES | errno.EPERM:
            return OutputError(path, "permission denied", "run as a user who may write there, or name another file")
        case errno.ENOTDIR | errno.EEXIST:
            return OutputError(path, "a directory on the way to it is a file", "name a path through directories only")
        case _:
            return OutputError(path, error.strerror or "can't be opened", "free the place, or name another file")
