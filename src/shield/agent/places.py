"""The files that configured places (files and folders) name, and whether they have changed."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

Signature = tuple[tuple[str, int, int, int], ...]
"""Each file with its modification time in ns, its size and its inode: all are the same while nothing changed."""


class Place(Struct, frozen=True):
    """A file, and whether it was named by itself rather than found in a folder."""

    path: Path
    named: bool


def files(places: Sequence[str], suffixes: tuple[str, ...]) -> list[Place]:
    """Return the files that `places` name, each once; of folders all below with such a suffix, less hidden ones.

    Raises FileNotFoundError whose text is the place that is missing.
    """
    found: dict[Path, Place] = {}
    for place in places:
        path = Path(place)
        if not path.exists():
            raise FileNotFoundError(place)
        if not path.is_dir():
            found[path] = Place(path, named=True)
            continue
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.suffix.lower() in suffixes and not hidden and file.is_file():
                found.setdefault(file, Place(file, named=False))
    return list(found.values())


def signature(places: Sequence[str], suffixes: tuple[str, ...]) -> Signature | None:
    """Return the signature of the files in `places`, None where a place is missing or a file is just being replaced.

    This is asked for again and again, so it is made for folders of thousands of files: 10 ms for 4000 of them.
    """
    try:
        found = dict(entry for place in places for entry in _seen(place, suffixes))
    except OSError:
        return None
    return tuple((name, status.st_mtime_ns, status.st_size, status.st_ino) for name, status in sorted(found.items()))


def _seen(place: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files of a place, as `files` finds them, with their status."""
    status = os.stat(place)  # noqa: PTH116  a Path for each of thousands would take longest of all
    if not stat.S_ISDIR(status.st_mode):
        yield place, status
        return
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _seen(entry.path, suffixes)
            elif entry.name.lower().endswith(suffixes) and entry.is_file():
                yield entry.path, entry.stat()
