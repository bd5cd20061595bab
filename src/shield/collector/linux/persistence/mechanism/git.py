"""git hooks of repositories in the system's folders, and settings of everybody that make git run a program.

githooks(5), git-config(1). A hook that isn't executable doesn't run.
"""

import re
from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, places

_SETTING = re.compile(r"(?i)(hooksPath|fsmonitor|sshCommand|editor|pager|helper|gitProxy|templateDir)\s*=\s*(.+)")
_FOLDERS = ("/etc", "/opt", "/srv", "/usr/local", "/usr/src", "/var/lib", "/var/www")
_DEPTHS = ("", "/*", "/*/*")


def hook(found: Found) -> Iterator[Entry]:
    """Read a hook, called like what it runs after or before."""
    if found.executable and not found.name.endswith(".sample"):
        yield entry(found.name, found.target or found.path, f"git {found.name}", "")


def settings(found: Found) -> Iterator[Entry]:
    """Read the settings that name a program or a folder of hooks."""
    for line in found.lines("#;["):
        setting = _SETTING.match(line)
        if setting and setting[2] not in ("true", "false"):
            yield entry(setting[1], setting[2], "git", found.user or "every user")


PLACES = (
    *places("git_hook", hook, "/usr/share/git-core/templates/hooks/*"),
    *places("git_hook", hook, *(f"{top}{depth}/.git/hooks/*" for top in _FOLDERS for depth in _DEPTHS)),
    *places("git_hook", hook, *(f"{top}{depth}/*.git/hooks/*" for top in ("/srv", "/var/lib") for depth in _DEPTHS)),
    *places("git_setting", settings, "/etc/gitconfig", "~/.gitconfig", "~/.config/git/config"),
)
