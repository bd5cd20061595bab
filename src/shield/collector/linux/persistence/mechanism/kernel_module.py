"""Kernel modules loaded at boot, and commands that modprobe runs instead of loading one.

modules-load.d(5), modprobe.d(5).
"""

from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, places


def loaded(found: Found) -> Iterator[Entry]:
    """Read names of modules, each on a line, arguments behind it."""
    for line in found.lines("#;"):
        yield entry(line.split()[0], f"modprobe {line}", "boot", "root")


def configured(found: Found) -> Iterator[Entry]:
    """Read the `install` and `remove` lines: commands that run as root in place of a module."""
    for line in found.joined_lines():
        what, *rest = line.split(None, 2)
        if what in ("install", "remove") and len(rest) == 2:
            module, command = rest
            yield entry(f"{what} {module}", command, f"modprobe {'-r ' if what == 'remove' else ''}{module}", "root")


PLACES = (
    *places("kernel_module", loaded, "/etc/modules", "/etc/modules-load.d/*.conf", "/run/modules-load.d/*.conf"),
    *places("kernel_module", loaded, "/usr/lib/modules-load.d/*.conf", "/usr/local/lib/modules-load.d/*.conf"),
    *places("kernel_module", configured, "/etc/modprobe.d/*.conf", "/run/modprobe.d/*.conf", "/etc/modprobe.conf"),
    *places("kernel_module", configured, "/usr/lib/modprobe.d/*.conf", "/usr/local/lib/modprobe.d/*.conf"),
)
