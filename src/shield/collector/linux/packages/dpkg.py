"""The database of dpkg: Debian, Ubuntu and their kin (dpkg(1), deb-md5sums(5), dpkg-divert(1)).

`info/PACKAGE.list` names a package's files and the folders above them, `info/PACKAGE.md5sums` what is in the files;
configuration files aren't among those. A diverted file stands under another name than its package's list says.
"""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from shield.collector.linux.packages.database import Digest, MergedFolders, Package, Stamp, locked, stamp_of
from shield.text import decode

_LIST = ".list"
_FIELD = re.compile(rb"^(Package|Version|Architecture): *(.*)$", re.MULTILINE)
_MD5 = re.compile(rb"[0-9a-f]{32}")


class _Diversion(NamedTuple):
    to: bytes
    by: bytes


class DpkgDatabase:
    """The database in `folder`, normally /var/lib/dpkg."""

    name = "dpkg"
    algorithms = frozenset({"md5"})

    def __init__(self, folder: Path, merged: MergedFolders) -> None:
        self._folder = folder
        self._merged = merged

    @classmethod
    def find(cls, root: Path, merged: MergedFolders) -> "DpkgDatabase | None":
        """Return the database of the system below `root`, None where there is none."""
        folder = root / "var/lib/dpkg"
        return cls(folder, merged) if (folder / "status").is_file() and (folder / "info").is_dir() else None

    def stamp(self) -> Stamp:
        """Return what tells one state of the database from another."""
        return stamp_of(self._folder / part for part in ("info", "status", "diversions"))

    def busy(self) -> bool:
        """Return whether dpkg is at work."""
        return locked(self._folder / "lock")

    def packages(self) -> Iterator[tuple[Package, list[bytes]]]:
        """Yield every package with its files. Raises OSError."""
        versions = _versions((self._folder / "status").read_bytes())
        diversions = self._diversions()
        with os.scandir(self._folder / "info") as entries:
            keys = sorted(entry.name.removesuffix(_LIST) for entry in entries if entry.name.endswith(_LIST))
        for key in keys:
            name = key.partition(":")[0]
            yield Package(name, versions.get(key) or versions.get(name, ""), key), self._files(key, name, diversions)

    def digest(self, key: str, path: bytes) -> Digest | None:
        """Return the MD5 of what the package has brought as `path`, None for configuration files. Raises OSError."""
        try:
            known = (self._folder / "info" / f"{key}.md5sums").read_bytes()
        except FileNotFoundError:
            return None
        for name in self._names(path, key.partition(":")[0]):
            end = known.find(b"  %b\n" % name.removeprefix(b"/"))
            digest = known[max(0, end - 32) : end] if end > 0 else b""
            if _MD5.fullmatch(digest):
                return Digest("md5", digest.decode())
        return None

    def _files(self, key: str, name: str, diversions: dict[bytes, _Diversion]) -> list[bytes]:
        try:
            lines = (self._folder / "info" / f"{key}{_LIST}").read_bytes().split(b"\n")
        except FileNotFoundError:  # removed meanwhile
            return []
        real = self._merged.real
        # A folder stands just before what is in it.
        files = [real(line) for line, after in pairwise(lines) if not after.startswith(line + b"/")]
        if diversions:
            owner = name.encode()
            files = [_diverted(diversions[path], path, owner) if path in diversions else path for path in files]
        return files

    def _names(self, path: bytes, package: str) -> Iterator[bytes]:
        """Yield every name under which the package may list the file that now stands at `path`."""
        yield from self._merged.names(path)
        for original, diversion in self._diversions().items():
            if diversion.to == path and diversion.by != package.encode():
                yield from self._merged.names(original)

    def _diversions(self) -> dict[bytes, _Diversion]:
        """Return the diversions by the name that is diverted: three lines each, `:` for one by the administrator."""
        try:
            lines = (self._folder / "diversions").read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        real = self._merged.real
        return {
            real(original): _Diversion(real(to), by)
            for original, to, by in zip(lines[::3], lines[1::3], lines[2::3], strict=False)
        }


def _diverted(diversion: _Diversion, path: bytes, owner: bytes) -> bytes:
    """Return where the file that `owner` calls `path` stands."""
    return path if diversion.by == owner else diversion.to


def _versions(status: bytes) -> dict[str, str]:
    """Return the versions by package, and by package and architecture as the lists of several at once are named."""
    versions: dict[str, str] = {}
    name = version = architecture = ""
    for match in _FIELD.finditer(status):
        field, value = match[1], decode(match[2])
        if field == b"Package":
            name, version, architecture = value, "", ""
        elif field == b"Version":
            version = value
        else:
            architecture = value
        if version:
            versions.setdefault(name, version)
        if version and architecture:
            versions[f"{name}:{architecture}"] = version
    return versions
