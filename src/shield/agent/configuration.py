"""The agent's configuration: one YAML file, every key optional. What it may do is not here but in the policy."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from shield.policy.document import read

_MIB = 1 << 20

PathText = Annotated[str, Meta(pattern=r"^[^\x00]+$")]


class SourceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where events come from. `use: auto` takes the best source this host offers."""

    use: Literal["auto", "ebpf", "audit", "connector", "psutil"] = "auto"
    ring_bytes: Annotated[int, Meta(ge=4096, le=1 << 30)] = 16 * _MIB
    args_limit: Annotated[int, Meta(ge=4096, le=1 << 18)] = 1 << 17
    poll_seconds: Annotated[float, Meta(gt=0, le=3600)] = 1.0

    def __post_init__(self) -> None:
        if self.ring_bytes & (self.ring_bytes - 1):
            raise ValueError(f"ring_bytes must be a power of two, such as {16 * _MIB}, not {self.ring_bytes}")


class NetworkSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Connections, ports and DNS. Connections of one process to one destination within `fold_seconds` are folded."""

    enabled: bool = True
    fold_seconds: Annotated[int, Meta(ge=1, le=3600)] = 60


class FileSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Changes in sensitive places. `places` adds sets of globs, or replaces the built-in one of that name; an empty one
    is not watched. `exclude` are globs of what is not told. Larger files than `hash_bytes` are not hashed.
    """

    enabled: bool = True
    places: dict[str, tuple[PathText, ...]] = {}
    exclude: tuple[PathText, ...] = ()
    hash_bytes: Annotated[int, Meta(ge=0, le=1 << 30)] = 16 * _MIB


class IdentitySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Logins and accounts. `logs` are the text logs to follow where there is no journal; empty means the usual ones."""

    enabled: bool = True
    logs: tuple[PathText, ...] = ()


class PersistenceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What makes programs run by themselves."""

    enabled: bool = True


class KernelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Privileges that processes gain, and what changes in the kernel, its mounts and its clock."""

    enabled: bool = True


class ProvenanceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Hash, package and kind of every program that starts. Larger ones than `max_bytes` are not looked into."""

    enabled: bool = True
    max_bytes: Annotated[int, Meta(ge=0, le=1 << 34)] = 256 * _MIB


class OutputSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where events go, and when files are rotated, deleted and forced to disk."""

    path: PathText | None = None
    rotate_bytes: Annotated[int, Meta(ge=4096)] | None = 64 * _MIB
    rotate_hours: Annotated[int, Meta(ge=1)] | None = 24
    keep_files: Annotated[int, Meta(ge=1)] | None = 16
    keep_days: Annotated[int, Meta(ge=1)] | None = 30
    fsync: Literal["never", "interval", "always"] = "interval"
    fsync_seconds: Annotated[float, Meta(gt=0, le=3600)] = 1.0


class YaraSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which YARA rules files are scanned with, and within which bounds; `queue` files may wait for it."""

    rules: tuple[PathText, ...] = ()
    max_bytes: Annotated[int, Meta(ge=1, le=1 << 30)] = 32 * _MIB
    timeout_seconds: Annotated[int, Meta(ge=1, le=600)] = 10
    queue: Annotated[int, Meta(ge=1, le=65_536)] = 1024


class BudgetSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the host the agent may use, of one core and resident, before it gives up quiet events."""

    cpu_percent: Annotated[float, Meta(gt=0, le=100)] = 30.0
    memory_mib: Annotated[int, Meta(ge=64, le=65_536)] = 256


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `policy` and `rules` are paths; the built-in ones are used where they lack.

    `state` is the folder of what the agent remembers from one run to the next; null is the usual place.
    `self_test_hours` is how often it tests itself; null is never.
    """

    source: SourceSettings = SourceSettings()
    network: NetworkSettings = NetworkSettings()
    files: FileSettings = FileSettings()
    identity: IdentitySettings = IdentitySettings()
    persistence: PersistenceSettings = PersistenceSettings()
    kernel: KernelSettings = KernelSettings()
    provenance: ProvenanceSettings = ProvenanceSettings()
    output: OutputSettings = OutputSettings()
    policy: PathText | None = None
    rules: tuple[PathText, ...] = ()
    indicators: tuple[PathText, ...] = ()
    yara: YaraSettings = YaraSettings()
    state: PathText | None = None
    budget: BudgetSettings = BudgetSettings()
    self_test_hours: Annotated[float, Meta(gt=0, le=8760)] | None = 1.0
    heartbeat_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60


def load(text: bytes, name: str) -> Configuration:
    """Return the configuration in `text`; `name` is the file's. Raises shield.policy.document.DocumentError."""
    return read(text, Configuration, name)


def example() -> str:
    """Return every key with its default, as YAML."""
    return msgspec.yaml.encode(Configuration()).decode()
