"""The text of audit records (linux/audit.h; kernel/auditsc.c), and the process start several of them describe.

One exec is one event: a SYSCALL record, EXECVE records with the arguments, CWD, a PATH for each file involved and
PROCTITLE. Values are literal between quotes or, where they hold a space, a quote or anything beyond printable ASCII,
hexadecimal, so no process can forge a field. An argument list too long for a record goes on in the next one: a long
argument N comes in pieces aN[0], aN[1], … after its encoded length aN_len. Everything here takes any bytes at all.
"""

import re
from binascii import Error, unhexlify
from typing import NamedTuple

from shield.event import Process, User
from shield.record import ProcessExec
from shield.text import decode

SYSCALL, PATH, CWD, EXECVE, EOE, PROCTITLE = 1300, 1302, 1307, 1309, 1320, 1327

_STAMP = re.compile(rb"audit\((\d{1,10})\.(\d{3}):(\d{1,10})\): ?")
_ARGC = re.compile(rb"(?:^| )argc=(\d{1,9})")
_ARGUMENT = re.compile(rb'(?:^| )a(\d{1,9})(?:\[(\d{1,9})\]|(_len))?=("[^"]*"|[^ "]*)')
_NUMBER = re.compile(rb"[0-9a-fA-F]{1,20}")
_DEVICE = re.compile(rb"([0-9a-f]{1,3}):([0-9a-f]{1,5})")
_UNSET = 0xFFFF_FFFF
_DELETED = b" (deleted)"
_NO_FIELDS: dict[bytes, bytes] = {}


class Stamp(NamedTuple):
    """What every record starts with: when its event happened, Unix nanoseconds, and the event's serial number."""

    ts_ns: int
    serial: int
    body: bytes


def parse_stamp(payload: bytes) -> Stamp | None:
    """Return the stamp of a record and what stands behind it; None for anything else."""
    match = _STAMP.match(payload)
    if match is None:
        return None
    seconds, milliseconds, serial = (int(digits) for digits in match.groups())
    return Stamp(seconds * 1_000_000_000 + milliseconds * 1_000_000, serial, payload[match.end() :].rstrip(b"\0\n"))


def fields(body: bytes) -> dict[bytes, bytes]:
    """Return the `name=value` fields of a record, values still encoded; of two with one name the first counts."""
    found: dict[bytes, bytes] = {}
    for token in body.split(b" "):
        name, equals, encoded = token.partition(b"=")
        if equals:
            found.setdefault(name, encoded)
    return found


def value(encoded: bytes) -> bytes:
    """Return the bytes that an untrusted value stands for; `(null)` and the like are empty."""
    if encoded[:1] == b'"':
        return encoded[1:].removesuffix(b'"')
    if encoded[:1] == b"(":
        return b""
    try:
        return unhexlify(encoded)
    except Error:
        return encoded


class Arguments:
    """An argument list, gathered from EXECVE records in order; keeps the first `limit` bytes and counts the rest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._argc: int | None = None
        self._kept: dict[int, list[bytes]] = {}
        self._kept_bytes = 0
        self._length = 0
        self._in_order = True
        self._number = -1
        self._pieces = 0
        self._announced = 0
        self._arrived = 0

    def add(self, body: bytes) -> None:
        """Take in one EXECVE record."""
        argc = _ARGC.match(body)
        if argc:
            self._argc = int(argc[1])
        for digits, piece, announces, encoded in _ARGUMENT.findall(body):
            number = int(digits)
            if number != self._number:
                self._begin(number)
            if announces:
                self._announced = number_of(encoded) or 0
            else:
                self._take(int(piece or 0), encoded)

    @property
    def complete(self) -> bool:
        """Whether every argument arrived, each piece in its place."""
        return self._argc is not None and self._in_order and self._number == self._argc - 1 and self._whole()

    @property
    def length(self) -> int:
        """The length of what arrived, in bytes, with a NUL behind each argument."""
        return self._length + (self._argc or 0)

    def values(self) -> tuple[bytes, ...]:
        """Return the arguments, cut off behind `limit` bytes."""
        joined = b"\0".join(b"".join(pieces) for pieces in self._kept.values())
        return tuple(joined[: self._limit].split(b"\0")) if self._kept else ()

    def _begin(self, number: int) -> None:
        self._in_order &= number == self._number + 1 and self._whole()
        self._number = number
        self._pieces = self._announced = self._arrived = 0

    def _take(self, piece: int, encoded: bytes) -> None:
        self._in_order &= piece == self._pieces
        self._pieces = piece + 1
        raw = value(encoded)
        self._length += len(raw)
        # The announced length counts characters of the encoding, without quotes (audit_log_execve_info).
        self._arrived += len(raw) if encoded[:1] == b'"' else len(encoded)
        if self._kept_bytes < self._limit:
            separator = piece == 0 and bool(self._kept)
            self._kept.setdefault(self._number, []).append(raw)
            self._kept_bytes += len(raw) + separator

    def _whole(self) -> bool:
        return self._number < 0 or (self._pieces > 0 and self._arrived >= self._announced)


class ExecEvent:
    """The records of one event, taken in one by one."""

    def __init__(self, ts_ns: int, args_limit: int) -> None:
        self.ts_ns = ts_ns
        self.syscall: dict[bytes, bytes] = {}
        """The fields of the SYSCALL record; empty where it did not arrive, or there is none."""
        self.of_a_syscall = False
        """Whether a record arrived that only comes together with a SYSCALL record."""
        self._args_limit = args_limit
        self._arguments: Arguments | None = None
        self._cwd: bytes | None = None
        self._paths: list[dict[bytes, bytes]] = []
        self._title = b""

    def add(self, kind: int, body: bytes) -> None:
        """Take in one record."""
        if kind == SYSCALL:
            self.syscall = fields(body)
        elif kind == EXECVE:
            self._arguments = self._arguments or Arguments(self._args_limit)
            self._arguments.add(body)
        elif kind == CWD:
            self._cwd = value(fields(body).get(b"cwd", b""))
        elif kind == PATH:
            self._paths.append(fields(body))
        elif kind == PROCTITLE:
            self._title = value(fields(body).get(b"proctitle", b""))
        elif kind != EOE:
            return
        self.of_a_syscall = True

    def record(self) -> ProcessExec:
        """Return the process start these records describe; what did not arrive is in `gaps`."""
        call = self.syscall
        exe = value(call.get(b"exe", b""))
        memfd = exe.startswith(b"/memfd:")
        args, args_length, truncated = self._args()
        bare_exe = exe.removesuffix(_DELETED)
        image = next((path for path in self._paths if value(path.get(b"name", b"")) == bare_exe), _NO_FIELDS)
        invoked = next((path for path in self._paths if path.get(b"item") == b"0"), _NO_FIELDS)
        process = Process(
            pid=number_of(call.get(b"pid")) or 0,
            ppid=number_of(call.get(b"ppid")) or 0,
            name=decode(value(call.get(b"comm", b""))),
            exe=decode(bare_exe),
            invoked=decode(value(invoked.get(b"name", b""))),
            args=args,
            cmdline=" ".join(args),
            args_length=args_length,
            truncated=truncated,
            cwd=decode(self._cwd or b""),
            tty=decode(value(call.get(b"tty", b""))),
            exe_memfd=memfd,
            exe_deleted=exe.endswith(_DELETED) and not memfd,
            exe_mode=number_of(image.get(b"mode"), 8) or 0,
            exe_owner=number_of(image.get(b"ouid")),
            exe_inode=number_of(image.get(b"inode")) or 0,
            exe_device=_device(image.get(b"dev", b"")),
        )
        user = User(
            id=number_of(call.get(b"uid")),
            effective_id=number_of(call.get(b"euid")),
            group_id=number_of(call.get(b"gid")),
            effective_group_id=number_of(call.get(b"egid")),
            audit_id=number_of(call.get(b"auid")),
            audit_session=number_of(call.get(b"ses")),
        )
        return ProcessExec(self.ts_ns, process, user, gaps=tuple(self._gaps()))

    def _args(self) -> tuple[tuple[str, ...], int, bool]:
        """Return the arguments, their length and whether some are missing; PROCTITLE holds the first 128 bytes."""
        if self._arguments is None:
            title = self._title.removesuffix(b"\0")
            return tuple(decode(arg) for arg in title.split(b"\0")) if title else (), len(self._title), True
        arguments = self._arguments
        truncated = arguments.length > self._args_limit or not arguments.complete
        return tuple(decode(arg) for arg in arguments.values()), arguments.length, truncated

    def _gaps(self) -> list[str]:
        gaps: list[str] = []
        if self._arguments is None or not self._arguments.complete:
            gaps.append("some arguments were lost")
        if self._cwd is None:
            gaps.append("the working directory was lost")
        if len(self._paths) < (number_of(self.syscall.get(b"items")) or 0):
            gaps.append("some paths were lost")
        return gaps


def number_of(encoded: bytes | None, base: int = 10) -> int | None:
    """Return a numeric field, None where it is missing, unset (-1) or no number."""
    if encoded is None or not _NUMBER.fullmatch(encoded):
        return None
    try:
        found = int(encoded, base)
    except ValueError:
        return None
    return None if found == _UNSET else found


def _device(encoded: bytes) -> int:
    """Return `major:minor` in hexadecimal as the kernel holds it: the minor number in the lower 20 bits."""
    match = _DEVICE.fullmatch(encoded)
    return int(match[1], 16) << 20 | int(match[2], 16) if match else 0
