"""A process that was an ordinary user's and starts its next program as root, though that program gives nobody root.

Somebody becomes root by a program with the set-user-ID bit, or by asking one that is root already. A start with root's
power, by a process that had none, of a program without that bit is neither: the process became root on its own, as by
a flaw in the kernel.
"""

import stat

from shield.event import Privilege, User
from shield.record import ProcessExec

_CAP_SYS_ADMIN = 21


def escalation(before: User | None, start: ProcessExec) -> Privilege | None:
    """Return the gain in `start` by a process that ran as `before` until then, None where there is none.

    `before` is the user at the process's last start, or that of its maker if it never started a program. A source that
    can't tell a program's mode gives no answer, nor does one that can't tell the user.
    """
    process, user = start.process, start.user
    if before is None or before.effective_id is None or user.effective_id is None or not process.exe_mode:
        return None
    if user.effective_id != 0 or 0 in (before.effective_id, before.id):
        return None
    if process.exe_mode & stat.S_ISUID and process.exe_owner == 0:
        return None
    return Privilege(
        kind="user_id",
        old_id=before.effective_id,
        new_id=0,
        old_name=before.effective_name,
        new_name=user.effective_name,
        gained=("CAP_SYS_ADMIN",) if process.capabilities >> _CAP_SYS_ADMIN & 1 else (),
    )
