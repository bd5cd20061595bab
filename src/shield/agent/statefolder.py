"""A folder for what the agent remembers: files that only this user can have written, each replaced as a whole."""

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path

FOLDER_VARIABLE = "SHIELD_STATE"
"""The environment variable that names the folder where the configuration doesn't; empty keeps no state."""

_LARGEST = 1 << 29
_LOCK = "lock"
_PARTIAL = ".partial"
_ASIDE_MOST = 100
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_OPEN_TO_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Untrusted(Exception):
    """A file is not what this module has written, or somebody else could have; the text says why."""


class InUse(Exception):
    """Another run of the agent uses the folder."""


def default_folder() -> Path | None:
    """Return where this user's state is: /var/lib/shield for root; None where it is switched off."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", str(Path.home()))) / "Shield" / "State"
    if os.geteuid() == 0:
        return Path("/var/lib/shield")
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local" / "state") / "shield"


class StateFolder:
    """The files of state in `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def open(self) -> None:
        """Make the folder (mode 0700) where it lacks, and keep others out until `close`. Raises OSError and InUse."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sys.platform == "win32":
            return
        import fcntl  # noqa: PLC0415  Windows has none

        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InUse(f"{self.path}: another run of Shield uses it") from None
        self._lock = descriptor
        for partial in self.path.glob(f".*{_PARTIAL}"):  # left by a run that ended while it wrote
            partial.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def file(self, name: str) -> Path:
        """Return the path of a file."""
        return self.path / name

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError where there is none yet, OSError and Untrusted."""
        path = self.file(name)
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError as error:
            if path.is_symlink():
                raise Untrusted("it is a symbolic link") from None
            raise error
        with os.fdopen(descriptor, "rb") as file:
            _check(os.fstat(descriptor), self.path.stat())
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise Untrusted(f"it is larger than {_LARGEST >> 20} MiB")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Replace the content of a file: after a crash or a power loss it is the old or the new. Raises OSError."""
        descriptor, partial = tempfile.mkstemp(dir=self.path, prefix=f".{name}.", suffix=_PARTIAL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(self.file(name))
        except OSError:
            with contextlib.suppress(OSError):
                Path(partial).unlink(missing_ok=True)
            raise
        self._sync()

    def set_aside(self, name: str, how: str) -> Path:
        """Rename a file to NAME.`how`, with a number where that is taken, and return its new path. Raises OSError."""
        aside = self.file(f"{name}.{how}")
        for number in range(2, _ASIDE_MOST):
            if not os.path.lexists(aside):
                break
            aside = self.file(f"{name}.{how}-{number}")
        else:
            raise OSError(0, f"there are {_ASIDE_MOST} such files already; delete those that nobody needs")
        self.file(name).rename(aside)
        return aside

    def _sync(self) -> None:
        """Have the rename on the disk, where folders can be opened."""
        if sys.platform == "win32":
            return
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check(file: os.stat_result, folder: os.stat_result) -> None:
    if not stat.S_ISREG(file.st_mode):
        raise Untrusted("it is no regular file")
    if sys.platform == "win32":
        return
    for place, what in ((folder, "its folder"), (file, "it")):
        if place.st_uid not in (0, os.geteuid()):
            raise Untrusted(f"{what} belongs to another user (uid {place.st_uid})")
        if place.st_mode & _OPEN_TO_OTHERS:
            raise Untrusted(f"{what} can be written by other users (mode {stat.S_IMODE(place.st_mode):04o})")
