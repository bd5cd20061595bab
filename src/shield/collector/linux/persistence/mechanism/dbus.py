"""Programs that the message bus starts when somebody calls their name (D-Bus specification, service activation)."""

from collections.abc import Iterator

from shield.collector.linux.persistence.ini import Settings
from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, places


def service(found: Found) -> Iterator[Entry]:
    """Read a .service file of D-Bus: a name, a command, a user."""
    settings = Settings(found)
    name = settings.first("Name") or found.name
    command = settings.joined(("Exec", "SystemdService"))
    if command:
        yield entry(name, command, f"call of {name}", settings.first("User") or found.user or "every user")


PLACES = places(
    "dbus_service",
    service,
    *("/usr/share/dbus-1/system-services/*.service", "/usr/local/share/dbus-1/system-services/*.service"),
    *("/etc/dbus-1/system-services/*.service", "/lib/dbus-1/system-services/*.service"),
    *("/usr/share/dbus-1/services/*.service", "/usr/local/share/dbus-1/services/*.service"),
    *("/etc/dbus-1/services/*.service", "/run/dbus-1/services/*.service", "~/.local/share/dbus-1/services/*.service"),
)
