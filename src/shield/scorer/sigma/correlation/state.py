"""The state of correlations between two runs of the agent: what is written down, and when it is refused."""

import hashlib

import msgspec
from msgspec import Struct

from shield.scorer.sigma.correlation.group import Kept
from shield.scorer.sigma.correlation.rule import Correlation

_MAGIC = b"shield correlations "
_VERSION = b"1\n"
_DIGEST_BYTES = 32


class StateRefused(ValueError):
    """A state that was written down can't be used; the text says why."""


class State(Struct, frozen=True):
    """The groups of each correlation, by the correlation's `identity`."""

    groups: dict[str, list[Kept]]


def write(state: State) -> bytes:
    """Return `state` as `read` takes it: a head with the version, a BLAKE2b digest, and MessagePack."""
    return sealed(state)


def sealed(content: object) -> bytes:
    """Return `content` under the head and the digest of a state."""
    body = _encoder.encode(content)
    return _MAGIC + _VERSION + _digest(body) + body


def read(written: bytes) -> State:
    """Return the state that was written. Raises StateRefused."""
    head = _MAGIC + _VERSION
    if not written.startswith(_MAGIC):
        raise StateRefused("this is no state of correlations; they begin anew")
    if not written.startswith(head):
        raise StateRefused("this state was written by another version of Shield; correlations begin anew")
    digest, body = written[len(head) :][:_DIGEST_BYTES], written[len(head) + _DIGEST_BYTES :]
    if digest != _digest(body):
        raise StateRefused("this state is damaged; correlations begin anew")
    try:
        state = _decoder.decode(body)
    except msgspec.DecodeError as error:  # ValidationError is one
        raise StateRefused(f"this state is damaged ({error}); correlations begin anew") from None
    if not all(_is_whole(kept) for groups in state.groups.values() for kept in groups):
        raise StateRefused("this state is damaged (times and events differ); correlations begin anew")
    return state


def identity(correlation: Correlation) -> str:
    """Return a digest of all that decides which events count in which group; titles and points don't."""
    decisive = msgspec.structs.replace(
        correlation,
        name="",
        title="",
        level="informational",
        attack=(),
        points=None,
        next="",
        description="",
        falsepositives=(),
        status="",
        source="",
    )
    return hashlib.blake2b(_deterministic.encode(decisive), digest_size=16).hexdigest()


def _is_whole(kept: Kept) -> bool:
    return bool(kept.times) and len(kept.times) == len(kept.sightings)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


_encoder = msgspec.msgpack.Encoder()
_deterministic = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(State)
