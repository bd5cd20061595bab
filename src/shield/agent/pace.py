"""How long to let records gather before they are read.

While few come each is handled at once, for the least delay. In a flood every wake-up costs more than the work it
brings, so that a few milliseconds of waiting, unnoticed by anyone, save half the CPU time.
"""

FLOOD_RECORDS_S = 900
"""Records a second from which on it is a flood; a process that starts and ends is three of them."""
GATHER_S = 0.005
_WINDOW_S = 0.1


class Pace:
    """Measures the rate of records; times are seconds on a clock that never goes back."""

    def __init__(self) -> None:
        self._began = 0.0
        self._records = 0
        self._flood = False

    def gather_s(self) -> float:
        """Return how long to wait, in seconds, after the first record is there."""
        return GATHER_S if self._flood else 0.0

    def note(self, records: int, now: float) -> None:
        """Take in how many records were read at `now`."""
        self._records += records
        elapsed = now - self._began
        if elapsed >= _WINDOW_S:
            self._flood = self._records / elapsed >= FLOOD_RECORDS_S
            self._began = now
            self._records = 0
