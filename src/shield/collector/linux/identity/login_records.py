"""Entries of wtmp and btmp (utmp(5)): who logged in, and who failed to.

Both are rows of struct utmp: 384 bytes where time is kept for 32-bit programs too (x86, ppc64, s390x), else 400. utmp
itself is a table of the present sessions, and wtmp has all that enters it.
"""

import os
import struct
from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

import msgspec

from shield.collector.linux.identity.logfile import REMEDIES, LogFile, Position
from shield.collector.linux.identity.told_once import Rank
from shield.collector.linux.identity.witness import Testimony
from shield.collector.source import SourceUnavailable
from shield.event import LogValue
from shield.record import LogRecord
from shield.text import decode

WTMP, BTMP = Path("/var/log/wtmp"), Path("/var/log/btmp")

_COMPATIBLE = struct.Struct("<h2xi32s4s32s256shhiIi16s20x")
_WIDE = struct.Struct("<h2xi32s4s32s256shhqqq16s20x4x")
_LAYOUT = _WIDE if os.uname().machine in ("aarch64", "riscv64", "loongarch64") else _COMPATIBLE
_LOGIN_PROCESS, _USER_PROCESS = 6, 7

_State = tuple[list[Position], list[Position]]


class Entry(NamedTuple):
    """One row. `address` is that of the remote host, `""` for none; times are Unix nanoseconds."""

    type: int
    pid: int
    line: str
    user: str
    host: str
    address: str
    ts_ns: int


class LoginRecords:
    """New entries of `wtmp` and `btmp`."""

    name = "login_records"
    remedies = REMEDIES

    def __init__(self, wtmp: Path = WTMP, btmp: Path = BTMP) -> None:
        self.seen = 0
        self.filtered: Counter[str] = Counter()
        self._logs = (LogFile(wtmp, _LAYOUT.size), LogFile(btmp, _LAYOUT.size))
        self._host = os.uname().nodename

    @property
    def dropped(self) -> Counter[str]:
        """What could not be read, by reason."""
        return self._logs[0].lost + self._logs[1].lost

    def open(self) -> None:
        """Begin at the ends of the files, or where an earlier run left off. Raises SourceUnavailable."""
        if not any(log.exists for log in self._logs):
            raise SourceUnavailable(self.name, "there is neither wtmp nor btmp", "create them (touch), as root")
        try:
            for log in self._logs:
                log.open()
        except OSError as error:
            self.close()
            raise SourceUnavailable(self.name, str(error), "run Shield as root") from error

    def read(self) -> Testimony:
        """Yield the new logins and failures. Raises OSError."""
        for log in self._logs:
            lost = log.lost.total()
            for raw in log.read():
                self.seen += 1
                entry = parse(raw)
                event = _event(entry, failed=log is self._logs[1])
                if event:
                    yield Rank.LOGIN_RECORD, _record(entry, event, log.path.name, self._host)
                else:
                    self.filtered["no_login"] += 1
            self.seen += log.lost.total() - lost

    def state(self) -> bytes:
        """Return how far each file was read."""
        return msgspec.msgpack.encode([log.positions() for log in self._logs])

    def restore(self, state: bytes) -> None:
        """Go on from an earlier `state`. Raises msgspec.MsgspecError."""
        for log, positions in zip(self._logs, msgspec.msgpack.decode(state, type=_State), strict=True):
            log.restore(positions)

    def close(self) -> None:
        """Close the files."""
        for log in self._logs:
            log.close()


def parse(raw: bytes) -> Entry:
    """Return the entry in one row. Raises struct.error for another length than a row's."""
    kind, pid, line, _, user, host, _, _, _, seconds, micros, address = _LAYOUT.unpack(raw)
    return Entry(
        kind,
        max(pid, 0),
        _text(line),
        _text(user),
        _text(host),
        _address(address),
        max(seconds, 0) * 1_000_000_000 + min(max(micros, 0), 999_999) * 1000,
    )


def _event(entry: Entry, failed: bool) -> str:
    if failed:
        return "failed" if entry.type in (_LOGIN_PROCESS, _USER_PROCESS) else ""
    return "accepted" if entry.type == _USER_PROCESS and entry.user else ""


def _record(entry: Entry, event: str, provider: str, host: str) -> LogRecord:
    parts: dict[str, LogValue] = {
        "user": entry.user,
        "TTY": entry.line,
        "source_ip": entry.address,
        "source_host": entry.host,
        "pid": entry.pid,
    }
    known: dict[str, LogValue] = {name: value for name, value in parts.items() if value}
    origin = entry.address or entry.host
    verb = "failed to log in" if event == "failed" else "logged in"
    return LogRecord(
        os="linux",
        ts_ns=min(entry.ts_ns, (1 << 63) - 1),
        host=host,
        provider=provider,
        channel=provider,
        message=f"{entry.user or 'somebody'} {verb} on {entry.line}" + (f" from {origin}" if origin else ""),
        fields={"event": event, **known},
    )


def _text(raw: bytes) -> str:
    return decode(raw.partition(b"\0")[0])


def _address(raw: bytes) -> str:
    """Return ut_addr_v6: an IPv4 address stands in its first four bytes."""
    if not any(raw):
        return ""
    if not any(raw[4:]):
        return str(IPv4Address(raw[:4]))
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)
