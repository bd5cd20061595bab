"""Programs that a desktop starts at login (Desktop Application Autostart Specification)."""

from collections.abc import Iterator

from shield.collector.linux.persistence.ini import Settings
from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, places


def desktop_entry(found: Found) -> Iterator[Entry]:
    """Read a .desktop file; `Hidden=true` in it means that it isn't started."""
    settings = Settings(found)
    command = settings.first("Exec")
    if command:
        hints = settings.named(("Hidden", "NoDisplay", "OnlyShowIn", "X-GNOME-Autostart-enabled"))
        trigger = "; ".join(filter(None, ("desktop login", hints)))
        yield entry(settings.first("Name") or found.name, command, trigger, found.user or "every user")


PLACES = places(
    "xdg_autostart",
    desktop_entry,
    "/etc/xdg/autostart/*.desktop",
    "/usr/share/autostart/*.desktop",
    "/usr/share/gnome/autostart/*.desktop",
    "~/.config/autostart/*.desktop",
)
