"""The text log that logins are written to: auth.log, secure, syslog or messages, whichever is the first there is."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from shield.collector.linux.identity.line import IdentityLines
from shield.collector.linux.identity.local_calendar import LocalCalendar
from shield.collector.linux.identity.logfile import REMEDIES, LogFile, Position
from shield.collector.linux.identity.witness import Testimony
from shield.collector.source import SourceUnavailable

LOGS = tuple(Path("/var/log") / name for name in ("auth.log", "secure", "syslog", "messages"))
"""The logs of Debian and of Red Hat for what is private, then for everything."""

_State = dict[str, list[Position]]


class AuthLog:
    """Follows the first of `logs` that exists; where none does yet, the first that appears."""

    name = "auth_log"
    remedies = REMEDIES

    def __init__(self, logs: Sequence[Path] = LOGS, accounts_told: bool = True) -> None:
        self.dropped: Counter[str] = Counter()
        self._logs = logs
        self._lines = IdentityLines(LocalCalendar(), accounts_told)
        self._kept: _State | None = None
        self._following: LogFile | None = None

    @property
    def has_log(self) -> bool:
        """Whether there is a log that is followed now."""
        return self._following is not None

    @property
    def seen(self) -> int:
        """How many lines there were."""
        return self._lines.seen + self.dropped.total()

    @property
    def filtered(self) -> Counter[str]:
        """The lines that are left out, by reason."""
        return self._lines.filtered

    def open(self) -> None:
        """Begin at the log's end, or where an earlier run left off. Raises SourceUnavailable."""
        if not any(log.parent.is_dir() for log in self._logs):
            raise SourceUnavailable(self.name, "there is no directory for logs", "install rsyslog, or use journald")
        try:
            self._follow(self._first())
        except OSError as error:
            raise SourceUnavailable(self.name, str(error), "run Shield as root, or in the group adm") from error
        if self._kept is None:
            self._kept = {}

    def read(self) -> Testimony:
        """Yield what has come since. Raises OSError."""
        best = self._first()
        # While a log is being rotated there is none for a moment: that is no reason to turn to a worse one.
        if best is not None and (self._following is None or self._is_better(best, self._following.path)):
            yield from self._next()
            self._follow(best)
        yield from self._next()

    def state(self) -> bytes:
        """Return how far each log was read."""
        return msgspec.msgpack.encode(self._positions())

    def restore(self, state: bytes) -> None:
        """Go on from an earlier `state`. Raises msgspec.MsgspecError."""
        self._kept = msgspec.msgpack.decode(state, type=_State)

    def close(self) -> None:
        """Close the log."""
        self._follow(None)

    def _first(self) -> Path | None:
        return next((log for log in self._logs if log.is_file()), None)

    def _is_better(self, one: Path, other: Path) -> bool:
        return self._logs.index(one) < self._logs.index(other)

    def _follow(self, path: Path | None) -> None:
        if self._following is not None:
            self._kept = self._positions()
            self._following.close()
            self._following = None
        if path is None:
            return
        log = LogFile(path)
        log.lost = self.dropped
        # A log that was not there before is new from its first line on, unless a better one was read in its stead.
        better = map(str, self._logs[: self._logs.index(path)])
        if self._kept is not None and self._kept.keys().isdisjoint(better):
            log.restore(self._kept.get(str(path), ()))
        log.open()
        self._following = log

    def _next(self) -> Testimony:
        if self._following is not None:
            yield from self._lines.records(self._following.read())

    def _positions(self) -> _State:
        if self._following is None:
            return self._kept or {}
        return {str(self._following.path): list(self._following.positions())}
