"""Groups and their names, from the group file; remembered until that file changes."""

import grp
from pathlib import Path

_GROUP = Path("/etc/group")
_NAMES_MOST = 4096


class GroupNames:
    """Looks up group names; an id without an entry has the name ``""``."""

    def __init__(self, group: Path = _GROUP) -> None:
        self._group = group
        self._stamp = 0
        self._names: dict[int, str] = {}

    def refresh(self) -> None:
        """Forget every name if the group file has changed."""
        try:
            stamp = self._group.stat().st_mtime_ns
        except OSError:
            stamp = -1
        if stamp != self._stamp:
            self._stamp = stamp
            self._names.clear()

    def name(self, gid: int) -> str:
        """Return the name of `gid`, `""` for none."""
        known = self._names.get(gid)
        if known is None:
            if len(self._names) >= _NAMES_MOST:
                self._names.clear()
            known = self._names[gid] = _look_up(gid)
        return known


def _look_up(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
