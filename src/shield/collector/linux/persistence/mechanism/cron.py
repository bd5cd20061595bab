"""cron and anacron: tables of times and commands, and folders of scripts that run by the hour, day, week or month.

crontab(5), anacrontab(5), run-parts(8).
"""

import re
from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, first_word, places, program

_SETTING = re.compile(r"[\"']?[A-Za-z_]\w*[\"']?\s*=")
_FIELDS = 5


def system_table(found: Found) -> Iterator[Entry]:
    """Read a table whose lines name the user."""
    for when, rest in _jobs(found):
        user, *behind = rest.split(None, 1)
        command = behind[0] if behind else ""
        yield entry(first_word(command), command, when, user)


def user_table(found: Found) -> Iterator[Entry]:
    """Read a user's own table; the file is called like the user."""
    for when, command in _jobs(found):
        yield entry(first_word(command), command, when, found.name)


def anacron_table(found: Found) -> Iterator[Entry]:
    """Read lines of days, minutes to wait, a name and a command."""
    for line in found.lines():
        fields = line.split(None, 3)
        if len(fields) == 4 and not _SETTING.match(line):
            days, minutes, name, command = fields
            yield entry(name, command, f"every {days} days, after {minutes} minutes", "root")


def _jobs(found: Found) -> Iterator[tuple[str, str]]:
    """Yield the times and the rest of each line; a line may begin with `@reboot` and the like."""
    for line in found.lines():
        if _SETTING.match(line):
            continue
        fields = 1 if line.startswith("@") else _FIELDS
        parts = line.split(None, fields)
        if len(parts) > fields:
            yield " ".join(parts[:fields]), parts[fields]


PLACES = (
    *places("cron", system_table, "/etc/crontab", "/etc/cron.d/*"),
    *places("cron", user_table, "/var/spool/cron/crontabs/*", "/var/spool/cron/tabs/*", "/var/spool/cron/*"),
    *places("anacron", anacron_table, "/etc/anacrontab"),
    *places("cron_script", program("every hour"), "/etc/cron.hourly/*"),
    *places("cron_script", program("every day"), "/etc/cron.daily/*"),
    *places("cron_script", program("every week"), "/etc/cron.weekly/*"),
    *places("cron_script", program("every month"), "/etc/cron.monthly/*"),
)
