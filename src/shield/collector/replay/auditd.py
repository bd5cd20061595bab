"""Linux audit logs (/var/log/audit/audit.log), one log record an audit event.

An audit event is up to some dozens of records with one time and serial number: SYSCALL, EXECVE with the arguments,
CWD, a PATH for each file, PROCTITLE. Rules about auditd are written for single records (`type: PATH`, `name: …`) or for
whole events (`key: …`, `name: …`); so that both find what they look for, an event is told as one record with the
fields of all of its records:

- `type` is every record's type, and a name that stands in several records has all its values, each once: a tuple
  where they differ. A rule matches a tuple if it matches one of its values.
- `a0`, `a1`, … are the arguments of EXECVE; those of the system call, mere numbers, only where there is no EXECVE.
- `name` is each path as the process gave it and, where that was relative, the absolute one behind it. The directory a
  file is in (nametype PARENT) is named only where a file in it was created or deleted, or nothing else is.
- `SYSCALL` is the system call's name, from the number where auditd did not write it; `syscall` is both.
- What created or deleted several files (a rename deletes one and creates another) is told once for each of them, and
  once for the files it only used. `nametype: CREATE` and `name: …` therefore hold for the same file, and the last
  `name` is that file.

`message`, which rules search for words besides the fields, is the whole command line of an exec, and the text of a
record that stands alone.

What this can't do: a rule with `not name: …` does not match an event if *any* path it used is excluded.

Records of an event may stand apart, with those of others in between. An event ends with EOE or PROCTITLE, two seconds
later, or with the file; events come out in the order they began. What a rotated or torn log lacks is in `gaps`.
Lines may carry a syslog prefix (audispd, audisp-syslog, the kernel's own).
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from posixpath import normpath
from typing import BinaryIO

from shield.collector.linux.process.audit_record import Arguments
from shield.collector.replay import audit_text, syscalls, syslog_line
from shield.collector.replay.audit_text import Line, Pair
from shield.collector.replay.damage import Damaged, Item
from shield.collector.replay.lines import LINE_MOST, numbered, too_long, whole_lines
from shield.event import LogScalar, LogValue
from shield.record import LogRecord
from shield.text import decode, encode

PROVIDER = "auditd"
WRITERS = frozenset(("audispd", "audisp-syslog", "auditd", "kernel"))
"""The programs that write audit records to syslog."""

_SETTLED_NS = 2_000_000_000
_OPEN_MOST = 256
_OPEN_BYTES_MOST = 16 << 20
_EVENT_BYTES_MOST = 2 << 20
_ARGS_LIMIT = 131_072
_VALUES_MOST = 256
_FROM_KERNEL = re.compile(r"(?:\[ *\d+\.\d+\] )?(?:audit: )?", re.ASCII)
_DIRECTORY_ARGUMENTS = {"renameat": ("a0", "a2"), "linkat": ("a0", "a2"), "symlinkat": ("a1",)}
_AT_FDCWD = ("ffffff9c", "ffffffffffffff9c")
_OPERATED = ("CREATE", "DELETE")
_BETWEEN = re.compile(rb"(?:----|time->.*)\s*")

# The kernel's records, of which one event may have several (linux/audit.h); a program's record is an event by itself.
_PARTS = frozenset(
    {
        *("SYSCALL", "PATH", "IPC", "SOCKETCALL", "CONFIG_CHANGE", "SOCKADDR", "CWD", "EXECVE", "IPC_SET_PERM"),
        *("MQ_OPEN", "MQ_SENDRECV", "MQ_NOTIFY", "MQ_GETSETATTR", "KERNEL_OTHER", "FD_PAIR", "OBJ_PID", "EOE"),
        *("BPRM_FCAPS", "CAPSET", "MMAP", "NETFILTER_PKT", "NETFILTER_CFG", "SECCOMP", "PROCTITLE", "FEATURE_CHANGE"),
        *("REPLACE", "KERN_MODULE", "FANOTIFY", "TIME_INJOFFSET", "TIME_ADJNTPVAL", "BPF", "EVENT_LISTENER", "URINGOP"),
        *("OPENAT2", "DM_CTRL", "DM_EVENT", "AVC", "SELINUX_ERR", "AVC_PATH", "LOGIN", "ANOM_PROMISCUOUS"),
        *("ANOM_ABEND", "ANOM_LINK", "ANOM_CREAT", "MAC_STATUS", "MAC_POLICY_LOAD", "MAC_CONFIG_CHANGE"),
        *("INTEGRITY_DATA", "INTEGRITY_METADATA", "INTEGRITY_STATUS", "INTEGRITY_HASH", "INTEGRITY_PCR"),
        *("INTEGRITY_RULE", "INTEGRITY_EVM_XATTR", "INTEGRITY_POLICY_RULE"),
    }
)
_OF_A_SYSCALL = frozenset(
    {"PATH", "CWD", "EXECVE", "SOCKADDR", "MMAP", "FD_PAIR", "SOCKETCALL", "OBJ_PID", "BPRM_FCAPS", "CAPSET"}
)
"""The records that never come without a SYSCALL."""


def matches(head: bytes) -> bool:
    """Return whether a file that begins with `head` is an audit log: every line but a torn first one is a record."""
    calendar = syslog_line.Calendar(1970, 0)
    lines = [line for line in whole_lines(head) if line.strip() and not _BETWEEN.fullmatch(line)]
    return bool(lines) and all(_line(line, calendar) for line in lines[1:] or lines)


def read(file: BinaryIO, source: str) -> Iterator[tuple[bytes, Item]]:
    """Yield the lines of each event, as they are, with its record, and each line that is no record with what is wrong.

    `source` is the file's name, for errors.
    """
    events = Events()
    calendar = syslog_line.Calendar(1970, 0)
    for number, line in numbered(file):
        if not line.strip() or _BETWEEN.fullmatch(line):
            continue
        if len(line) > LINE_MOST:
            yield line, too_long(source, number)
        elif found := _line(line, calendar):
            yield from events.add(line, found)
        else:
            yield line, Damaged(source, number, "this is no audit record (type=… msg=audit(…): …)")
    yield from events.rest()


def in_syslog(parts: syslog_line.Line) -> Line | None:
    """Return the audit record that a line of syslog carries, if its writer is one that passes such records on."""
    if parts.program not in WRITERS:
        return None
    prefix = _FROM_KERNEL.match(parts.message)
    line = audit_text.parse(encode(parts.message[prefix.end() if prefix else 0 :]))
    return line._replace(node=line.node or parts.host) if line else None


class Events:
    """Puts records together to events, and keeps the order in which those began."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int, int], _Event] = {}
        self._bytes = 0

    def add(self, raw: bytes, line: Line) -> Iterator[tuple[bytes, LogRecord]]:
        """Take in one record; yield the events that are whole by now."""
        key = (line.node, line.ts_ns, line.serial)
        event = self._open.get(key)
        if event is None:
            if line.kind == "EOE":
                return
            event = self._open[key] = _Event(line)
        event.add(raw, line)
        self._bytes += len(raw)
        yield from self._ended(line.ts_ns - _SETTLED_NS)

    def rest(self) -> Iterator[tuple[bytes, LogRecord]]:
        """Yield the events that were still open."""
        for event in self._open.values():
            yield from event.records()
        self._open.clear()
        self._bytes = 0

    def _ended(self, settled_ns: int) -> Iterator[tuple[bytes, LogRecord]]:
        while self._open:
            key, event = next(iter(self._open.items()))
            crowded = len(self._open) > _OPEN_MOST or self._bytes > _OPEN_BYTES_MOST
            if not (event.ended or event.ts_ns < settled_ns or crowded):
                return
            del self._open[key]
            self._bytes -= event.length
            yield from event.records()


class _Event:
    """The records of one audit event."""

    def __init__(self, first: Line) -> None:
        self.ts_ns = first.ts_ns
        self.ended = False
        self.length = 0
        self._first = first
        self._lines: list[Line] = []
        self._raw: list[bytes] = []
        self._cut = False

    def add(self, raw: bytes, line: Line) -> None:
        """Take in one record."""
        self.length += len(raw)
        self._raw.append(raw)
        if self.length > _EVENT_BYTES_MOST:
            self._cut = True
            self._raw.pop()
        elif line.kind != "EOE":
            self._lines.append(line)
        whole = line.kind == "PROCTITLE" and any(earlier.kind == "SYSCALL" for earlier in self._lines)
        self.ended |= whole or line.kind == "EOE" or line.kind not in _PARTS

    def records(self) -> Iterator[tuple[bytes, LogRecord]]:
        """Yield the event, once for each file it created or deleted."""
        raw = b"".join(self._raw)
        told = _Telling(self._lines)
        gaps = (*told.gaps(), "some of its records were lost") if self._cut else told.gaps()
        code = "SYSCALL" if told.call else self._first.kind
        message = decode(self._lines[0].body) if len(self._lines) == 1 else told.command()
        for fields in told.each():
            yield (
                raw,
                LogRecord(
                    os="linux",
                    ts_ns=self.ts_ns,
                    host=self._first.node,
                    provider=PROVIDER,
                    channel="audit",
                    code=code,
                    record_id=self._first.serial,
                    message=message,
                    fields=fields,
                    gaps=gaps,
                ),
            )


class _Telling:
    """An event's fields, as rules want them."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.call: dict[str, LogScalar] = {}
        """The fields of the SYSCALL record; empty where there is none."""
        self._kinds: dict[str, None] = {}
        self._values: dict[str, dict[LogScalar, None]] = {}
        self._paths: list[dict[str, LogScalar]] = []
        self._arguments: Arguments | None = None
        self._cwd = ""
        for line in lines:
            self._add(line)
        self._name_call()

    def each(self) -> Iterator[dict[str, LogValue]]:
        """Yield the fields for each file that was created or deleted, or once where none was."""
        common = {name: _value(values) for name, values in self._values.items()}
        if self._arguments is not None:
            common = {name: value for name, value in common.items() if name not in ("a0", "a1", "a2", "a3")}
            common.update((f"a{number}", decode(arg)) for number, arg in enumerate(self._arguments.values()))
        for paths in self._groups():
            kinds = [kind for kind in self._kinds if kind != "PATH" or paths]
            types = kinds[0] if len(kinds) == 1 else tuple(kinds)
            yield {**common, **self._of_paths(paths, common), "type": types}

    def command(self) -> str:
        """Return the arguments of an exec as one text; of anything else nothing."""
        return " ".join(map(decode, self._arguments.values())) if self._arguments else ""

    def gaps(self) -> tuple[str, ...]:
        """Return what did not arrive."""
        gaps: list[str] = []
        if not self.call and not _OF_A_SYSCALL.isdisjoint(self._kinds):
            gaps.append("the system call itself was lost")
        executed = self.call.get("SYSCALL") in ("execve", "execveat") and self.call.get("success") == "yes"
        if (executed and self._arguments is None) or not self._whole_arguments():
            gaps.append("some arguments were lost")
        if executed and not self._cwd:
            gaps.append("the working directory was lost")
        items = self.call.get("items")
        if isinstance(items, int) and len(self._paths) < items:
            gaps.append("some paths were lost")
        return tuple(gaps)

    def _whole_arguments(self) -> bool:
        arguments = self._arguments
        return arguments is None or (arguments.complete and arguments.length <= _ARGS_LIMIT)

    def _add(self, line: Line) -> None:
        self._kinds[line.kind] = None
        if line.kind == "EXECVE":
            self._arguments = self._arguments or Arguments(_ARGS_LIMIT)
            self._arguments.add(line.body)
            line = line._replace(body=line.body.partition(b" ")[0] if line.body.startswith(b"argc=") else b"")
        pairs = audit_text.fields(line)
        if line.kind == "PATH":
            self._paths.append(_first_of_each(pairs))
            return
        if line.kind == "SYSCALL":
            self.call = _first_of_each(pairs)
        elif line.kind == "CWD":
            self._cwd = next((value for name, value in pairs if name == "cwd" and isinstance(value, str)), "")
        for name, value in pairs:
            _keep(self._values, name, value)

    def _name_call(self) -> None:
        """Name the system call that the log gives as a number."""
        number, machine = self.call.get("syscall"), self.call.get("arch")
        if not isinstance(number, int):
            if isinstance(number, str):
                self.call.setdefault("SYSCALL", number)
                _keep(self._values, "SYSCALL", number)
            return
        name = self.call.get("SYSCALL") or syscalls.name(_hexadecimal(machine), number)
        if name:
            self.call["SYSCALL"] = name
            _keep(self._values, "SYSCALL", name)
            _keep(self._values, "syscall", name)

    def _groups(self) -> list[list[dict[str, LogScalar]]]:
        """Return the paths that belong together: a created or deleted file with its directory, all others."""
        operated = [path for path in self._paths if path.get("nametype") in _OPERATED]
        parents = [path for path in self._paths if path.get("nametype") == "PARENT"]
        used = [path for path in self._paths if path.get("nametype") not in (*_OPERATED, "PARENT")]
        if not operated:
            return [used or parents]
        groups = [[*(parent for parent in parents if self._holds(parent, path)), path] for path in operated]
        return [used, *groups] if used else groups

    def _holds(self, parent: dict[str, LogScalar], path: dict[str, LogScalar]) -> bool:
        above, below = self._names(parent)[-1], self._names(path)[-1]
        return not below.startswith("/") or str(PurePosixPath(below).parent) == above.rstrip("/") or above == "/"

    def _of_paths(self, paths: list[dict[str, LogScalar]], common: dict[str, LogValue]) -> dict[str, LogValue]:
        """Return the fields of PATH records, behind those that other records have by the same names."""
        found: dict[str, dict[LogScalar, None]] = {}
        for path in paths:
            for name in path:
                if name not in found and name in common:
                    earlier = common[name]
                    found[name] = dict.fromkeys(earlier if isinstance(earlier, tuple) else (earlier,))
            for name, value in path.items():
                for each in self._names(path) if name == "name" else (value,):
                    _keep(found, name, each)
        return {name: _value(values) for name, values in found.items()}

    def _names(self, path: dict[str, LogScalar]) -> tuple[str, ...]:
        """Return a path as it was given and, if that is relative to the working directory, the absolute one."""
        name = str(path.get("name", ""))
        if not name or name.startswith("/") or not self._cwd.startswith("/") or not self._from_cwd():
            return (name,)
        return (name, normpath(f"{self._cwd}/{name}"))

    def _from_cwd(self) -> bool:
        """Return whether relative paths start at the working directory, not at a directory the process had opened."""
        call = str(self.call.get("SYSCALL", ""))
        call = call.removesuffix("2")
        arguments = _DIRECTORY_ARGUMENTS.get(call, ("a0",)) if call.endswith("at") else ()
        return all(self.call.get(argument) in _AT_FDCWD for argument in arguments)


def _line(line: bytes, calendar: syslog_line.Calendar) -> Line | None:
    if found := audit_text.parse(line):
        return found
    parts = syslog_line.split(line.rstrip(b"\r\n\0"), calendar)
    return in_syslog(parts) if parts else None


def _first_of_each(pairs: Iterable[Pair]) -> dict[str, LogScalar]:
    found: dict[str, LogScalar] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _keep(values: dict[str, dict[LogScalar, None]], name: str, value: LogScalar) -> None:
    kept = values.setdefault(name, {})
    if len(kept) < _VALUES_MOST:
        kept[value] = None


def _value(values: dict[LogScalar, None]) -> LogValue:
    return next(iter(values)) if len(values) == 1 else tuple(values)


def _hexadecimal(text: LogScalar | None) -> int:
    try:
        return int(str(text), 16)
    except ValueError:
        return 0
