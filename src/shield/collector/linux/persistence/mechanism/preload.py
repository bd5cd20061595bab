"""Libraries that the dynamic loader gives to every program, and folders that it looks for libraries in: ld.so(8)."""

import re
from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, first_word, places

_VARIABLE = re.compile(r"(?:export\s+)?(LD_(?:PRELOAD|AUDIT|LIBRARY_PATH))\s*=\s*(.+)")


def preload(found: Found) -> Iterator[Entry]:
    """Read /etc/ld.so.preload: libraries, divided by spaces or colons."""
    for line in found.lines():
        for library in re.split(r"[\s:]+", line):
            if library.startswith("#"):
                break
            if library:
                yield entry(first_word(library), library, "every program", "every user")


def library_folders(found: Found) -> Iterator[Entry]:
    """Read the folders of ld.so.conf(5); files that it includes are places of their own."""
    for line in found.lines():
        if not line.startswith("include"):
            yield entry(line, line, "every program", "every user")


def environment(found: Found) -> Iterator[Entry]:
    """Read the loader's variables in what PAM gives every session: pam_env(8)."""
    for line in found.lines():
        named = _VARIABLE.match(line)
        if named:
            yield entry(named[1], named[2].strip("\"'"), "every login", found.user or "every user")


PLACES = (
    *places("ld_preload", preload, "/etc/ld.so.preload"),
    *places("ld_preload", environment, "/etc/environment", "/etc/security/pam_env.conf", "~/.pam_environment"),
    *places("library_folder", library_folders, "/etc/ld.so.conf", "/etc/ld.so.conf.d/*.conf"),
)
