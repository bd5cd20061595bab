"""The event: the one record every stage of Shield speaks, and the values it is made of.

All records are frozen msgspec structs. One event is one JSON object on one line (`encode`), read back by `decode`.
Text fields made from kernel bytes follow `shield.text`: `shield.text.encode` restores the exact bytes.
The JSON Schema (`json_schema`) is generated from these classes and published with the documentation.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct, field

SCHEMA = 1

Category = Literal[
    "process_start",
    "process_exit",
    "network_connection",
    "network_flow",
    "network_listen",
    "dns_query",
    "file_create",
    "file_write",
    "file_rename",
    "file_delete",
    "file_attribute",
    "auth_success",
    "auth_failure",
    "privilege_change",
    "account_change",
    "persistence_change",
    "module_load",
    "system_change",
    "registry_change",
    "log_record",
    "response",
    "tamper",
    "heartbeat",
    "loss",
]
Action = Literal["ALLOW", "WATCH", "ALERT"]
Severity = Literal["informational", "low", "medium", "high", "critical"]
Platform = Literal["linux", "windows"]


class User(Struct, frozen=True, omit_defaults=True, gc=False):
    """Who a process runs as. Ids are numeric on Linux; `audit_id` is the login uid, unset for services."""

    id: int | None = None
    name: str = ""
    effective_id: int | None = None
    effective_name: str = ""
    group_id: int | None = None
    effective_group_id: int | None = None
    audit_id: int | None = None
    audit_name: str = ""
    audit_session: int | None = None


class Namespaces(Struct, frozen=True, omit_defaults=True, gc=False):
    """Inode numbers of a process's Linux namespaces, as `ls -l /proc/PID/ns` shows them."""

    mnt: int = 0
    pid: int = 0
    net: int = 0
    user: int = 0
    uts: int = 0
    ipc: int = 0
    cgroup: int = 0


class Container(Struct, frozen=True, omit_defaults=True, gc=False):
    """The container a process lives in: its id as the runtime names it, and the cgroup leaf it was read from.

    `runtime` is docker, podman, containerd, cri-o, lxc or systemd-nspawn. `pod_id` is the Kubernetes pod's uid; `pod`
    and `pod_namespace` are its names, where this host's files tell them.
    """

    id: str
    cgroup: str = ""
    runtime: str = ""
    pod_id: str = ""
    pod: str = ""
    pod_namespace: str = ""


class Pe(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a Windows executable says of itself in its version resource."""

    original_file_name: str = ""
    description: str = ""
    product: str = ""
    company: str = ""
    file_version: str = ""


class Provenance(Struct, frozen=True, omit_defaults=True, gc=False):
    """Where an executable comes from, and what it is.

    `package` owns its path, and `package_state` says whether the content is what that package brought: `modified` is
    not, `unowned` belongs to none, `unverified` could not be compared. `writable` says that anybody may change the file
    or a folder above it. `first_seen_ns` is when this content was first met at this path on this host.
    """

    package: str = ""
    package_version: str = ""
    package_state: Literal["", "unchanged", "modified", "unowned", "unverified"] = ""
    format: Literal["", "elf", "script", "other"] = ""
    static: bool = False
    stripped: bool = False
    packer: str = ""
    build_id: str = ""
    writable: bool = False
    first_seen_ns: int = 0


class Process(Struct, frozen=True, omit_defaults=True, gc=False):
    """One process image: what ran, from where, how, and for how long.

    `exe` is the image the kernel runs (symlinks resolved; for a script the interpreter), `invoked` the path that was
    asked for. `args` is argv as an array, `cmdline` the same joined by spaces. `args_length` is the true length of
    argv in bytes; `truncated` says that `args` holds less than that. `env` holds only a short allow-list of names.
    `hashes` are of the image, hexadecimal, by the algorithm's lower-case name. `integrity` is Windows' level (`High`).
    Times are Unix nanoseconds, lifetimes nanoseconds. `exit_code` is 128 + signal for a process ended by a signal.
    """

    pid: int
    ppid: int = 0
    entity_id: str = ""
    name: str = ""
    exe: str = ""
    invoked: str = ""
    args: tuple[str, ...] = ()
    cmdline: str = ""
    args_length: int = 0
    truncated: bool = False
    cwd: str = ""
    start_ns: int = 0
    session: int = 0
    tty: str = ""
    ns_pid: int = 0
    exe_memfd: bool = False
    exe_deleted: bool = False
    exe_mode: int = 0
    exe_owner: int | None = None
    exe_inode: int = 0
    exe_device: int = 0
    capabilities: int = 0
    cgroup_id: int = 0
    namespaces: Namespaces | None = None
    env: dict[str, str] = {}
    hashes: dict[str, str] = {}
    provenance: Provenance | None = None
    pe: Pe | None = None
    integrity: str = ""
    logon_id: str = ""
    end_ns: int = 0
    exit_code: int | None = None
    exit_signal: int | None = None
    lifetime_ns: int | None = None


class Ancestor(Struct, frozen=True, omit_defaults=True, gc=False):
    """A process above another one; `cmdline` may be shortened. `known` is false where only the pid is known."""

    pid: int
    entity_id: str = ""
    name: str = ""
    exe: str = ""
    cmdline: str = ""
    user: str = ""
    start_ns: int = 0
    known: bool = True


class Ledger(Struct, frozen=True, omit_defaults=False):
    """What became of everything one source saw, in raw records: `seen` is the sum of all the rest.

    `filtered`, `folded` and `dropped` are counts by reason; `pending` records are captured but not yet read. Of those
    that were kept, `truncated` lack something that was too long, `unattributed` the process that did it.
    """

    source: str
    seen: int = 0
    kept: int = 0
    filtered: dict[str, int] = {}
    folded: dict[str, int] = {}
    dropped: dict[str, int] = {}
    pending: int = 0
    truncated: int = 0
    unattributed: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every record seen is accounted for."""
        return self.seen == self.accounted

    @property
    def accounted(self) -> int:
        """The number of records whose fate is known."""
        reasons = (self.filtered, self.folded, self.dropped)
        return self.kept + self.pending + sum(sum(counts.values()) for counts in reasons)


class Loss(Struct, frozen=True, omit_defaults=True):
    """Records of `source` that were lost since the last such event, by reason, with what to do about it.

    Where a source was down, nobody knows how many records there were: `from_ns` and `until_ns` bound the gap.
    """

    source: str
    dropped: dict[str, int]
    remedy: str = ""
    from_ns: int = 0
    until_ns: int = 0


class Health(Struct, frozen=True, omit_defaults=True):
    """The agent about itself: CPU seconds used, resident bytes at most, event counts by category, the loss ledgers.

    `refused` names the better sources that could not be used, each with its reason. `baseline` says how far it has
    learnt. `changes` is what the agent has changed about itself since the last heartbeat: new rules, a new policy.
    """

    version: str
    uptime_s: float
    cpu_s: float
    rss_bytes: int
    source: str
    rules: int
    events: dict[str, int] = {}
    alerts: int = 0
    ledgers: tuple[Ledger, ...] = ()
    blind_spots: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    baseline: str = ""
    changes: tuple[str, ...] = ()


class Tamper(Struct, frozen=True, omit_defaults=True):
    """Something touched the agent or what it relies on."""

    what: str
    detail: str = ""


class File(Struct, frozen=True, omit_defaults=True, gc=False):
    """A file that something was done to. `old_path` is what it was called before a rename, `hashes` as in Process.

    `place` names the set of sensitive places that `path` is in. `mode` is st_mode, `owner` and `group` are numeric ids
    with their names; `old_...` is what was known of the file before. `package` owns the path; `package_manager` is the
    one that was at work when the file changed. `target` is where a symbolic link leads.
    """

    path: str
    old_path: str = ""
    hashes: dict[str, str] = {}
    size: int | None = None
    created_ns: int = 0
    place: str = ""
    mode: int | None = None
    owner: int | None = None
    owner_name: str = ""
    group: int | None = None
    group_name: str = ""
    inode: int = 0
    device: int = 0
    target: str = ""
    old_hashes: dict[str, str] = {}
    old_size: int | None = None
    old_mode: int | None = None
    old_owner: int | None = None
    old_group: int | None = None
    package: str = ""
    package_manager: str = ""


class Network(Struct, frozen=True, omit_defaults=True, gc=False):
    """A connection or a listening socket. `initiated` says that this host opened it; None where that is not known.

    The first connection of a process to a destination is told at once (`opened`). What became of it, and of all that
    followed within a window, is a `network_flow`: `count` connections `closed`, with the bytes and the time they took
    together. It is `failed` where none of them was ever established: refused, or not answered.
    """

    transport: str = ""
    source_ip: str = ""
    source_port: int = 0
    source_host: str = ""
    destination_ip: str = ""
    destination_port: int = 0
    destination_host: str = ""
    initiated: bool | None = None
    state: Literal["", "opened", "closed", "failed"] = ""
    bytes_sent: int | None = None
    bytes_received: int | None = None
    duration_ns: int | None = None
    count: int = 1


class Dns(Struct, frozen=True, omit_defaults=True, gc=False):
    """A name that was asked for, and what came back. `type` is that of the question (`A`, `AAAA`, `TXT`)."""

    query: str
    answers: tuple[str, ...] = ()
    status: str = ""
    type: str = ""


class Auth(Struct, frozen=True, omit_defaults=True, gc=False):
    """How somebody proved who they are, or failed to. Where they came from is `network`, who they became is `user`.

    `service` is the program that asked (sshd, sudo, su, login), `method` password, publickey and so on. `by_user` is
    who became another, `command` what sudo was asked to run.
    """

    service: str = ""
    method: str = ""
    key_type: str = ""
    key_fingerprint: str = ""
    by_user: str = ""
    tty: str = ""
    command: str = ""
    reason: str = ""


class Account(Struct, frozen=True, omit_defaults=True, gc=False):
    """A change to who may use this host. `member` joined or left the group `name`; `old` and `new` are never secrets.

    `privileged` says that the account is, or the group gives, root's power: uid 0, sudo, wheel, docker and the like.
    """

    kind: Literal["user", "group", "membership", "sudoers"]
    name: str
    change: Literal[
        "added",
        "removed",
        "password",
        "locked",
        "unlocked",
        "shell",
        "home",
        "id",
        "member_added",
        "member_removed",
        "changed",
    ]
    id: int | None = None
    member: str = ""
    old: str = ""
    new: str = ""
    privileged: bool = False
    duplicate_of: str = ""


class Persistence(Struct, frozen=True, omit_defaults=True, gc=False):
    """Something that makes a program run again by itself. `mechanism` is cron, systemd_service, ssh_key and so on.

    `name` tells several in one file apart, `command` is what it runs, `trigger` when, `run_as` as whom. `diff` is what
    changed in its file, as a unified diff without secrets. `first_seen_ns` is when this host's inventory first had it.
    """

    mechanism: str
    path: str
    change: Literal["", "added", "changed", "removed"] = ""
    name: str = ""
    command: str = ""
    trigger: str = ""
    run_as: str = ""
    owner: str = ""
    package: str = ""
    package_state: str = ""
    hashes: dict[str, str] = {}
    old_hashes: dict[str, str] = {}
    diff: str = ""
    first_seen_ns: int = 0


class Privilege(Struct, frozen=True, omit_defaults=True, gc=False):
    """Power that a running process gained, or took over another process: `target_...` is who it traces."""

    kind: Literal["user_id", "group_id", "capabilities", "ptrace"]
    old_id: int | None = None
    new_id: int | None = None
    old_name: str = ""
    new_name: str = ""
    gained: tuple[str, ...] = ()
    target_pid: int = 0
    target_name: str = ""
    target_exe: str = ""
    target_user: str = ""


class Module(Struct, frozen=True, omit_defaults=True, gc=False):
    """Code that was loaded into the kernel. `type` is a BPF program's, such as `tracing` or `kprobe`."""

    kind: Literal["kernel_module", "bpf_program"]
    name: str
    id: int = 0
    type: str = ""
    size: int = 0
    taints: str = ""


class System(Struct, frozen=True, omit_defaults=True, gc=False):
    """The host itself changed, or is not as it seems. `path` is the mount point or the program that this is about.

    `source` is what was mounted, `type` its file system; `old_options` are those before a remount. `shift_ns` is how
    far the clock was set ahead.
    """

    kind: Literal["mount", "unmount", "remount", "clock_set", "hidden_process", "deleted_program", "memory_program"]
    path: str = ""
    source: str = ""
    type: str = ""
    options: str = ""
    covers: str = ""
    shift_ns: int = 0
    old_options: str = ""


class Registry(Struct, frozen=True, omit_defaults=True, gc=False):
    """A key or value of the Windows registry: `path` ends with the value's name, `data` is what was written to it."""

    path: str
    data: str = ""
    old_path: str = ""


LogScalar = str | int | float | bool
LogValue = LogScalar | tuple[LogScalar, ...]


class Log(Struct, frozen=True, omit_defaults=True, gc=False):
    """The record of a log that an event was read from, in the log's own words.

    `product`, `service` and `category` are Sigma's log source, `""` where it has no name for it. `fields` are by the
    names that the log gives them, which are those that Sigma rules about it use; `message` is its text.
    """

    product: str
    service: str = ""
    category: str = ""
    provider: str = ""
    channel: str = ""
    code: str = ""
    record_id: int = 0
    message: str = ""
    fields: dict[str, LogValue] = {}


class Data(Struct, frozen=True, omit_defaults=True, gc=False):
    """What an event is about; only the parts that apply are present."""

    process: Process | None = None
    parent: Ancestor | None = None
    ancestors: tuple[Ancestor, ...] = ()
    user: User | None = None
    container: Container | None = None
    file: File | None = None
    network: Network | None = None
    dns: Dns | None = None
    registry: Registry | None = None
    auth: Auth | None = None
    account: Account | None = None
    persistence: Persistence | None = None
    privilege: Privilege | None = None
    module: Module | None = None
    system: System | None = None
    log: Log | None = None
    loss: Loss | None = None
    health: Health | None = None
    tamper: Tamper | None = None


class Evidence(Struct, frozen=True, omit_defaults=True, gc=False):
    """A field that made a rule match: its value (shortened around the match) and the pattern that was found in it."""

    field: str
    value: str
    pattern: str


class Signal(Struct, frozen=True, omit_defaults=True, gc=False):
    """One reason for a score: a rule that matched, its points, and the field and text that made it match.

    `name` is what the rationale shows. `field`, `value` and `pattern` are the most telling evidence, `further` is the
    rest. In `story`, `event_id` names the earlier event the signal was seen on, and `full_points` what it gave there
    where `points`, what is left of them, is less.
    """

    rule_id: str
    name: str
    points: int
    title: str = ""
    level: Severity = "informational"
    field: str = ""
    value: str = ""
    pattern: str = ""
    further: tuple[Evidence, ...] = ()
    attack: tuple[str, ...] = ()
    event_id: str = ""
    full_points: int = 0


class Event(Struct, frozen=True, gc=False):
    """One observation with its verdict.

    The first ten fields never change their meaning. `ts` is Unix seconds and `ts_ns` nanoseconds, UTC, of when it
    happened. `alert_id` is the event that opened the alert this one belongs to: its own id, or for an update an earlier
    one. `seq` counts every event an agent run writes, from 1, without a gap. `signals` are this event's own
    reasons, `story` those carried over from earlier events with the same `correlation_id`. `evidence_complete` is
    false where a loss, a truncation or an unknown ancestor leaves a gap in what the verdict rests on.
    """

    ts: int
    host: str
    category: Category
    action: Action
    score: int
    rationale: str
    data: Data
    policy_version: str
    dedupe_key: str
    correlation_id: str
    schema: int = SCHEMA
    event_id: str = ""
    ts_ns: int = 0
    agent_id: str = ""
    seq: int = 0
    os: Platform = "linux"
    severity: Severity = "informational"
    attack: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()
    story: tuple[Signal, ...] = ()
    alert_id: str = ""
    evidence_complete: bool = True
    gaps: tuple[str, ...] = field(default=())


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """Return `event` as one line of JSON, without the newline."""
    return _encoder.encode(event)


def decode(line: bytes | str) -> Event:
    """Return the event on `line`.

    Raises msgspec.ValidationError (with the path of the field at fault) or msgspec.DecodeError.
    """
    return _decoder.decode(line)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an event."""
    return msgspec.json.schema(Event)


def uuid7(unix_ms: int, random_bits: int) -> str:
    """Return a version 7 UUID (RFC 9562, section 5.7) of a time and 74 random bits; the caller owns the randomness."""
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031  half the time of an f-string, and every event has one
        unix_ms >> 16 & 0xFFFF_FFFF,
        unix_ms & 0xFFFF,
        random_bits >> 62 & 0xFFF,
        0x8000 | random_bits >> 48 & 0x3FFF,
        random_bits & 0xFFFF_FFFF_FFFF,
    )
