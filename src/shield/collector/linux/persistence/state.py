"""What is remembered of each file from one look to the next, and from one run to the next.

Contents are kept without secrets, and only of text files small enough that a difference can be told.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from shield.collector.linux.persistence.item import Entry
from shield.collector.linux.persistence.place import Found
from shield.redaction import redact
from shield.text import decode

KEPT_AS = "persistence"
"""What the file is called in the agent's state folder."""

TEXT_MOST = 1 << 15
"""So much of a file's text is kept, in characters."""
_VERSION = 1


class Kept(Struct, frozen=True, gc=False, array_like=True):
    """A file as it was: `entries` with the time each was first seen, Unix ns."""

    mechanism: str
    path: str
    user: str
    stamp: tuple[int, ...]
    sha256: str
    target: str
    size: int
    mode: int
    uid: int
    gid: int
    text: str
    entries: tuple[Entry, ...]
    first_seen_ns: tuple[int, ...]

    @property
    def changed_ns(self) -> int:
        """When it changed last by st_ctime, Unix ns, which nobody can set back without the clock."""
        return self.stamp[3] if len(self.stamp) > 3 else 0

    @property
    def content(self) -> tuple[object, ...]:
        """What a change of the file changes."""
        return self.sha256, self.target, self.mode, self.uid, self.gid


class State(Struct, frozen=True, array_like=True):
    """All that is remembered, at `saved_ns`, of the places with these patterns."""

    version: int
    saved_ns: int
    patterns: list[str]
    files: list[Kept]

    def first_seen(self) -> dict[tuple[str, Entry], int]:
        """Return when each entry was first seen, Unix ns, by its file's path and itself."""
        return {
            (one.path, each): since
            for one in self.files
            for each, since in zip(one.entries, one.first_seen_ns, strict=True)
        }


class StateDamaged(ValueError):
    """A stored state can't be used; the text says why."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def pack(files: Iterable[Kept], patterns: Iterable[str], saved_ns: int) -> bytes:
    """Return the state as bytes (MessagePack)."""
    return _encoder.encode(State(_VERSION, saved_ns, sorted(set(patterns)), list(files)))


def unpack(stored: bytes) -> State:
    """Return the state that `pack` made `stored` from. Raises StateDamaged."""
    try:
        state = _decoder.decode(stored)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateDamaged(f"it can't be read: {error}") from None
    if state.version != _VERSION:
        raise StateDamaged(f"it is of version {state.version}, this Shield reads version {_VERSION}")
    if any(len(one.entries) != len(one.first_seen_ns) for one in state.files):
        raise StateDamaged("an entry in it has no time")
    return state


def text_of(found: Found) -> str:
    """Return what is kept of a file's content: its beginning, without secrets; nothing of a program."""
    content = found.content[: TEXT_MOST * 2]
    return "" if b"\0" in content else redact(decode(content), TEXT_MOST)


def keep(mechanism: str, found: Found, entries: tuple[Entry, ...], before: Kept | None, now_ns: int) -> Kept:
    """Return what is to be remembered of a file; an entry that was there `before` keeps its time."""
    since = dict(zip(before.entries, before.first_seen_ns, strict=True)) if before else {}
    return Kept(
        mechanism=mechanism,
        path=found.path,
        user=found.user,
        stamp=found.stamp,
        sha256=found.sha256,
        target=found.target,
        size=found.size,
        mode=found.mode,
        uid=found.uid,
        gid=found.gid,
        text=text_of(found),
        entries=entries,
        first_seen_ns=tuple(since.get(one, now_ns) for one in entries),
    )
