"""Where the files of a place are on this host, and which folders to watch for others that may come."""

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from functools import lru_cache

from msgspec import Struct

from shield.collector.linux.persistence.place import Place
from shield.collector.linux.persistence.root import Root
from shield.collector.linux.persistence.users import User

_WILD = re.compile(r"[*?\[]")
_LEFT_BY_EDITORS = re.compile(r"~$|^\..*\.sw[a-px]$|^\.?#")


class Site(Struct, frozen=True):
    """A file of a place. `user` is in whose home it is; `""` for the places of the host."""

    path: str
    place: Place
    user: str


class Wait(Struct, frozen=True):
    """A folder where something may come: a file of `place`, or, if not `files`, a folder on the way to one.

    `names` is what it must be called.
    """

    folder: str
    names: re.Pattern[str]
    files: bool
    place: Place
    user: User | None

    def takes(self, name: str) -> bool:
        """Return whether a file of that name is meant."""
        return self.names.match(name) is not None and not (self.files and _LEFT_BY_EDITORS.search(name))


def search(root: Root, place: Place, users: Iterable[User]) -> Iterator[Site | Wait]:
    """Yield the files of `place` that are there now, and the folders to wait at for others."""
    if not place.pattern.startswith("~"):
        yield from search_one(root, place, None)
        return
    for user in users:
        yield from search_one(root, place, user)


def search_one(root: Root, place: Place, user: User | None) -> Iterator[Site | Wait]:
    """Yield what `search` does, in the home of one user."""
    home = user.home if user and place.pattern.startswith("~") else ""
    parts = place.pattern.removeprefix("~").strip("/").split("/")
    yield from _descend(root, root.folder(home or "/"), parts, place, user)


def _descend(root: Root, folder: str, parts: list[str], place: Place, user: User | None) -> Iterator[Site | Wait]:
    if not folder:
        return
    part, *rest = parts
    names = _pattern(part)
    wild = _WILD.search(part) is not None
    wait = Wait(folder, names, not rest, place, user)
    below = folder.rstrip("/")
    found = [name for name in root.names(folder) if wait.takes(name)] if wild else [part]
    if not rest:
        yield wait
        yield from (Site(f"{below}/{name}", place, user.name if user else "") for name in found)
        return
    ways = [way for name in found if (way := root.folder(f"{below}/{name}"))]
    if wild or not ways:
        yield wait
    for way in ways:
        yield from _descend(root, way, rest, place, user)


@lru_cache(maxsize=1024)
def _pattern(part: str) -> re.Pattern[str]:
    return re.compile(translate(part))
