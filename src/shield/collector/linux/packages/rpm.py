"""The database of rpm: Fedora, Red Hat and their kin, where it is kept in SQLite (rpm 4.16 and later).

Each row holds a package's header: an index of tags and the data they point at, big-endian.
https://rpm-software-management.github.io/rpm/manual/format_header.html
"""

import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from shield.collector.linux.packages.database import Damaged, Digest, MergedFolders, Package, Stamp, locked, stamp_of
from shield.text import decode

if TYPE_CHECKING:
    from sqlite3 import Connection

_PLACES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
_FILE = "rpmdb.sqlite"
_OTHER_FILES = ("Packages", "Packages.db")

_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_FILE_STATES, _FILE_MODES, _FILE_DIGESTS, _FILE_FLAGS = 1029, 1030, 1035, 1037
_DIR_INDEXES, _BASE_NAMES, _DIR_NAMES, _DIGEST_ALGORITHM = 1116, 1117, 1118, 5011

_INTEGERS = {2: "B", 3: "H", 4: "I", 5: "Q"}
_STRINGS = frozenset((6, 8, 9))
_CONFIGURATION = 1
_IN_PLACE = 0
# Numbers of hash algorithms: RFC 9580, section 9.5.
_MD5 = 1
_ALGORITHMS = {_MD5: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
_START = struct.Struct(">II")
_ENTRY = struct.Struct(">IIII")


def find_unreadable(root: Path) -> Path | None:
    """Return rpm's database below `root` where it is kept in Berkeley DB or rpm's own format, not in SQLite."""
    folders = [root / place for place in _PLACES]
    if any((folder / _FILE).is_file() for folder in folders):
        return None
    files = (folder / name for folder in folders for name in _OTHER_FILES)
    return next((file for file in files if file.is_file() and file.stat().st_size), None)


class RpmHeader:
    """A package's header. Raises Damaged."""

    def __init__(self, blob: bytes) -> None:
        if len(blob) < _START.size:
            raise Damaged("a header is cut short")
        entries, length = _START.unpack_from(blob)
        data_at = _START.size + entries * _ENTRY.size
        if data_at + length > len(blob):
            raise Damaged("a header is cut short")
        self._data = blob[data_at : data_at + length]
        index = _ENTRY.iter_unpack(blob[_START.size : data_at])
        self._entries = {tag: (kind, offset, count) for tag, kind, offset, count in index}

    def strings(self, tag: int) -> list[bytes]:
        """Return the strings of a tag, none where it has none."""
        kind, offset, count = self._entries.get(tag, (0, 0, 0))
        if kind not in _STRINGS:
            return []
        strings = self._data[offset:].split(b"\0", min(count, len(self._data)))
        if len(strings) <= count:
            raise Damaged(f"the strings of tag {tag} are cut short")
        return strings[:count]

    def integers(self, tag: int) -> tuple[int, ...]:
        """Return the numbers of a tag, none where it has none."""
        kind, offset, count = self._entries.get(tag, (0, 0, 0))
        code = _INTEGERS.get(kind)
        if code is None:
            return ()
        if offset + count * struct.calcsize(code) > len(self._data):
            raise Damaged(f"the numbers of tag {tag} are cut short")
        return struct.unpack_from(f">{count}{code}", self._data, offset)

    def package(self, key: str) -> Package:
        """Return the package that this is the header of."""
        name, version, release = (b"".join(self.strings(tag)[:1]) for tag in (_NAME, _VERSION, _RELEASE))
        epoch = "".join(f"{number}:" for number in self.integers(_EPOCH)[:1])
        return Package(decode(name), f"{epoch}{decode(version)}-{decode(release)}", key)

    def files(self) -> Iterator[tuple[int, bytes]]:
        """Yield the files that are in place, each with its number among all; folders aren't files."""
        folders, names, places = self.strings(_DIR_NAMES), self.strings(_BASE_NAMES), self.integers(_DIR_INDEXES)
        states, modes = self.integers(_FILE_STATES), self.integers(_FILE_MODES)
        if len(places) != len(names) or (places and max(places) >= len(folders)):
            raise Damaged("its files and folders don't fit together")
        for number, (place, name) in enumerate(zip(places, names, strict=True)):
            replaced = number < len(states) and states[number] != _IN_PLACE
            folder = number < len(modes) and stat.S_ISDIR(modes[number])
            if not replaced and not folder:
                yield number, folders[place] + name

    def digest(self, number: int) -> Digest | None:
        """Return the digest of a file, None where it has none or is there to be changed."""
        digests, flags = self.strings(_FILE_DIGESTS), self.integers(_FILE_FLAGS)
        if number >= len(digests) or (number < len(flags) and flags[number] & _CONFIGURATION):
            return None
        algorithm = _ALGORITHMS.get(next(iter(self.integers(_DIGEST_ALGORITHM)), _MD5))
        value = decode(digests[number])
        return Digest(algorithm, value) if algorithm and value else None


class RpmDatabase:
    """The database in `folder`, normally /var/lib/rpm."""

    name = "rpm"
    algorithms = frozenset({"sha256"})

    def __init__(self, folder: Path, merged: MergedFolders) -> None:
        self._folder = folder
        self._file = folder / _FILE
        self._merged = merged

    @classmethod
    def find(cls, root: Path, merged: MergedFolders) -> "RpmDatabase | None":
        """Return the database of the system below `root`, None where there is none."""
        folders = (root / place for place in _PLACES)
        return next((cls(folder, merged) for folder in folders if (folder / _FILE).is_file()), None)

    def stamp(self) -> Stamp:
        """Return what tells one state of the database from another."""
        return stamp_of([self._file, self._folder / f"{_FILE}-wal"])

    def busy(self) -> bool:
        """Return whether rpm is at work."""
        return locked(self._folder / ".rpm.lock")

    def packages(self) -> Iterator[tuple[Package, Iterator[bytes]]]:
        """Yield every package with its files. Raises OSError and Damaged."""
        for key, blob in self._rows("SELECT hnum, blob FROM Packages"):
            header = RpmHeader(blob)
            yield header.package(str(key)), (self._merged.real(path) for _, path in header.files())

    def digest(self, key: str, path: bytes) -> Digest | None:
        """Return the hash of what the package has brought as `path`. Raises OSError and Damaged."""
        for _, blob in self._rows("SELECT hnum, blob FROM Packages WHERE hnum = ?", int(key)):
            header = RpmHeader(blob)
            numbers = (number for number, name in header.files() if self._merged.real(name) == path)
            return next((header.digest(number) for number in numbers), None)
        return None

    def _rows(self, query: str, *values: int) -> Iterator[tuple[int, bytes]]:
        try:
            import sqlite3  # noqa: PLC0415  it takes 3 MB, and most hosts have no use for it
        except ImportError:
            raise Damaged("this Python has no sqlite3") from None
        try:
            with closing(self._connect(sqlite3.connect, sqlite3.OperationalError)) as connection:
                for key, blob in connection.execute(query, values):
                    if not isinstance(key, int) or not isinstance(blob, bytes):
                        raise Damaged("a row doesn't hold a header")
                    yield key, blob
        except sqlite3.Error as error:
            raise Damaged(str(error)) from None

    def _connect(self, connect: "Callable[..., Connection]", refused: type[Exception]) -> "Connection":
        """Open the database for reading; where no lock can be kept beside it, as something that never changes."""
        uri = self._file.resolve().as_uri()
        try:
            connection = connect(f"{uri}?mode=ro", uri=True)
            connection.execute("SELECT 1 FROM Packages LIMIT 1")
        except refused:
            connection = connect(f"{uri}?immutable=1", uri=True)
        return connection
