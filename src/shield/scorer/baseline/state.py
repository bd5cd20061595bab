"""The baseline as bytes: a line that names the format, a digest, and what is remembered as MessagePack.

    shield-baseline 1\n + 32 bytes BLAKE2b of the rest + the rest

The digest finds damage, not forgery: whoever can write the file could write another digest too.
"""

import hashlib
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta, Struct

from shield.scorer.baseline.clock import Clock
from shield.scorer.baseline.lessons import Lesson
from shield.scorer.baseline.observation import Kind, Subject
from shield.scorer.baseline.quarantine import Held
from shield.scorer.baseline.table import Seen

VERSION = 1
_NAME = b"shield-baseline "
_HEAD = _NAME + b"%d\n" % VERSION
_DIGEST_BYTES = 32

_Count = Annotated[int, Meta(ge=0)]


class BaselineDamaged(ValueError):
    """A stored baseline can't be used. The text says what is wrong with it, and what to do."""


class State(Struct, frozen=True):
    """All that a baseline remembers."""

    clock: Clock
    tables: dict[Kind, list[tuple[Subject, Seen]]]
    held: list[Held]
    tainted: dict[str, int]
    lessons: list[Lesson]
    dropped: dict[str, _Count]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def pack(state: State) -> bytes:
    """Return `state` as bytes."""
    body = _encoder.encode(state)
    return _HEAD + _digest(body) + body


def unpack(stored: bytes) -> State:
    """Return the state that `pack` made `stored` from. Raises BaselineDamaged."""
    if not stored.startswith(_HEAD):
        _refuse_head(stored)
    digest, body = stored[len(_HEAD) :][:_DIGEST_BYTES], stored[len(_HEAD) + _DIGEST_BYTES :]
    if digest != _digest(body):
        _refuse("it was cut short or changed: its digest does not fit")
    try:
        state = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        _refuse(str(error))
    fault = _fault(state)
    return _refuse(fault) if fault else state


def _fault(state: State) -> str:
    """Return what can't be in a state that is well-formed."""
    day, clock = state.clock.day, state.clock
    if min(day, clock.elapsed_ns, clock.latest_ns, clock.doubted_ns, clock.doubted_for_ns) < 0:
        return "its clock stands before the beginning"
    seen = (entry for table in state.tables.values() for _, entry in table)
    if not all(1 <= entry.days <= day and 0 <= entry.last <= day for entry in seen):
        return "something was seen on more days than there were"
    subjects = [subject for table in state.tables.values() for subject, _ in table]
    subjects += [record.subject for record in (*state.held, *state.lessons)]
    return "" if all(subjects) else "something in it has no name"


def _refuse_head(stored: bytes) -> NoReturn:
    if stored.startswith(_NAME):
        version = stored[len(_NAME) : len(_NAME) + 8].partition(b"\n")[0].decode("ascii", "replace")
        _refuse(f"it is of version {version!r}, this Shield reads version {VERSION}")
    _refuse("this is no baseline")


def _refuse(problem: str) -> NoReturn:
    raise BaselineDamaged(f"{problem}; remove it, and the baseline begins to learn anew")


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
