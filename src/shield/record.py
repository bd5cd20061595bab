"""Raw records: what a collector hands to the normalizer, the same for every source and platform.

A collector decodes its own wire format into these and adds nothing it did not see. Records of one source come in the
order things happened. A process is named by its pid and its start time in clock ticks since boot (`start_ticks`, as
in field 22 of /proc/PID/stat), which together survive pid reuse; 0 ticks means that the source does not know.
"""

from typing import Annotated

from msgspec import Meta, Struct

from shield.event import (
    Account,
    Action,
    Auth,
    Category,
    Container,
    Data,
    Dns,
    File,
    LogValue,
    Module,
    Network,
    Persistence,
    Platform,
    Privilege,
    Process,
    Severity,
    System,
    User,
)


class ProcessFork(Struct, frozen=True, gc=False):
    """A process (not a thread) was created; it runs its parent's image until it execs."""

    ts_ns: int
    pid: int
    ppid: int
    start_ticks: int = 0
    parent_start_ticks: int = 0


class ProcessExec(Struct, frozen=True, gc=False):
    """A process replaced its image. `gaps` names what the source could not see of it."""

    ts_ns: int
    process: Process
    user: User
    start_ticks: int = 0
    parent_start_ticks: int = 0
    container: Container | None = None
    gaps: tuple[str, ...] = ()


class ProcessExit(Struct, frozen=True, gc=False):
    """A process ended. `status` is a wait status (wait(2)), None where the source cannot know it.

    `execed` is false for one that never replaced its parent's image. `lifetime_ns` runs from fork to exit.
    """

    ts_ns: int
    pid: int
    ppid: int = 0
    start_ticks: int = 0
    status: int | None = None
    lifetime_ns: int | None = None
    execed: bool = True


class ProcessSnapshot(Struct, frozen=True, gc=False):
    """A process that was already running when the agent started."""

    ts_ns: int
    process: Process
    user: User
    start_ticks: int = 0
    container: Container | None = None


class Actor(Struct, frozen=True, gc=False):
    """The process that did something. `process` and `user` are what the source could read of it, if it did.

    They count only where the process's start was not seen; the normalizer knows better otherwise. `ended` says that it
    had ended when the source looked, so that its start could not be read.
    """

    pid: int
    start_ticks: int = 0
    process: Process | None = None
    user: User | None = None
    ended: bool = False


class Observation(Struct, frozen=True, gc=False):
    """Something that happened on the host, other than a process's start or end. Only the part it is about is present.

    `actor` is None where the source can't know who did it. `gaps` names what else it could not see.
    """

    ts_ns: int
    category: Category
    actor: Actor | None = None
    user: User | None = None
    container: Container | None = None
    file: File | None = None
    network: Network | None = None
    dns: Dns | None = None
    auth: Auth | None = None
    account: Account | None = None
    persistence: Persistence | None = None
    privilege: Privilege | None = None
    module: Module | None = None
    system: System | None = None
    gaps: tuple[str, ...] = ()


class LogRecord(Struct, frozen=True, gc=False):
    """One record of a log, as its reader found it, not yet interpreted.

    `provider` is who wrote it (an event provider, a daemon), `channel` the log it stands in, `code` its kind (a Windows
    event id, an audit record type). `fields` are flat and raw, by the names the log gives them; `gaps` names what the
    reader could not make out.
    """

    os: Platform
    ts_ns: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0
    host: str = ""
    provider: str = ""
    channel: str = ""
    code: str = ""
    record_id: int = 0
    message: str = ""
    fields: dict[str, LogValue] = {}
    gaps: tuple[str, ...] = ()


class RecordedEvent(Struct, frozen=True, gc=False):
    """An event that was written down earlier, by Shield or in its format; all but `category` and `data` may lack.

    What an event says of its own verdict (`action`, `score`, `rationale`)
    counts only where there is nothing to score: heartbeats, losses, responses.
    """

    category: Category
    data: Data
    ts: Annotated[int, Meta(ge=0, le=9_223_372_036)] = 0
    ts_ns: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0
    host: str = ""
    os: Platform | None = None
    event_id: str = ""
    correlation_id: str = ""
    action: Action = "ALLOW"
    score: int = 0
    rationale: str = "low_signal"
    severity: Severity = "informational"
    dedupe_key: str = ""
    evidence_complete: bool = True
    gaps: tuple[str, ...] = ()


Record = ProcessFork | ProcessExec | ProcessExit | ProcessSnapshot | Observation | LogRecord
