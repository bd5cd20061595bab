"""Programs that were met before: what is in their files, and when they were first met. Kept from run to run."""

import hashlib
from typing import TypeVar

import msgspec
from msgspec import Struct

from shield.collector.linux.provenance.program import Content, Identity
from shield.text import encode

_VERSION = 1

K = TypeVar("K")
V = TypeVar("V")


class Recent(dict[K, V]):
    """The `most` things that were put in last; the oldest goes first."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def put(self, key: K, value: V) -> None:
        """Put something in, or in front again."""
        self.pop(key, None)
        self[key] = value
        if len(self) > self._most:
            del self[next(iter(self))]


class _State(Struct, array_like=True):
    version: int
    contents: list[tuple[Identity, Content]]
    first_seen: list[tuple[int, int]]


class ProgramMemory:
    """`contents` of files by their state, `contents_most` of them; and of `first_seen_most` programs their age."""

    def __init__(self, contents_most: int, first_seen_most: int) -> None:
        self.contents: Recent[Identity, Content] = Recent(contents_most)
        self._first_seen: Recent[int, int] = Recent(first_seen_most)

    def first_seen(self, path: str, content: Content, met_ns: int) -> int:
        """Return when this content was first met at `path`, now that it is met at `met_ns`; 0 where it isn't hashed."""
        sha256 = content.hashes.get("sha256")
        if sha256 is None:
            return 0
        number = int.from_bytes(hashlib.blake2b(encode(path) + b"\0" + sha256.encode(), digest_size=8).digest())
        first = min(met_ns, self._first_seen.get(number, met_ns))
        self._first_seen.put(number, first)
        return first

    def export(self) -> bytes:
        """Return all of it."""
        return msgspec.msgpack.encode(_State(_VERSION, [*self.contents.items()], [*self._first_seen.items()]))

    def restore(self, exported: bytes) -> None:
        """Take in what `export` once gave. Raises ValueError where it can't be used."""
        try:
            state = msgspec.msgpack.decode(exported, type=_State)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
        if state.version != _VERSION:
            raise ValueError(f"version {state.version} of it isn't known")
        for identity, content in state.contents:
            self.contents.put(identity, content)
        for number, first in state.first_seen:
            self._first_seen.put(number, first)
