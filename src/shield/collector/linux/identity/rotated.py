"""The files that a log was rotated to: `auth.log.1`, `auth.log.2.gz`, `secure-20260102`, beside the log itself."""

import bz2
import gzip
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

_MOST = 16
_NUMBERED = re.compile(r"[.-]\d[\d.-]{0,31}", re.ASCII)
_STEP = 1 << 20
_REACHED_MOST = 1 << 30
_OPENED_BY: dict[str, Callable[[Path], object]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""What reading a compressed file that is damaged raises."""


def siblings(log: Path) -> list[Path]:
    """Return the newest 16 files that `log` was rotated to, the newest first.

    One that is being compressed is named once: while both are there, as the file that is complete.
    """
    found: dict[str, tuple[int, Path]] = {}
    try:
        entries = list(os.scandir(log.parent))
    except OSError:
        return []
    for entry in sorted(entries, key=lambda entry: len(entry.name), reverse=True):
        stem, ending = os.path.splitext(entry.name)
        stem = stem if ending in _OPENED_BY else entry.name
        if stem.startswith(log.name) and _NUMBERED.fullmatch(stem[len(log.name) :]):
            try:
                found[stem] = entry.stat().st_mtime_ns, Path(entry.path)
            except OSError:
                continue
    return [path for _, path in sorted(found.values(), reverse=True)[:_MOST]]


def open_regular(path: Path) -> BinaryIO | None:
    """Return a file's content, decompressed if its name says so; None for what is no file, or is gone.

    Raises PermissionError.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        decompressed = _OPENED_BY.get(path.suffix)
        return cast("BinaryIO", decompressed(path)) if decompressed else path.open("rb", buffering=0)
    except FileNotFoundError:
        return None


def is_compressed(file: BinaryIO) -> bool:
    """Return whether a file can be read forward only."""
    return isinstance(file, gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile)


def reach(file: BinaryIO, offset: int, recent: bytes, same: bool) -> bool:
    """Move to `offset`, in bytes; return whether just before it stand the bytes `recent`.

    Where nothing stands before it, `same` says whether it is the file in question.
    """
    if not recent:
        return same
    if not is_compressed(file):
        return os.pread(file.fileno(), len(recent), offset - len(recent)) == recent
    return offset <= _REACHED_MOST and _read_up_to(file, offset - len(recent)) and _next(file, len(recent)) == recent


def _read_up_to(file: BinaryIO, offset: int) -> bool:
    while offset and (skipped := _next(file, min(offset, _STEP))):
        offset -= len(skipped)
    return offset == 0


def _next(file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size)
    except DAMAGED:
        return b""
