"""Boot scripts of before systemd, which it still runs: rc.local, init.d with its run levels, inittab(5)."""

from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, first_word, places, program, script


def run_level(found: Found) -> Iterator[Entry]:
    """Read a link such as /etc/rc2.d/S01nginx: S starts, K stops what it leads to."""
    if found.name[:1] in ("S", "K"):
        does = "start" if found.name.startswith("S") else "stop"
        level = found.folder.removeprefix("rc").removesuffix(".d")
        yield entry(found.name, found.target or found.path, f"{does} at run level {level}", "root")


def inittab(found: Found) -> Iterator[Entry]:
    """Read lines of an id, run levels, an action and a command."""
    for line in found.lines():
        fields = line.split(":", 3)
        if len(fields) == 4 and fields[3]:
            name, levels, action, command = fields
            yield entry(name or first_word(command), command, f"{action} at run levels {levels or 'all'}", "root")


PLACES = (
    *places("rc_local", program("boot"), "/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local"),
    *places("init_script", script("boot"), "/etc/init.d/*", "/etc/rc.d/init.d/*"),
    *places("init_script", run_level, "/etc/rc?.d/*", "/etc/rc.d/rc?.d/*"),
    *places("inittab", inittab, "/etc/inittab"),
)
