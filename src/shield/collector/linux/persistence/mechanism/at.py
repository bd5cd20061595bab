"""at and batch: jobs that run once, at(1). A job is a script that first restores its user's environment."""

import re
import time
from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, places

_NAME = re.compile(r"(?P<queue>[a-zA-Z=])(?P<job>[0-9a-f]{5})(?P<minutes>[0-9a-f]{8})\Z")
_USER = re.compile(r"^# atrun uid=(\d+)", re.MULTILINE)
_SET_UP = re.compile(
    r"[A-Za-z_]\w*=.*; export |export |umask |cd |\s*echo 'Execution directory|\s*exit 1|\}|.*\|\| \{$"
)


def job(found: Found) -> Iterator[Entry]:
    """Read a job: its name tells the minute it is for, its first lines whose it is, the rest what it runs."""
    named = _NAME.match(found.name)
    if named is None:
        return
    uid = _USER.search(found.content[:1024].decode("ascii", "replace"))
    command = "; ".join(line for line in found.lines() if not _SET_UP.match(line))
    when = time.strftime("once, %Y-%m-%dT%H:%MZ", time.gmtime(int(named["minutes"], 16) * 60))
    yield entry(str(int(named["job"], 16)), command, when, f"#{uid[1]}" if uid else "")


PLACES = places("at", job, "/var/spool/cron/atjobs/*", "/var/spool/at/*", "/var/spool/atjobs/*")
