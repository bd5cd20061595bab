"""The package that a file belongs to, and whether the file is what that package brought.

All package databases of a host are read once into an index of 8 bytes a file: 48 bits of the path's hash and the number
of its package. The hash is Python's own, keyed anew in every run, so nobody can make a path that has another's. What a
file's content should be is looked up in the database itself, for the few files that are asked for.
"""

import sys
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from shield.collector.linux.packages.apk import ApkDatabase
from shield.collector.linux.packages.database import Damaged, Database, MergedFolders, Package, Stamp
from shield.collector.linux.packages.dpkg import DpkgDatabase
from shield.collector.linux.packages.rpm import RpmDatabase, find_unreadable
from shield.text import encode

State = Literal["", "unchanged", "modified", "unowned", "unverified"]
_BEST_FIRST: tuple[State, ...] = ("unchanged", "unverified", "modified")

_NUMBER = 0xFFFF
_HASH = 0xFFFF_FFFF_FFFF_0000
_BUCKETS_SHIFT = 56
_TURN_S, _REST_S = 0.002, 0.002


class Verdict(NamedTuple):
    """What the databases say of a file; `state` is as in `shield.event.Provenance`."""

    package: str = ""
    version: str = ""
    state: State = ""


class Packages:
    """The packages of the system below `root`. Every method may be called from any thread."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._merged = MergedFolders(root)
        self._databases, self._unreadable = _databases(root, self._merged)
        self.problems = self._unreadable
        """What keeps a database on this host from being read; while there is such a one, no file counts as unowned."""
        self._index: _Index | None = None
        self._loading = threading.Lock()
        self.generation = 0
        """How often the index has been built."""

    @property
    def ready(self) -> bool:
        """Whether the index is there; where it isn't, the first question waits for it, about half a second."""
        return self._index is not None

    @property
    def size(self) -> int:
        """How much memory the index takes, in bytes."""
        return self._index.size if self._index is not None else 0

    @property
    def algorithms(self) -> frozenset[str]:
        """The hashes that `verdict` wants, as hashlib calls them."""
        return frozenset[str]().union(*(database.algorithms for database in self._databases))

    def load(self) -> None:
        """Build the index where there is none yet or the databases have changed; gives way to other threads."""
        with self._loading:
            if self._index is None or self._index.stamps != self._stamps():
                self._index, problems = _Index.of(self._databases, self._stamps())
                self.problems = self._unreadable + problems
                self.generation += 1

    def settled(self) -> bool:
        """Return whether the index is of what is installed, and no package manager is just at work."""
        current = self._index is not None and self._index.stamps == self._stamps()
        return current and not self.busy()

    def busy(self) -> bool:
        """Return whether a package manager is at work."""
        return any(database.busy() for database in self._databases)

    def owner_of(self, path: str) -> str:
        """Return the name of the package that `path`, absolute and without links, belongs to; `""` for none."""
        return next((package.name for package, _ in self._owners(self._merged.real(encode(path)))), "")

    def verdict(self, path: str, hashes: Mapping[str, str]) -> Verdict:
        """Return what is known of a file at `path` whose content has `hashes`; without hashes, only who owns it."""
        real = self._merged.real(encode(path))
        owners = list(self._owners(real))
        if not owners:
            return Verdict(state="unowned" if self._databases and not self.problems else "")
        package = owners[0][0]
        states: set[State] = {_compared(*owner, real, hashes) for owner in owners}
        # Where packages share a file, one of them has brought what is there.
        return Verdict(package.name, package.version, min(states, key=_BEST_FIRST.index))

    def _owners(self, path: bytes) -> Iterator[tuple[Package, Database]]:
        if self._index is None:
            self.load()
        return self._index.find(path) if self._index is not None else iter(())

    def _stamps(self) -> tuple[Stamp, ...]:
        return tuple(database.stamp() for database in self._databases)


class _Index:
    """Files by the hashes of their paths. Built once, never changed."""

    def __init__(self, stamps: tuple[Stamp, ...]) -> None:
        self.stamps = stamps
        self._packages: list[tuple[Package, Database]] = []
        self._buckets = [array("Q") for _ in range(1 << 64 - _BUCKETS_SHIFT)]

    @classmethod
    def of(cls, databases: Iterable[Database], stamps: tuple[Stamp, ...]) -> tuple["_Index", tuple[str, ...]]:
        """Return the index of all databases, and what is wrong with those that can't be read."""
        index, problems, rest = cls(stamps), list[str](), _Rest()
        for database in databases:
            try:
                for package, paths in database.packages():
                    index._add(package, database, paths)
                    rest.take()
            except (OSError, Damaged) as error:
                problems.append(f"the database of {database.name} can't be read: {error}")
        index._sort(rest)
        return index, tuple(problems)

    @property
    def size(self) -> int:
        """How much memory the files take, in bytes."""
        return sum(sys.getsizeof(bucket) for bucket in self._buckets)

    def find(self, path: bytes) -> Iterator[tuple[Package, Database]]:
        """Yield the packages that `path` belongs to."""
        wanted = hash(path) & _HASH
        bucket = self._buckets[wanted >> _BUCKETS_SHIFT]
        for at in range(bisect_left(bucket, wanted), len(bucket)):
            if bucket[at] & _HASH != wanted:
                return
            yield self._packages[bucket[at] & _NUMBER]

    def _add(self, package: Package, database: Database, paths: Iterable[bytes]) -> None:
        number = len(self._packages)
        if number > _NUMBER:
            raise Damaged(f"there are more than {_NUMBER + 1:,} packages")
        self._packages.append((package, database))
        buckets = self._buckets
        for path in paths:
            key = hash(path) & _HASH
            buckets[key >> _BUCKETS_SHIFT].append(key | number)

    def _sort(self, rest: "_Rest") -> None:
        for number, bucket in enumerate(self._buckets):
            self._buckets[number] = array("Q", sorted(bucket))
            rest.take()


class _Rest:
    """Pauses, so that work in Python leaves every other thread its turn."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def take(self) -> None:
        """Rest, if it is time to."""
        if time.monotonic() - self._since > _TURN_S:
            time.sleep(_REST_S)
            self._since = time.monotonic()


def _compared(package: Package, database: Database, path: bytes, hashes: Mapping[str, str]) -> State:
    try:
        digest = database.digest(package.key, path)
    except (OSError, Damaged):
        return "unverified"
    if digest is None or digest.algorithm not in hashes:
        return "unverified"
    return "unchanged" if hashes[digest.algorithm] == digest.value else "modified"


def _databases(root: Path, merged: MergedFolders) -> tuple[tuple[Database, ...], tuple[str, ...]]:
    """Return the databases of the system below `root`, and what keeps others from being read."""
    kinds = (DpkgDatabase, ApkDatabase, RpmDatabase)
    found = tuple(database for kind in kinds if (database := kind.find(root, merged)))
    unreadable = find_unreadable(root)
    if unreadable is None:
        return found, ()
    problem = f"{unreadable}: rpm's database is in an older form that isn't read; `rpmdb --rebuilddb` may renew it"
    return found, (problem,)
