"""The usual peers on Linux: auditd with a rule for execs, and auditd with LAUREL, which makes JSON of its records.

Both run with the settings that Debian 12 ships (auditd.conf, rules.d/audit.rules, laurel's config.toml), but for: the
paths, no rotation, no action on a full disk, and LAUREL staying root so that it may write into a private folder.
"""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec import Struct

from bench import kernel_audit, usage
from bench.contestants import Contestant
from bench.daemon import Daemon, wait_until, wait_until_quiet
from bench.spawning import series, spawn

_EXECS = ("always,exit", "-F", "arch=b64", "-S", "execve,execveat", "-F", "key=bench")
_CONNECTIONS = ("always,exit", "-F", "arch=b64", "-S", "connect,accept,accept4,bind", "-F", "key=bench")
_KEY = "key=bench"
_PLACES = ("/etc", "/root", "/home", "/var/spool/cron", "/usr/lib/systemd", "/usr/local/bin", "/usr/bin", "/usr/sbin")
_BACKLOG = ("-b", "8192", "--backlog_wait_time", "60000", "-f", "1")
_STATE = Path("/run/auditd.state")
_DRAIN_S = 60.0

_AUDITD_CONF = """\
local_events = yes
write_logs = yes
log_file = {folder}/audit.log
log_group = root
log_format = ENRICHED
flush = INCREMENTAL_ASYNC
freq = 50
max_log_file = 8
num_logs = 5
priority_boost = 4
name_format = NONE
max_log_file_action = IGNORE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
use_libwrap = yes
distribute_network = no
q_depth = 2000
overflow_action = SYSLOG
max_restarts = 10
plugin_dir = {folder}/plugins.d
end_of_event_timeout = 2
"""

_LAUREL_PLUGIN = """\
active = yes
direction = out
type = always
format = string
path = {laurel}
args = --config {folder}/laurel.toml
"""

_LAUREL_TOML = """\
directory = "{folder}/laurel"
[auditlog]
file = "audit.log"
size = 100000000000
generations = 10
[transform]
execve-argv = ["array"]
[translate]
universal = false
user-db = false
[enrich]
pid = true
execve-env = ["LD_PRELOAD", "LD_LIBRARY_PATH"]
container = true
script = true
"""


def _watch(folder: str) -> tuple[str, ...]:
    """Return the rule for what is written, or changed in its attributes, below a folder."""
    return ("always,exit", "-F", "arch=b64", "-S", "all", "-F", f"dir={folder}", "-F", "perm=wa", "-F", "key=bench")


class Auditd(Contestant):
    """auditd with a rule that audits every execve and execveat of 64-bit programs."""

    name: ClassVar[str] = "auditd"
    rules: ClassVar[tuple[tuple[str, ...], ...]] = (_EXECS,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.log = self._records = folder / "audit.log"

    @classmethod
    def missing(cls) -> str:
        """Return how to install auditd where it isn't there, or that it needs root."""
        if os.geteuid():
            return "needs root"
        return "" if shutil.which("auditd") and shutil.which("auditctl") else "not installed: apt-get install auditd"

    def processes(self) -> list[int]:
        """Return auditd, its plug-ins, and the kernel's kauditd, which hands the records over."""
        return [*usage.family(self._daemon.pid), *usage.kernel_thread("kauditd")]

    def executions(self) -> Iterator[list[str]]:
        """Yield the argument vector of each EXECVE record, put together from its parts."""
        with self._records.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            yield from argument_vectors(lines)

    def _start(self, cleanup: ExitStack) -> None:
        self._write_settings()
        before = cleanup.enter_context(kernel_audit.borrowed())
        self._daemon = Daemon(["auditd", "-n", "-c", str(self.folder)], self.folder)
        cleanup.callback(self._stop, before.lost)
        self._daemon.wait_until(lambda: kernel_audit.status().pid == self._daemon.pid)
        for name, value in (_BACKLOG[0:2], _BACKLOG[2:4], _BACKLOG[4:6]):
            kernel_audit.control(name, value)
        cleanup.callback(self._remove_rules)
        for rule in self.rules:
            kernel_audit.control("-a", *rule)
        probe = series(1)
        spawn(probe.argv(0))
        self._daemon.wait_until(lambda: probe.argv(0) in self.executions())

    def _remove_rules(self) -> None:
        state, rules = kernel_audit.status(), kernel_audit.rules().splitlines()
        ours = [rule for rule in rules if _KEY in rule]
        if (
            state.pid != self._daemon.pid
            or not state.enabled
            or len(ours) != len(rules)
            or len(ours) != len(self.rules)
        ):
            self.disturbed.append(f"{self.name}: another program changed the kernel's audit system: {state}; {rules}")
        for rule in self.rules[: len(ours)]:
            kernel_audit.control("-d", *rule)

    def _stop(self, lost_before: int) -> None:
        """End auditd when the kernel's queue is empty and the log at rest; ask both what they lost."""
        try:
            wait_until(lambda: kernel_audit.status().backlog == 0, _DRAIN_S, "the audit backlog doesn't drain")
            wait_until_quiet(self._records)
            self.lost = {"kernel_backlog": kernel_audit.status().lost - lost_before, **self._queue_overflow()}
        finally:
            self._daemon.stop()

    def _write_settings(self) -> None:
        (self.folder / "plugins.d").mkdir(mode=0o750)
        (self.folder / "auditd.conf").write_text(_AUDITD_CONF.format(folder=self.folder))

    def _queue_overflow(self) -> dict[str, int]:
        return {}


class AuditdAll(Auditd):
    """auditd with rules for about what Shield watches: execs, connections, and writes in the usual sensitive places.

    The places are those of the rules that audit ships as examples (PCI DSS, STIG): accounts, cron, systemd, ssh, PAM.
    """

    name = "auditd_all"
    rules = (_EXECS, _CONNECTIONS, *(_watch(path) for path in _PLACES if Path(path).is_dir()))


class AuditdLaurel(Auditd):
    """auditd as above, which still writes its own log, with LAUREL as its plug-in; LAUREL's log is what counts."""

    name = "auditd_laurel"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.log = self._records = folder / "laurel" / "audit.log"

    @classmethod
    def missing(cls) -> str:
        """Return how to install auditd or LAUREL where one isn't there."""
        return super().missing() or ("" if shutil.which("laurel") else "not installed: apt-get install laurel")

    def executions(self) -> Iterator[list[str]]:
        """Yield the argument vector in each JSON line that has one."""
        decoder = msgspec.json.Decoder(_LaurelLine)
        if not self._records.exists():
            return
        with self._records.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n") and (execve := decoder.decode(line).EXECVE):
                    yield execve.ARGV

    def _write_settings(self) -> None:
        super()._write_settings()
        (self.folder / "laurel").mkdir()
        (self.folder / "laurel.toml").write_text(_LAUREL_TOML.format(folder=self.folder))
        plugin = self.folder / "plugins.d" / "laurel.conf"
        plugin.touch(mode=0o640)
        plugin.write_text(_LAUREL_PLUGIN.format(folder=self.folder, laurel=shutil.which("laurel")))

    def _queue_overflow(self) -> dict[str, int]:
        """Return whether auditd's queue to its plug-in ever overflowed (1) or not (0); it doesn't count how much."""
        asked = time.time()
        os.kill(self._daemon.pid, signal.SIGCONT)
        wait_until(lambda: _STATE.exists() and _STATE.stat().st_mtime >= asked - 1, 5, f"auditd wrote no {_STATE}")
        time.sleep(0.2)
        return {"plugin_queue_overflowed": int("plugin queue overflow detected = yes" in _STATE.read_text())}


class _LaurelExecve(Struct):
    ARGV: list[str] = []


class _LaurelLine(Struct):
    EXECVE: _LaurelExecve | None = None


_RECORD = re.compile(r"type=EXECVE msg=audit\((\S+)\): (?:argc=(\d+) )?(.*)", re.DOTALL)
_ARGUMENT = re.compile(r'a(\d+)(_len|\[\d+\])?=(?:"([^"]*)"|([0-9A-Fa-f]*))')


def argument_vectors(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the argument vectors in lines of an audit log, in the order in which they are complete.

    A vector may be spread over several EXECVE records with one serial number, an argument over several fields; an
    argument with anything but plain printable characters is in hexadecimal (the kernel's kernel/auditsc.c).
    """
    serial, count, parts = "", 0, dict[int, str]()
    for line in lines:
        record = _RECORD.match(line.split("\x1d", 1)[0])
        if record is None:
            continue
        if record[1] != serial:
            if len(parts) == count > 0:
                yield [parts[index] for index in range(count)]
            serial, count, parts = record[1], 0, {}
        count = int(record[2]) if record[2] else count
        for index, kind, quoted, hexadecimal in _ARGUMENT.findall(record[3]):
            if kind != "_len":
                text = bytes.fromhex(hexadecimal).decode("utf-8", "surrogateescape") if hexadecimal else quoted
                parts[int(index)] = parts.get(int(index), "") + text
    if len(parts) == count > 0:
        yield [parts[index] for index in range(count)]
