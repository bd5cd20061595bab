"""Who has a home below a root folder: the users of its password file, and whoever else has a folder in /home."""

import os
from collections.abc import Iterator

from msgspec import Struct

from shield.collector.linux.persistence.root import Root

_USERS_FILE = "/etc/passwd"
_USERS_MOST = 4096
_NO_HOMES = ("/dev", "/proc", "/sys", "/bin", "/sbin", "/usr", "/nonexistent")


class User(Struct, frozen=True):
    """A user and where their home is."""

    name: str
    home: str


class Users:
    """The users below `root`, as they are now."""

    def __init__(self, root: Root) -> None:
        self._names: dict[int, str] = {}
        self.homes: tuple[User, ...] = tuple(self._read(root).values())
        """Each home once, with the first user who has it."""

    def name(self, uid: int) -> str:
        """Return the name of a user id; `#1234` for one without a name."""
        return self._names.get(uid) or f"#{uid}"

    def _read(self, root: Root) -> dict[str, User]:
        homes: dict[str, User] = {}
        passwd = root.find(_USERS_FILE)
        for line in passwd.lines() if passwd else ():
            fields = line.split(":")
            if len(fields) < 7 or not fields[2].isdecimal() or len(homes) >= _USERS_MOST:
                continue
            name, home = fields[0], os.path.normpath(fields[5]) if fields[5].startswith("/") else ""
            self._names.setdefault(int(fields[2]), name)
            if home and not home.startswith(_NO_HOMES) and "\0" not in home:
                homes.setdefault(home, User(name, home))
        for home in _others(root):
            homes.setdefault(home, User(home.rpartition("/")[2], home))
        return homes


def _others(root: Root) -> Iterator[str]:
    """Yield the folders in /home: users whom a directory service knows are in no password file."""
    for name in root.names("/home")[:_USERS_MOST]:
        folder = root.folder(f"/home/{name}")
        if folder:
            yield folder
