"""What a host is to be watched for, and how: the same options for every platform, which takes what it knows."""

from collections.abc import Mapping

from msgspec import Struct

from shield.collector.source import Kind

ALL: frozenset[Kind] = frozenset(
    ("process", "network", "dns", "file", "identity", "account", "persistence", "privilege", "kernel")
)


class SourceOptions(Struct, frozen=True):
    """Of which kinds of telemetry there should be any, and the sizes and places of their sources.

    `ring_bytes` is the kernel's buffer, `args_limit` how many bytes of argv are kept, `poll_seconds` the time between
    polls of processes. `places` and `exclude` are globs of files (collector/linux), `logs` the text logs of logins,
    where not the usual ones. Larger files than `hash_bytes`, and larger programs than `program_bytes`, aren't hashed.
    """

    kinds: frozenset[Kind] = ALL
    ring_bytes: int = 1 << 24
    args_limit: int = 1 << 17
    poll_seconds: float = 1.0
    places: Mapping[str, tuple[str, ...]] = {}
    exclude: tuple[str, ...] = ()
    hash_bytes: int = 16 << 20
    logs: tuple[str, ...] = ()
    program_bytes: int = 256 << 20
