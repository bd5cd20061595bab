"""One login, told once: by the best of the witnesses that saw it.

A login leaves up to six traces: the line of the program, that of PAM, the journal's copy of both, audit records, and
an entry in wtmp or btmp. Witnesses are ranked (`Rank`). What the best one says is told at once. What a lower one says
waits for a few seconds, and is told only if no better one has said the same.

The same is: the same outcome within ten seconds of each other, and either the same program and process (a line of
sshd and the line of PAM beside it), or the same program, user and address as far as both name them. Sources that see
less than others call an unknown user by no name, and that contradicts nothing.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from shield.event import LogValue
from shield.record import LogRecord

HOLD_S = 6.0
"""How long PAM's line waits: it comes before the program's own by the delay after a wrong password, of some seconds."""

_WINDOW_NS = 10_000_000_000
_HELD_MOST = 4096
_TOLD_MOST = 16_384
_KEPT_MOST = 1024
_SUCCESSES = ("accepted", "switched", "command", "success")
_FAILURES = ("failed", "invalid_user", "refused", "failure")
_NOBODY = frozenset(("", "?", "(unknown)", "(invalid user)", "UNKNOWN", "unset"))
_PROGRAMS = {"sshd-session": "sshd", "sshd-auth": "sshd"}

Key = tuple[bool, str, str, str, int]


class Rank(IntEnum):
    """Who is believed first."""

    PROGRAM = 0
    PAM = 1
    AUDIT = 2
    LOGIN_RECORD = 3


class Claim(NamedTuple):
    """That somebody got in, or did not. An unknown `program`, `user` or `address` is `""`, an unknown `pid` 0."""

    success: bool
    program: str
    pid: int
    user: str
    address: str
    ts_ns: int


class Held(Struct, frozen=True, array_like=True):
    """A record that waits for a better witness."""

    rank: int
    record: LogRecord


class ToldOnce:
    """Decides what is told. Times `now` are seconds of any clock that never jumps."""

    def __init__(self, hold_s: float = HOLD_S) -> None:
        self._hold_s = hold_s
        self._told: OrderedDict[Key, Rank] = OrderedDict()
        self._held: dict[Rank, deque[tuple[float, Held]]] = {rank: deque() for rank in Rank}
        self.repeats = 0
        """How many records said what a better witness had said."""

    @property
    def waiting(self) -> int:
        """How many records wait for a better witness."""
        return sum(map(len, self._held.values()))

    def offer(self, rank: Rank, record: LogRecord, now: float) -> bool:
        """Take in a record; return whether it is to be told now. If not, it may be among those `due` later."""
        made = claim(record)
        if made is None:
            return True
        if rank is Rank.PROGRAM:
            self._note(rank, made)
            return True
        if self._is_told(rank, made):
            self.repeats += 1
        else:
            self._hold(rank, record, now)
        return False

    def due(self, now: float) -> Iterator[LogRecord]:
        """Yield what has waited long enough and was told by nobody better."""
        for rank, held in self._held.items():
            while held and (held[0][0] <= now or len(held) > _HELD_MOST):
                record = held.popleft()[1].record
                made = claim(record)
                if made is not None and self._is_told(rank, made):
                    self.repeats += 1
                    continue
                if made is not None:
                    self._note(rank, made)
                yield record

    def state(self) -> tuple[list[Held], list[tuple[Key, int]]]:
        """Return what an agent that goes on from here must know: what waits, and what was told lately."""
        waiting = [one for held in self._held.values() for _, one in held]
        told = [(key, int(rank)) for key, rank in self._told.items()]
        return waiting, told[-_KEPT_MOST:]

    def restore(self, held: list[Held], told: list[tuple[Key, int]], now: float) -> None:
        """Go on from an earlier `state`."""
        for one in held:
            self._hold(Rank(one.rank), one.record, now)
        self._told.update((key, Rank(rank)) for key, rank in told)

    def _hold(self, rank: Rank, record: LogRecord, now: float) -> None:
        # A lower witness waits longer, so that a better one that waits too comes first.
        self._held[rank].append((now + self._hold_s * (2 + rank) / 3, Held(rank, record)))

    def _note(self, rank: Rank, made: Claim) -> None:
        for key in _keys_of(made):
            known = self._told.pop(key, rank)
            self._told[key] = min(known, rank)
        while len(self._told) > _TOLD_MOST:
            self._told.popitem(last=False)

    def _is_told(self, rank: Rank, made: Claim) -> bool:
        return any(self._told.get(key, rank) < rank for key in _keys_like(rank, made))


def claim(record: LogRecord) -> Claim | None:
    """Return what a record claims; None for one that is not about getting in."""
    fields = record.fields
    happened = _text(fields.get("event"))
    if record.provider == "auditd":
        happened = "success" if _text(fields.get("res")) in ("success", "yes") else "failure"
    if happened not in _SUCCESSES and happened not in _FAILURES:
        return None
    user = _text(fields.get("user")) or _text(fields.get("acct"))
    pid = fields.get("pid")
    return Claim(
        happened in _SUCCESSES,
        _program(record),
        pid if isinstance(pid, int) else 0,
        "" if user in _NOBODY else user,
        _address(_text(fields.get("source_ip")) or _text(fields.get("addr"))),
        record.ts_ns,
    )


def _program(record: LogRecord) -> str:
    """Return the program that let somebody in; login records do not name it."""
    exe = _text(record.fields.get("exe")) if record.provider == "auditd" else ""
    program = exe.rpartition("/")[2] or record.provider
    return "" if program in ("wtmp", "btmp", "auditd") else _PROGRAMS.get(program, program)


def _address(text: str) -> str:
    return "" if text in ("?", "UNKNOWN") else text.removeprefix("::ffff:")


def _text(value: LogValue | None) -> str:
    return value if isinstance(value, str) else ""


def _keys_of(made: Claim) -> Iterator[Key]:
    """Yield all that a claim can be recognised by: any part that it names may be unknown to another witness."""
    moment = made.ts_ns // _WINDOW_NS
    if made.pid:
        yield made.success, made.program, f"pid {made.pid}", "", moment
    for program in {made.program, ""}:
        for user in {made.user, "?"}:
            for address in {made.address, "?"}:
                yield made.success, program, user, address, moment


def _keys_like(rank: Rank, made: Claim) -> Iterator[Key]:
    moment = made.ts_ns // _WINDOW_NS
    for near in (moment, moment - 1, moment + 1):
        if rank is Rank.PAM:
            yield made.success, made.program, f"pid {made.pid}", "", near
            continue
        for user in {made.user or "?", ""}:
            for address in {made.address or "?", ""}:
                yield made.success, made.program, user, address, near
