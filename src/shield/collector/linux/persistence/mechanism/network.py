"""Scripts and commands that run when a network comes up or goes down: interfaces(5), dhclient-script(8)."""

import re
from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, first_word, places, program, script

_HOOK = re.compile(r"(pre-up|up|post-up|down|pre-down|post-down)\s+(.+)")
_INTERFACE = re.compile(r"iface\s+(\S+)")


def interfaces(found: Found) -> Iterator[Entry]:
    """Read the commands of each interface."""
    interface = ""
    for line in found.joined_lines():
        named = _INTERFACE.match(line)
        interface = named[1] if named else interface
        hook = _HOOK.match(line)
        if hook:
            yield entry(f"{hook[1]} {first_word(hook[2])}", hook[2], f"{hook[1]} of {interface}", "root")


PLACES = (
    *places(
        "network_hook",
        program("network change"),
        *("/etc/network/if-up.d/*", "/etc/network/if-pre-up.d/*", "/etc/network/if-down.d/*"),
        *("/etc/network/if-post-down.d/*", "/etc/NetworkManager/dispatcher.d/*"),
        *("/etc/NetworkManager/dispatcher.d/*.d/*", "/usr/lib/NetworkManager/dispatcher.d/*"),
        *("/usr/lib/NetworkManager/dispatcher.d/*.d/*", "/etc/networkd-dispatcher/*.d/*"),
        *("/etc/ppp/ip-up.d/*", "/etc/ppp/ip-down.d/*", "/etc/ppp/ip-up", "/etc/ppp/ip-down"),
    ),
    *places("network_hook", script("network address"), "/etc/dhcp/dhclient-enter-hooks.d/*"),
    *places("network_hook", script("network address"), "/etc/dhcp/dhclient-exit-hooks.d/*"),
    *places("network_hook", script("network address"), "/etc/dhclient-enter-hooks", "/etc/dhclient-exit-hooks"),
    *places("network_hook", interfaces, "/etc/network/interfaces", "/etc/network/interfaces.d/*"),
)
