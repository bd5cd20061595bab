"""The database of apk: Alpine and its kin (https://wiki.alpinelinux.org/wiki/Apk_spec).

One text file of blocks, each a package: lines of a letter, a colon and a value. `F:` names a folder, `R:` a file in it,
and `Z:` after it the SHA-1 of its content, as `Q1` and base64.
"""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path

from shield.collector.linux.packages.database import Digest, MergedFolders, Package, Stamp, flocked, stamp_of
from shield.text import decode

_PLACES = ("lib/apk/db", "usr/lib/apk/db")
_ALGORITHMS = {b"Q1": "sha1", b"Q2": "sha256"}


class ApkDatabase:
    """The database in `folder`, normally /lib/apk/db."""

    name = "apk"
    algorithms = frozenset(_ALGORITHMS.values())

    def __init__(self, folder: Path, merged: MergedFolders) -> None:
        self._folder = folder
        self._merged = merged

    @classmethod
    def find(cls, root: Path, merged: MergedFolders) -> "ApkDatabase | None":
        """Return the database of the system below `root`, None where there is none."""
        folders = (root / place for place in _PLACES)
        return next((cls(folder, merged) for folder in folders if (folder / "installed").is_file()), None)

    def stamp(self) -> Stamp:
        """Return what tells one state of the database from another."""
        return stamp_of([self._folder / "installed"])

    def busy(self) -> bool:
        """Return whether apk is at work."""
        return flocked(self._folder / "lock")

    def packages(self) -> Iterator[tuple[Package, list[bytes]]]:
        """Yield every package with its files. Raises OSError."""
        for block in self._blocks():
            values = dict(line.split(b":", 1) for line in block if line[:2] in (b"P:", b"V:"))
            name = decode(values.get(b"P", b""))
            yield Package(name, decode(values.get(b"V", b"")), name), [path for path, _ in self._files(block)]

    def digest(self, key: str, path: bytes) -> Digest | None:
        """Return the hash of what the package has brought as `path`, None where it isn't known. Raises OSError."""
        title = b"P:" + key.encode()
        for block in self._blocks():
            if title in block:
                return next((_digest(checksum) for name, checksum in self._files(block) if name == path), None)
        return None

    def _blocks(self) -> Iterator[list[bytes]]:
        block: list[bytes] = []
        with open(self._folder / "installed", "rb") as file:
            for line in file:
                if line != b"\n":
                    block.append(line.rstrip(b"\n"))
                elif block:
                    yield block
                    block = []
        if block:
            yield block

    def _files(self, block: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield each file with its checksum."""
        folder, path, checksum = b"/", b"", b""
        for line in block:
            field, value = line[:2], line[2:]
            if field in (b"F:", b"R:") and path:
                yield path, checksum
                path = b""
            if field == b"F:":
                folder = b"/%b/" % value if value else b"/"
            elif field == b"R:":
                path, checksum = self._merged.real(folder + value), b""
            elif field == b"Z:":
                checksum = value
        if path:
            yield path, checksum


def _digest(checksum: bytes) -> Digest | None:
    algorithm = _ALGORITHMS.get(checksum[:2])
    try:
        value = base64.b64decode(checksum[2:], validate=True)
    except binascii.Error:
        return None
    return Digest(algorithm, value.hex()) if algorithm else None
