"""The names of rotated files: events.jsonl becomes events-20261124T140322Z-0000.jsonl, beside it.

The names sort in the order the files were written, also when the clock is set back: a new name never sorts before the
newest one that is there. Files whose names don't match are somebody else's and never touched.
"""

import os
import re
import time
from pathlib import Path
from typing import NamedTuple


class Rotated(NamedTuple):
    """One rotated file: when it was rotated (UTC, `20261124T140322Z`), its number within that second, its path."""

    stamp: str
    counter: int
    path: Path


def rotated(path: Path) -> list[Rotated]:
    """Return the regular files rotated away from `path`, oldest first. Raises OSError."""
    own = re.compile(rf"{re.escape(path.stem)}-(\d{{8}}T\d{{6}}Z)-(\d{{4,9}}){re.escape(path.suffix)}", re.ASCII)
    found: list[Rotated] = []
    with os.scandir(path.parent) as entries:
        for entry in entries:
            match = own.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                found.append(Rotated(match[1], int(match[2]), path.parent / entry.name))
    return sorted(found)


def next_name(path: Path, now_ns: int, existing: list[Rotated]) -> Path:
    """Return the name `path` is to be rotated to at `now_ns` (Unix nanoseconds), beside the `existing` ones."""
    stamp, counter = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ns // 1_000_000_000)), 0
    if existing and existing[-1].stamp >= stamp:
        stamp, counter = existing[-1].stamp, existing[-1].counter + 1
    return path.with_name(f"{path.stem}-{stamp}-{counter:04}{path.suffix}")


def expired(existing: list[Rotated], keep_files: int | None, oldest_ns: int | None) -> list[Path]:
    """Return those to delete: all but the newest `keep_files`, and all last written before `oldest_ns` (Unix ns)."""
    surplus = 0 if keep_files is None else max(0, len(existing) - keep_files)
    return [each.path for rank, each in enumerate(existing) if rank < surplus or _older(each.path, oldest_ns)]


def _older(path: Path, oldest_ns: int | None) -> bool:
    return oldest_ns is not None and path.lstat().st_mtime_ns < oldest_ns
