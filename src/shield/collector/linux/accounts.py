"""Users and their names, from the password file; remembered until that file changes."""

import pwd
from pathlib import Path

from shield.event import User

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

    def user(self, uid: int, gid: int, euid: int, egid: int, audit_id: int | None, audit_session: int | None) -> User:
        """Return the user with these ids; the kernel's number for an unset audit id or session stands for none."""
        return User(
            id=uid,
            name=self.name(uid),
            effective_id=euid,
            effective_name=self.name(euid),
            group_id=gid,
            effective_group_id=egid,
            audit_id=None if audit_id == _UNSET else audit_id,
            audit_name=self.name(audit_id),
            audit_session=None if audit_session == _UNSET else audit_session,
        )


def _look_up(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
