"""Dates for log lines that bear neither year nor zone (RFC 3164, section 4.1.2), as they are read live.

Such a line is written in the host's own zone, a moment ago or, after a rest, not long ago. Of the moments that it may
mean (any year; one hour comes twice when clocks are set back) it is the one that follows the line before most closely,
or where there was none for a while, the one nearest to now. Nothing is later than tomorrow.
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime

_SECOND_NS = 1_000_000_000
_DAY_S, _HOUR_S = 86_400, 3600
_ZONE_CHECKED_S = 60.0


class LocalCalendar:
    """Dates the lines of one log, in their order. `now` gives Unix seconds; the zone is that of the process."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._before_s = 0
        self._zone_checked = -_ZONE_CHECKED_S
        self._last: tuple[tuple[int, int, str], int] | None = None

    def ns(self, month: int, day: int, clock: str) -> int:
        """Return a time in Unix nanoseconds, 0 where there is no such time."""
        written = (month, day, clock)
        if self._last is not None and self._last[0] == written:
            return self._last[1]
        self._follow_zone()
        now = int(self._now())
        # A clock that was set back makes the line before one of the future: that says nothing any more.
        follows = 0 <= now - self._before_s < 2 * _HOUR_S
        near = self._before_s if follows else now
        moments = [moment for moment in _moments(now, written) if moment <= now + _DAY_S]
        if not moments:
            return 0
        # A log goes forward in time, give or take a minute.
        self._before_s = min(moments, key=lambda moment: (follows and moment < near - 60, abs(moment - near)))
        self._last = written, self._before_s * _SECOND_NS
        return self._last[1]

    def _follow_zone(self) -> None:
        """Take up a change of /etc/localtime."""
        at = time.monotonic()
        if at - self._zone_checked >= _ZONE_CHECKED_S:
            self._zone_checked = at
            time.tzset()


def _moments(now: int, written: tuple[int, int, str]) -> Iterator[int]:
    month, day, clock = written
    hour, minute, second = (int(part) for part in clock.split(":"))
    this = datetime.fromtimestamp(now).year  # noqa: DTZ006  the host's own zone is meant
    for year in (this - 1, this, this + 1) if (month, day) != (2, 29) else range(this - 8, this + 2):
        for fold in (0, 1):
            try:
                yield int(datetime(year, month, day, hour, minute, min(second, 59), fold=fold).timestamp())  # noqa: DTZ001  likewise
            except (ValueError, OverflowError, OSError):
                continue
