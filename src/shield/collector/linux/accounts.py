"""Names of user ids, from the password file; remembered until that file changes."""

import pwd
from pathlib import Path

_PASSWD = Path("/etc/passwd")
_UNSET = 0xFFFF_FFFF


class UserNames:
    """Looks up user names; an id without an entry has the name ``""``."""

    def __init__(self, passwd: Path = _PASSWD) -> None:
        self._passwd = passwd
        self._stamp = 0
        self._names: dict[int, str] = {}

    def refresh(self) -> bool:
        """Forget every name if the password file has changed; return whether it has."""
        try:
            stamp = self._passwd.stat().st_mtime_ns
        except OSError:
            stamp = -1
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._names.clear()
        return True

    def name(self, uid: int | None) -> str:
        """Return the name of `uid`, `""` for none."""
        if uid is None or uid == _UNSET:
            return ""
        known = self._names.get(uid)
        if known is None:
            known = self._names[uid] = _look_up(uid)
        return known


def _look_up(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
