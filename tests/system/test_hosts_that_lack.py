"""Hosts that lack something: Shield starts, says what it can't use and what would mend it, and works with the rest.

Each host is this one, in namespaces of the test's own: what is hidden, read-only or full there is so nowhere else.
"""

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from shield.collector.linux.process.audit_control import AuditControl

SHIELD = Path(sys.executable).with_name("shield")
NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs"
STRANGER = "env -u HOME setpriv --reuid 54321 --regid 54321 --clear-groups --no-new-privs"
BESIDE_THE_AGENT = "2.60417"  # seconds that a process sleeps, which no other here does
CONTAINER = "unshare --user --map-root-user --mount --net --pid --fork --mount-proc"
OWN_PROC = "mount -t proc -o {} proc /proc"

pytestmark = [pytest.mark.system, pytest.mark.live]


class Host(Struct, frozen=True):
    """What a host is like, and what Shield must say of it.

    `setup` is run by root's shell in a mount namespace of its own, or in these `namespaces`, and `as_user` before each
    command. `refused` has for each source that can't be used a part of the reason, `lacks` parts of blind spots.
    """

    setup: tuple[str, ...] = ()
    as_user: str = ""
    namespaces: tuple[str, ...] = ("--mount",)
    refused: dict[str, str] = {}
    used: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    config: dict[str, Any] = {}


NOT_ROOT = {
    "ebpf": "only root may load BPF programs",
    "audit": "audit is not permitted here",
    "connector": "the process events connector is not permitted",
    "fanotify": "only root may watch whole file systems",
    "credentials": "the process events connector is not permitted",
}
CONTAINED = {**NOT_ROOT, "ebpf": "a pid namespace of its own"}
POLLED = ("psutil", "sock_diag", "inotify", "identity", "accounts", "persistence", "kernel")
NO_TYPES = {"ebpf": "the kernel does not describe its types"}
BLIND = ("DNS questions are not seen",)

HOSTS = {
    "nobody": Host(as_user=NOBODY, refused=NOT_ROOT, used=POLLED, lacks=BLIND),
    "a user that passwd does not know, without a home": Host(as_user=STRANGER, refused=NOT_ROOT, used=POLLED),
    "an unprivileged container": Host(as_user=f"{NOBODY} {CONTAINER}", refused=CONTAINED, used=POLLED, lacks=BLIND),
    "a container whose root is the host's": Host(as_user=CONTAINER, refused=CONTAINED, used=POLLED, lacks=BLIND),
    "a container without inotify": Host(
        as_user=f"{CONTAINER} sh -c 'echo 0 >/proc/sys/user/max_inotify_instances; exec \"$@\"' sh",
        refused={"inotify": "Too many open files"},
        used=("psutil", "accounts", "persistence"),
        lacks=("The kernel gives no inotify instance",),
    ),
    "a pid namespace of its own": Host(
        namespaces=("--mount", "--pid", "--fork", "--mount-proc"),
        refused={"ebpf": "a pid namespace of its own", "connector": "no process events connector answers"},
        used=("psutil", "sock_diag", "fanotify"),
    ),
    "nobody, who sees only his own processes": Host(
        (OWN_PROC.format("hidepid=2"),), NOBODY, ("--mount", "--pid", "--fork"), NOT_ROOT, POLLED
    ),
    "nobody, who may not look at others' processes": Host(
        (OWN_PROC.format("hidepid=1"),), NOBODY, ("--mount", "--pid", "--fork"), NOT_ROOT, POLLED
    ),
    "proc with nothing but processes": Host(
        (OWN_PROC.format("subset=pid"),), NOBODY, ("--mount", "--pid", "--fork"), NOT_ROOT, POLLED
    ),
    "no proc": Host(
        ("mount -t tmpfs none /proc",),
        refused={"fanotify": "the mounts can't be read", "kernel": "No such file or directory"},
        used=("ebpf", "inotify", "persistence"),
    ),
    "no sys": Host(("mount -t tmpfs none /sys",), refused=NO_TYPES, used=("audit", "sock_diag", "fanotify")),
    "no BTF": Host(
        (': >"$PLACE/empty"', 'mount --bind "$PLACE/empty" /sys/kernel/btf/vmlinux'),
        refused=NO_TYPES,
        used=("audit", "sock_diag", "fanotify", "credentials"),
        lacks=BLIND,
    ),
    "read-only etc, state and caches": Host(
        tuple(
            f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
            for folder in ("/etc", '"$SHIELD_STATE"', '"$SHIELD_CACHE"', '"$SHIELD_RUNTIME"')
        ),
        used=("ebpf", "fanotify", "persistence"),
    ),
    "full disks for state and caches": Host(
        tuple(
            f"mount -t tmpfs -o size=64k none {folder} && {{ cat /dev/zero >{folder}/fill || true; }} 2>/dev/null"
            for folder in ('"$SHIELD_STATE"', '"$SHIELD_CACHE"', '"$SHIELD_RUNTIME"')
        ),
        used=("ebpf", "fanotify", "persistence"),
    ),
    "no logs": Host(
        ("mount -t tmpfs none /var/log", "mount -t tmpfs none /run"),
        used=("ebpf", "identity"),
        lacks=("There is no text log of logins", "login_records can't be read: there is neither wtmp nor btmp"),
    ),
    "no folder for logs, no packages": Host(
        ("mount -t tmpfs none /var", "mount -t tmpfs none /run"),
        refused={"identity": "there is no directory for logs"},
        used=("ebpf", "accounts"),
    ),
    "an empty etc": Host(
        ("mount -t tmpfs none /etc",),
        refused={"accounts": "there is no /etc/passwd"},
        used=("ebpf", "fanotify", "persistence"),
    ),
    "nothing asked for but processes": Host(
        used=("ebpf",),
        config={
            **{part: {"enabled": False} for part in ("network", "files", "identity", "persistence", "kernel")},
            "provenance": {"enabled": False},
        },
    ),
}
"""By name; each is one thing that real hosts lack."""


RULE = """
title: A program in a folder of nobody's
id: 3b9c9b8e-4a52-4c6e-9a1a-2a1a1a1a1a1b
level: high
logsource: {category: process_creation}
detection: {place: {Image|startswith: /nowhere/}, condition: place}
"""


@pytest.fixture(params=HOSTS.values(), ids=HOSTS.keys())
def host(request: pytest.FixtureRequest) -> Host:
    """One host after the other."""
    return request.param


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may use, with places for what Shield keeps."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="shield-test-") as folder:
        for each in (folder, *(f"{folder}/{name}" for name in ("state", "cache", "run"))):
            Path(each).mkdir(exist_ok=True)
            Path(each).chmod(0o777)
        yield Path(folder)


@pytest.fixture(autouse=True)
def _left_as_it_was() -> Iterator[None]:
    """What Shield changes in the kernel is as it was before; the mounts are, for no namespace here shares them."""
    before = audit(), Path("/proc/self/mountinfo").read_text()
    if before[0][0]:
        pytest.skip("an audit daemon is running on this host")
    yield
    assert (audit(), Path("/proc/self/mountinfo").read_text()) == before


def audit() -> tuple[object, ...]:
    control = AuditControl()
    try:
        status = control.status()
        rules = sorted(rule.raw for rule in control.rules())
        return status.pid, status.enabled, status.backlog_limit, status.backlog_wait_time, rules
    finally:
        control.close()


def readable_by_all(path: Path) -> Iterator[str]:
    """Yield commands that let everybody walk to `path`: of a folder that is private, only the way to it stays."""
    for folder in reversed(path.resolve().parents):
        if not folder.stat().st_mode & 0o001:
            way, held = shlex.quote(str(path.resolve())), '"$PLACE/way"'
            yield f"mkdir -p {held} && mount --bind {way} {held}"
            yield f"mount -t tmpfs -o mode=755 none {shlex.quote(str(folder))} && mkdir -p {way}"
            yield f"mount --move {held} {way}"
            return


def command(host: Host, place: Path, *arguments: str | Path, beside: str = "") -> list[str]:
    """Return the command that runs Shield on that host, with `beside` in its background."""
    ways = [step for path in (Path(sys.base_prefix), SHIELD.parents[2]) for step in readable_by_all(path)]
    environment = {
        "PLACE": str(place),
        "SHIELD_STATE": f"{place}/state",
        "SHIELD_CACHE": f"{place}/cache",
        "SHIELD_RUNTIME": f"{place}/run",
    }
    script = ["set -e", *(ways if host.as_user else ()), *host.setup, 'cd "$PLACE"']
    both = f'{{ {beside} }} >/dev/null 2>&1 & exec "$@"' if beside else 'exec "$@"'
    script.append(f'exec {host.as_user} sh -c {shlex.quote(both)} sh "$@"')
    variables = [f"{name}={value}" for name, value in environment.items()]
    unshare = ["unshare", *host.namespaces, "--propagation", "private", "--"]
    return ["env", *variables, *unshare, "sh", "-c", "\n".join(script), "sh", str(SHIELD), *map(str, arguments)]


def shield(host: Host, place: Path, *arguments: str | Path, beside: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(host, place, *arguments, beside=beside), capture_output=True, text=True, check=False, timeout=90
    )
    if "unshare: " in done.stderr:
        pytest.skip(f"this kernel does not give such namespaces: {done.stderr.strip()}")
    assert "Traceback" not in done.stderr
    return done


def watched(host: Host, place: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return what `shield run` says and writes while a process starts beside it."""
    config, output = place / "shield.json", place / "events.jsonl"
    config.write_text(json.dumps({**host.config, "self_test_hours": None, "rules": [str(place / "rule.yml")]}))
    (place / "rule.yml").write_text(RULE)
    # It begins when the agent watches, and lives for longer than there is between two polls.
    beside = f"for _ in $(seq 400); do [ ! -s {output} ] || {{ sleep {BESIDE_THE_AGENT}; break; }}; sleep 0.05; done;"
    options = [
        "--no-console",
        "--config",
        config,
        "--output",
        output,
        "--duration",
        "3" if "psutil" in host.used else "1.5",
    ]
    done = shield(host, place, "run", *options, beside=beside)
    assert done.returncode == 0, done.stderr
    return done.stderr, [json.loads(line) for line in output.read_text().splitlines()]


def seen(events: list[dict[str, Any]]) -> int:
    """Return how often the start of the process beside the agent was told."""
    starts = [event["data"]["process"] for event in events if event["category"] == "process_start"]
    return [process.get("args") for process in starts].count(["sleep", BESIDE_THE_AGENT])


def test_it_starts_says_what_it_lacks_and_works_with_the_rest(host: Host, place: Path) -> None:
    said, events = watched(host, place)
    greeting, *rest = [line for line in said.splitlines() if not line.startswith("shield: ")]
    used = greeting.partition(" through ")[2].partition(". Alert-only")[0].split(", ")
    assert set(host.used) <= set(used)
    refusals = [line.removeprefix("  not ") for line in rest if line.startswith("  not ")]
    for source, reason in host.refused.items():
        assert any(source in line.partition(":")[0] and reason in line for line in refusals), (source, refusals)
    assert all("; " in line for line in refusals)
    assert not {source for source in host.refused if source in used}
    assert "OUT OF BALANCE" not in said

    health = [event["data"]["health"] for event in events if event["category"] == "heartbeat"]
    assert len(health) == 2
    assert health[-1].get("refused", []) == refusals
    for part in host.lacks:
        assert any(part in spot for spot in health[-1]["blind_spots"]), health[-1]["blind_spots"]
    assert all(health[-1]["blind_spots"])

    assert seen(events) == 1
    assert not [event for event in events if event["category"] == "tamper"]
    for folder in ("run", "self-test"):
        assert list((place / folder).glob("*")) == []


def test_doctor_tells_the_same_before_anything_runs(host: Host, place: Path) -> None:
    done = shield(host, place, "doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode in (0, 1)
    sources = {source["source"]: source for source in report["sources"]}
    for source, reason in host.refused.items():
        assert reason in sources[source]["reason"]
    assert all(source["works"] or (source["reason"] and source["remedy"]) for source in sources.values())
    assert set(report["used"].values()) <= {name for name, source in sources.items() if source["works"]}
    assert set(host.used) <= {name for name, source in sources.items() if source["works"]}
    assert not host.refused or done.returncode == 1


@pytest.mark.parametrize(
    "name",
    [
        "nobody",
        "an unprivileged container",
        "proc with nothing but processes",
        "no BTF",
        "full disks for state and caches",
    ],
)
def test_what_is_watched_arrives_and_what_is_not_is_named(name: str, place: Path) -> None:
    done = shield(HOSTS[name], place, "doctor", "--self-test")
    assert done.returncode == 0, done.stdout
    told = dict(line.split(maxsplit=1) for line in done.stdout.split("\n\n")[0].splitlines())
    assert "arrived" in told["process"]
    assert "arrived" in told["file"]
    assert {"dns", "network", "identity", "account", "persistence", "privilege", "kernel"} <= told.keys()
    assert list(place.rglob("shield-*")) == []


@contextmanager
def audit_daemon(enabled: int) -> Iterator[int]:
    """Hold the audit daemon's role, with auditing switched on or off, and then give it up; gives the holder's pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", AUDIT_DAEMON, str(enabled)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        yield process.pid
    finally:
        process.communicate()


AUDIT_DAEMON = """
import select, sys
from shield.collector.linux.process.audit_control import NETLINK_AUDIT, AuditControl, take_role
from shield.collector.linux.netlink import open_socket
events, control = open_socket(NETLINK_AUDIT, buffer_bytes=1 << 25), AuditControl()
before = control.status().enabled
take_role(events)
control.change(enabled=int(sys.argv[1]))
print(control.status().pid, flush=True)
while sys.stdin not in select.select([events, sys.stdin], [], [])[0]:
    events.recv(65536)
control.change(enabled=before)
control.change(pid=0)
"""


def test_beside_an_audit_daemon_it_reads_copies_and_leaves_the_role_alone(place: Path) -> None:
    with audit_daemon(enabled=1) as pid:
        before = audit()
        said, events = watched(HOSTS["no BTF"], place)
        assert audit() == before
        assert before[0] == pid
    assert "through audit, sock_diag" in said
    assert seen(events) == 1


def test_where_the_audit_daemon_has_auditing_switched_off_it_says_so_and_uses_the_next_source(place: Path) -> None:
    with audit_daemon(enabled=0) as pid:
        said, events = watched(HOSTS["no BTF"], place)
    assert "through connector, sock_diag" in said
    assert f"  not audit: the audit daemon (pid {pid}) has auditing switched off; run `auditctl -e 1`" in said
    assert seen(events) == 1


def test_a_configuration_that_may_not_be_read_is_refused_in_words(place: Path) -> None:
    host = Host(("mount -t tmpfs none /etc", "mkdir -m 700 /etc/shield", "touch /etc/shield/shield.yml"), NOBODY)
    done = shield(host, place, "run", "--duration", "0")
    assert done.returncode == 2
    assert done.stderr.startswith("shield: /etc/shield/shield.yml: can't be read: Permission denied; ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_nothing_of_it_stays_in_the_kernel(number: signal.Signals, place: Path) -> None:
    output = place / "events.jsonl"
    environment = {**os.environ, "SHIELD_STATE": f"{place}/state", "SHIELD_RUNTIME": f"{place}/run"}
    process = subprocess.Popen(
        [SHIELD, "run", "--no-console", "--output", output], stderr=subprocess.DEVNULL, env=environment
    )
    try:
        until((place / "run" / "status.json").exists)
        programs, children = bpf_programs(process.pid), children_of(process.pid)
    finally:
        process.send_signal(number)
        process.wait(20)
    assert process.returncode == (0 if number != signal.SIGKILL else -signal.SIGKILL)
    assert programs
    until(lambda: not any(is_loaded(program) for program in programs))
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    assert (place / "run" / "status.json").exists() == (number == signal.SIGKILL)


def until(come: Callable[[], bool]) -> None:
    """Wait for what must come sooner or later."""
    end = time.monotonic() + 60
    while not come():
        assert time.monotonic() < end
        time.sleep(0.05)


def bpf_programs(pid: int) -> set[int]:
    """Return the ids of the BPF programs that a process holds (proc_pid_fdinfo(5))."""
    told = [line.split() for each in Path(f"/proc/{pid}/fdinfo").iterdir() for line in each.read_text().splitlines()]
    return {int(words[1]) for words in told if words[0] == "prog_id:"}


def is_loaded(program: int) -> bool:
    descriptor = ctypes.CDLL("libbpf.so.1").bpf_prog_get_fd_by_id(program)
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor >= 0


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
