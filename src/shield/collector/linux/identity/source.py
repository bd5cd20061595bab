"""Logins and failed logins, su and sudo, from all the traces a host keeps of them, each told once.

The journal is read where journald runs, else the text log. Audit records of programs and wtmp and btmp are read beside
it: what they alone tell of is told a few seconds later (told_once), so a login is seen even where somebody stopped the
syslog daemon first.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from shield.collector.linux.identity import auth_log, journal, login_records
from shield.collector.linux.identity.audit_user import AuditUser
from shield.collector.linux.identity.auth_log import AuthLog
from shield.collector.linux.identity.journal import Journal
from shield.collector.linux.identity.login_records import LoginRecords
from shield.collector.linux.identity.told_once import HOLD_S, Held, Key, ToldOnce
from shield.collector.linux.identity.witness import Witness
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.record import LogRecord, Record

_BATCH = 1024


class IdentityOptions(Struct, frozen=True):
    """Where the traces are. `accounts_told` says that the account files are watched too: their changes are left out.

    `interval` is in seconds, as is `hold`: how long what a lower witness says waits for a better one.
    """

    logs: tuple[Path, ...] = auth_log.LOGS
    journalctl: Path = journal.JOURNALCTL
    journald: Path = journal.JOURNALD
    wtmp: Path = login_records.WTMP
    btmp: Path = login_records.BTMP
    audit: bool = True
    accounts_told: bool = True
    interval: float = 0.5
    hold: float = HOLD_S


class _State(Struct, frozen=True):
    witnesses: dict[str, bytes]
    held: list[Held]
    told: list[tuple[Key, int]]
    ready: list[LogRecord]


class IdentitySource:
    """Who logged in, became another, or failed to."""

    name = "identity"
    provides: frozenset[Kind] = frozenset(("identity",))

    def __init__(self, options: IdentityOptions | None = None) -> None:
        self._options = options or IdentityOptions()
        self.interval: float | None = self._options.interval
        self.blind_spots: tuple[str, ...] = ()
        self._begin()
        self.remedies = {reason: remedy for witness in self._all for reason, remedy in witness.remedies.items()}

    def _begin(self) -> None:
        self._texts = _texts(self._options)
        self._all: Sequence[Witness] = (*self._texts, *_others(self._options))
        self._reading: list[Witness] = []
        self._once = ToldOnce(self._options.hold)
        self._ready: deque[LogRecord] = deque()
        self._taken_over = 0
        self._stopped = False

    def open(self) -> None:
        """Begin with what is written from now on, or where an earlier run left off. Raises SourceUnavailable."""
        if self._stopped:
            kept = self.state()
            self._begin()
            self.restore(kept)
        refused: list[SourceUnavailable] = []
        for witness in self._all:
            if witness in self._texts and any(one in self._texts for one in self._reading):
                continue
            try:
                witness.open()
            except SourceUnavailable as refusal:
                refused.append(refusal)
            else:
                self._reading.append(witness)
        if not self._reading:
            reasons = "; ".join(f"{one.source}: {one.reason}" for one in refused)
            raise SourceUnavailable(self.name, reasons, "run Shield as root, and install rsyslog")
        self.blind_spots = tuple(_blind_spots(self._reading, refused))

    def fileno(self) -> int | None:
        """Return None: it is polled."""
        return None

    def read(self) -> list[Record]:
        """Return what has come since, about 1024 records at most. Raises OSError."""
        if not self._stopped and len(self._ready) < _BATCH:
            now = time.monotonic()
            for witness in self._reading:
                self._ready.extend(record for rank, record in witness.read() if self._once.offer(rank, record, now))
            self._ready.extend(self._once.due(now))
        return [self._ready.popleft() for _ in range(min(_BATCH, len(self._ready)))]

    def count(self) -> Count:
        """Return the totals. What waits for a better witness is counted when that is over, and by who goes on then."""
        filtered, dropped = Counter[str](), Counter[str]()
        seen = self._taken_over - self._once.waiting
        for witness in self._all:
            seen += witness.seen
            filtered += witness.filtered
            dropped += witness.dropped
        filtered["told_already"] += self._once.repeats
        return Count(seen, dict(+filtered), dict(dropped), pending=len(self._ready))

    def state(self) -> bytes:
        """Return what `read` has returned so far, for an agent that goes on from here; keep it once that is safe."""
        held, told = self._once.state()
        places = {one.name: one.state() for one in self._all}
        return msgspec.msgpack.encode(_State(places, held, told, list(self._ready)))

    def restore(self, state: bytes) -> None:
        """Go on from an earlier `state`, before `open`. Raises ValueError for what is none, and begins anew then."""
        try:
            kept = msgspec.msgpack.decode(state, type=_State)
            for witness in self._all:
                if witness.name in kept.witnesses:
                    witness.restore(kept.witnesses[witness.name])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._begin()
            raise ValueError(f"this is no state of {self.name}: {error}") from None
        self._ready.extend(kept.ready)
        self._once.restore(kept.held, kept.told, time.monotonic())
        self._taken_over += len(kept.held) + len(kept.ready)

    def stop(self) -> None:
        """Read no further; what was read but waits for a better witness is told now."""
        if not self._stopped:
            self._stopped = True
            self._ready.extend(self._once.due(float("inf")))

    def close(self) -> None:
        """Close the logs."""
        self.stop()
        for witness in self._reading:
            witness.close()
        self._reading.clear()


def _texts(options: IdentityOptions) -> tuple[Witness, ...]:
    """Return what has the lines of programs, best first: one of them is read."""
    return (
        Journal(options.journalctl, options.journald, options.accounts_told),
        AuthLog(options.logs, options.accounts_told),
    )


def _others(options: IdentityOptions) -> tuple[Witness, ...]:
    audit = (AuditUser(),) if options.audit else ()
    return (*audit, LoginRecords(options.wtmp, options.btmp))


def _blind_spots(reading: Sequence[Witness], refused: Sequence[SourceUnavailable]) -> Iterator[str]:
    texts = [one for one in reading if isinstance(one, Journal) or (isinstance(one, AuthLog) and one.has_log)]
    if not texts:
        yield "There is no text log of logins: su and sudo, and how somebody logged in, are hardly seen."
    elif not isinstance(texts[0], Journal):
        yield "Lines of a text log may be written by any program that calls itself sshd or sudo."
    for one in refused:
        if one.source != Journal.name:
            yield f"{one.source} can't be read: {one.reason}."
