"""The program file that a process runs, as far as it gives power: /proc/PID/exe (proc(5)) and what that leads to."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from shield.text import decode

SYSTEM_FOLDERS = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/opt/", "/snap/", "/nix/store/", "/run/wrappers/")
_DELETED = b" (deleted)"


class Image(NamedTuple):
    """A program: its path, its file's mode, owner and group, and whether that file gives capabilities."""

    path: str
    mode: int = 0
    owner: int = -1
    group: int = -1
    gives_capabilities: bool = False

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def of_system(self) -> bool:
        """Whether root put it below a system folder."""
        return self.owner == 0 and self.path.startswith(SYSTEM_FOLDERS)

    @property
    def sets_root(self) -> bool:
        """Whether running it makes one root, and the system means it to."""
        return self.of_system and bool(self.mode & stat.S_ISUID)


def read_image(root: Path, pid: int) -> Image | None:
    """Return the program that `pid` runs, None where there is none or it can't be read."""
    link = root / str(pid) / "exe"
    try:
        path = os.readlink(os.fsencode(link))
        found = os.stat(link)
    except OSError:
        return None
    name = decode(path.removesuffix(_DELETED))
    return Image(name, found.st_mode, found.st_uid, found.st_gid, _gives_capabilities(link))


def _gives_capabilities(link: Path) -> bool:
    try:
        return bool(os.getxattr(link, "security.capability"))
    except OSError:
        return False
