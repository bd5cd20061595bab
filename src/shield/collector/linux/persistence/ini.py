"""Files of sections and settings, as systemd.syntax(7) and the Desktop Entry Specification have them."""

from collections.abc import Iterable

from shield.collector.linux.persistence.place import Found

_SETTINGS_MOST = 4096


class Settings:
    """The settings of a file; one that is written several times has several values, an empty one forgets those."""

    def __init__(self, found: Found) -> None:
        self._values: dict[str, list[str]] = {}
        for count, line in enumerate(found.joined_lines("#;")):
            name, equals, value = line.partition("=")
            if not equals or line.startswith("[") or count >= _SETTINGS_MOST:
                continue
            values = self._values.setdefault(name.strip(), [])
            if value.strip():
                values.append(value.strip())
            else:
                values.clear()

    def first(self, name: str) -> str:
        """Return the first value of a setting, `""` for none."""
        return next(iter(self._values.get(name, ())), "")

    def joined(self, names: Iterable[str]) -> str:
        """Return all values of these settings, in that order, with `; ` between."""
        return "; ".join(value for name in names for value in self._values.get(name, ()))

    def named(self, names: Iterable[str]) -> str:
        """Return all values of these settings as `Name=value`, with `; ` between."""
        return "; ".join(f"{name}={value}" for name in names for value in self._values.get(name, ()))
