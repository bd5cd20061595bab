"""All that makes programs run again by themselves, gathered once: every mechanism's places, read from first to last.

The mechanisms are the modules in `mechanism`, found by where they are; each declares its `PLACES`.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from typing import cast

from msgspec import Struct

from shield.collector.linux.persistence import mechanism
from shield.collector.linux.persistence.item import Entry, Item
from shield.collector.linux.persistence.place import Found, Place
from shield.collector.linux.persistence.root import Root
from shield.collector.linux.persistence.search import Site, search
from shield.collector.linux.persistence.users import Users

FILES_MOST = 50_000
"""So many files are looked at in all."""

_ENTRIES_MOST = 1000

OwnerOf = Callable[[str], str]
"""Gives the name of the package that owns a path, `""` for none."""


class Inventory(Struct, frozen=True):
    """What was found, by mechanism; what could not be read, and why."""

    items: tuple[Item, ...]
    unreadable: dict[str, str]


@cache
def every_place() -> tuple[Place, ...]:
    """Return the places of all mechanisms."""
    names = sorted(one.name for one in pkgutil.iter_modules(mechanism.__path__))
    modules = [importlib.import_module(f"{mechanism.__name__}.{name}") for name in names]
    return tuple(place for module in modules for place in cast("tuple[Place, ...]", module.PLACES))


def mechanisms() -> tuple[str, ...]:
    """Return the names of all mechanisms, in order."""
    return tuple(sorted({place.mechanism for place in every_place()}))


def entries(place: Place, found: Found) -> tuple[Entry, ...]:
    """Return what a file of `place` starts, the first thousand."""
    listed: list[Entry] = []
    for one in place.parse(found):
        if len(listed) >= _ENTRIES_MOST:
            break
        listed.append(one)
    return tuple(listed)


def nobody(path: str) -> str:
    """Return that no package owns `path`: what is known where packages can't be asked."""
    return ""


def take(root: Root, owner_of: OwnerOf = nobody, only: str = "") -> Inventory:
    """Return the inventory below `root`, of the mechanism `only` if one is named."""
    users = Users(root)
    items = [item for site in _sites(root, users, only) for item in _items(root, users, site, owner_of)]
    items.sort(key=lambda item: (item.mechanism, item.path))
    return Inventory(tuple(items), dict(root.unreadable))


def _sites(root: Root, users: Users, only: str) -> Iterator[Site]:
    """Yield each file once, by the first place that it is in."""
    seen: set[str] = set()
    for place in every_place():
        for site in search(root, place, users.homes):
            if isinstance(site, Site) and site.path not in seen and len(seen) < FILES_MOST:
                seen.add(site.path)
                if only in ("", place.mechanism):
                    yield site


def _items(root: Root, users: Users, site: Site, owner_of: OwnerOf) -> Iterator[Item]:
    found = root.find(site.path, site.user)
    listed = entries(site.place, found) if found else ()
    if found is None or not listed:
        return
    package, owner = owner_of(found.path), users.name(found.uid)
    for one in listed:
        yield Item(
            mechanism=site.place.mechanism,
            path=found.path,
            name=one.name,
            command=one.command,
            trigger=one.trigger,
            run_as=one.run_as,
            owner=owner,
            package=package,
            sha256=found.sha256,
            mode=found.mode,
            gap=found.gap,
        )
