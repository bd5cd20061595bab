"""PAM: the modules that every login, sudo and su goes through, pam.conf(5), and the folders they are loaded from."""

import re
from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, first_word, places, script

_LINE = re.compile(r"-?(auth|account|password|session)\s+(\[[^\]]*\]|\S+)\s+(.+)", re.IGNORECASE)
_FOLDERS = (
    *("/usr/lib/*-linux-gnu*/security", "/lib/*-linux-gnu*/security", "/usr/lib64/security", "/lib64/security"),
    *("/usr/lib/security", "/lib/security", "/usr/local/lib/security", "/usr/lib/pam"),
)


def service(found: Found) -> Iterator[Entry]:
    """Read the file of one service: a type, a control and a module with its arguments a line."""
    for line in found.joined_lines():
        yield from _entries(found.name, line)


def all_services(found: Found) -> Iterator[Entry]:
    """Read /etc/pam.conf, whose lines begin with the service."""
    for line in found.joined_lines():
        name, _, rest = line.partition(" ")
        yield from _entries(name, rest.strip())


def _entries(name: str, line: str) -> Iterator[Entry]:
    parts = _LINE.match(line.partition(" #")[0])
    if parts and parts[2].lower() not in ("include", "substack"):
        yield entry(f"{parts[1]} {first_word(parts[3])}", parts[3], f"{name}: {parts[1]} {parts[2]}", "root")


PLACES = (
    *places("pam", service, "/etc/pam.d/*", "/usr/lib/pam.d/*", "/usr/share/pam.d/*"),
    *places("pam", all_services, "/etc/pam.conf"),
    *places("pam_module", script("loaded by PAM"), *(f"{folder}/*.so" for folder in _FOLDERS)),
)
