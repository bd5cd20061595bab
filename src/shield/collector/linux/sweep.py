"""Going through all processes now and then, a few at a time, so that no look at them takes long."""

import os
from pathlib import Path

from shield.collector.linux.timerfd import TimerFd

_FIRST_S = 0.2
_PAUSE_S = 0.1


class Sweep:
    """All process ids below `root`, in slices of `most`, again every `seconds`."""

    def __init__(self, seconds: float, most: int = 64, root: Path = Path("/proc")) -> None:
        self._seconds = seconds
        self._most = most
        self._root = root
        self._ahead: list[int] = []
        self._timer: TimerFd | None = None
        self.over = False
        """Whether the slice last returned was the last of its round."""

    def open(self) -> None:
        """Start the first round soon. Raises OSError."""
        self._timer = TimerFd()
        self._timer.arm(_FIRST_S)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the next slice is due."""
        return -1 if self._timer is None else self._timer.fileno()

    def slice(self) -> list[int]:
        """Return the processes to look at now, none while no slice is due."""
        self.over = False
        if self._timer is None or not self._timer.due():
            return []
        if not self._ahead:
            self._ahead = listed(self._root)
        part = self._ahead[: self._most]
        del self._ahead[: self._most]
        self.over = not self._ahead
        self._timer.arm(self._seconds if self.over else _PAUSE_S)
        return part

    def close(self) -> None:
        """Stop; may be called twice."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None


def listed(root: Path) -> list[int]:
    """Return the ids of the processes that a listing of `root` shows."""
    return [int(name) for name in os.listdir(root) if name.isdigit()]
