"""The time the baseline learns by: days are counted, not dated, so that no clock jump ages it or fills it.

Time is what events say, and a host's clock can be wrong. So no single event is believed far:

- Forward by a week at most is a quiet host, or one that was off. However long the step, it counts as one day, and as
  one hour of `elapsed_ns`, by which quarantines and taints are measured.
- Back by an hour at most is an event that comes late. It moves nothing.
- Anything else is a clock that jumped. It is believed once the events have gone on from there for an hour, no step
  counting more than five minutes (so twelve events at least). Then dates are counted from there on; the jump itself
  adds neither a day nor elapsed time.
"""

from msgspec import Struct

_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_ABSENCE_MOST = 7 * _DAY
_LATE_MOST = _HOUR
_STEP_MOST = _HOUR
_DOUBTED_STEP_MOST = 5 * _MINUTE
_BELIEVED_AFTER = _HOUR
_END = 1 << 63


class Clock(Struct):
    """`day` is the number of today, counted from 1; 0 before the first event. `elapsed_ns` never goes back."""

    day: int = 0
    elapsed_ns: int = 0
    latest_ns: int = 0
    doubted_ns: int = 0
    doubted_for_ns: int = 0

    @property
    def days_learnt(self) -> int:
        """The number of days that are over."""
        return max(0, self.day - 1)

    def move(self, ts_ns: int) -> None:
        """Take in the time of one event, in Unix nanoseconds; 0 is an unknown one."""
        step = ts_ns - self.latest_ns
        if 0 <= step <= _ABSENCE_MOST and self.day:
            self._believe(ts_ns, step)
        elif not 0 < ts_ns < _END:
            return
        elif not self.day:
            self.day, self.latest_ns = 1, ts_ns
        elif not -_LATE_MOST <= step < 0:
            self._doubt(ts_ns)

    def _believe(self, ts_ns: int, step: int) -> None:
        self.elapsed_ns += min(step, _STEP_MOST)
        if ts_ns // _DAY != self.latest_ns // _DAY:
            self.day += 1
        self.latest_ns = ts_ns
        self.doubted_ns = self.doubted_for_ns = 0

    def _doubt(self, ts_ns: int) -> None:
        step = ts_ns - self.doubted_ns
        if -_LATE_MOST <= step < 0:
            return
        self.doubted_for_ns = self.doubted_for_ns + min(step, _DOUBTED_STEP_MOST) if 0 <= step <= _ABSENCE_MOST else 0
        self.doubted_ns = ts_ns
        if self.doubted_for_ns >= _BELIEVED_AFTER:
            self.latest_ns = ts_ns
            self.doubted_ns = self.doubted_for_ns = 0
