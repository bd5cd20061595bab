"""Logins in systemd's journal, through `journalctl --follow` as a child.

The journal says more than a text log: the time to the microsecond with its zone, and which program really wrote a line,
so that nobody who calls himself sshd is believed. Only the facilities auth and authpriv are asked for.
"""

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, field

from shield.collector.linux.identity.line import IdentityLines
from shield.collector.linux.identity.local_calendar import LocalCalendar
from shield.collector.linux.identity.witness import Testimony
from shield.collector.source import SourceUnavailable

JOURNALCTL = Path("/usr/bin/journalctl")
JOURNALD = Path("/run/systemd/journal")
"""There while journald runs."""

_READ_BYTES, _READS = 1 << 16, 8
_LINE_MOST = 1 << 20
_END_S = 2.0


class _State(Struct, frozen=True):
    """Behind which entry to go on; where there was none yet, from when on, in Unix microseconds."""

    cursor: str
    since_us: int


class _Place(Struct, frozen=True):
    """Where an entry stands (systemd's "Journal JSON Format")."""

    cursor: str = field(name="__CURSOR", default="")
    realtime: str = field(name="__REALTIME_TIMESTAMP", default="")


class Journal:
    """New entries of the journal."""

    name = "journal"
    remedies: dict[str, str] = {  # noqa: RUF012
        "too_long": "Look at the journal: an entry of more than a megabyte is none that a daemon writes.",
    }

    def __init__(self, journalctl: Path = JOURNALCTL, journald: Path = JOURNALD, accounts_told: bool = True) -> None:
        self.dropped: Counter[str] = Counter()
        self._journalctl = journalctl
        self._journald = journald
        self._lines = IdentityLines(LocalCalendar(), accounts_told)
        self._place = _State("", 0)
        self._child: subprocess.Popen[bytes] | None = None
        self._output = -1
        self._rest = b""
        self._skipping = False

    @property
    def seen(self) -> int:
        """How many entries there were."""
        return self._lines.seen + self.dropped.total()

    @property
    def filtered(self) -> Counter[str]:
        """The entries that are left out, by reason."""
        return self._lines.filtered

    def open(self) -> None:
        """Begin with what is written from now on, or where an earlier run left off. Raises SourceUnavailable."""
        if not self._journald.is_dir():
            raise SourceUnavailable(self.name, "journald does not run here", "nothing, where there is a text log")
        if not self._place.since_us:
            self._place = _State("", time.time_ns() // 1000)
        try:
            self._child = subprocess.Popen(
                [self._journalctl, *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C", "SYSTEMD_COLORS": "0"},
                start_new_session=True,
            )
        except OSError as error:
            raise SourceUnavailable(self.name, f"{self._journalctl}: {error.strerror}", "install systemd") from error
        self._output = self._child.stdout.fileno() if self._child.stdout is not None else -1
        os.set_blocking(self._output, False)
        self._rest, self._skipping = b"", False

    def read(self) -> Testimony:
        """Yield what has come since. Raises OSError where journalctl has ended."""
        if self._child is not None:
            yield from self._lines.records(self._entries())

    def state(self) -> bytes:
        """Return behind which entry to go on."""
        return msgspec.msgpack.encode(self._place)

    def restore(self, state: bytes) -> None:
        """Go on from an earlier `state`. Raises msgspec.MsgspecError."""
        self._place = msgspec.msgpack.decode(state, type=_State)

    def close(self) -> None:
        """End journalctl."""
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()

    def _arguments(self) -> list[str]:
        place = self._place
        begin = f"--after-cursor={place.cursor}" if place.cursor else f"--since=@{place.since_us // 1_000_000}"
        facilities = ("SYSLOG_FACILITY=4", "+", "SYSLOG_FACILITY=10")
        # Without --all a long field is left out, without --no-tail all but the last ten entries.
        return ["--output=json", "--follow", "--no-tail", "--all", "--quiet", "--no-pager", begin, *facilities]

    def _entries(self) -> Iterator[bytes]:
        """Yield the entries that were written since the beginning, and move on behind them."""
        for _ in range(_READS):
            data = self._more()
            if not data:
                return
            *whole, self._rest = (self._rest + data).split(b"\n")
            for line in whole:
                if self._skipping:
                    self._skipping = False
                elif self._is_new(line):
                    yield line
            if len(self._rest) > _LINE_MOST:
                self.dropped["too_long"] += not self._skipping
                self._rest, self._skipping = b"", True

    def _more(self) -> bytes:
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            code = self._child.wait() if self._child is not None else 0
            raise OSError(f"journalctl has ended with code {code}")
        return data

    def _is_new(self, line: bytes) -> bool:
        try:
            place = msgspec.json.decode(line, type=_Place)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return True  # what it is instead is told by who reads it
        at_us = int(place.realtime) if place.realtime.isascii() and place.realtime.isdigit() else 0
        new = bool(self._place.cursor) or not at_us or at_us >= self._place.since_us
        if new and place.cursor:
            self._place = _State(place.cursor, self._place.since_us)
        return new
