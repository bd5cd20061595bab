"""udev rules that run programs when a device comes or goes: udev(7)."""

import re
from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, first_word, places

_RUN = re.compile(
    r"""\b(RUN(?:\{program\})?|PROGRAM|IMPORT\{program\}|ENV\{SYSTEMD_WANTS\})\s*(?:\+=|:=|==|=)\s*e?"((?:[^"\\]|\\.)*)\""""
)


def rules(found: Found) -> Iterator[Entry]:
    """Read the programs in a file of rules; the rest of their line says for which device."""
    for line in found.joined_lines():
        for run in _RUN.finditer(line):
            device = line[: run.start()].rstrip(", ")
            yield entry(f"{run[1]} {first_word(run[2])}", run[2], device or "every device", "root")


PLACES = places(
    "udev_rule",
    rules,
    "/etc/udev/rules.d/*.rules",
    "/run/udev/rules.d/*.rules",
    "/usr/local/lib/udev/rules.d/*.rules",
    "/usr/lib/udev/rules.d/*.rules",
    "/lib/udev/rules.d/*.rules",
)
