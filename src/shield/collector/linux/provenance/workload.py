"""Work that takes time: now, within a budget of seconds in each second, or later, in a thread beside the events."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_CLOSING_S = 0.5


class Budget:
    """`most` seconds of work in each second."""

    def __init__(self, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._left = most
        self._at = clock()

    def left(self) -> float:
        """Return how many seconds there are, less than 0 where more was spent than there was."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._most)
        self._at = now
        return self._left

    def spend(self, seconds: float) -> None:
        """Take seconds away."""
        self._left -= seconds


class Lane:
    """A thread that does one job after another, `most` waiting; it begins with the first. Jobs don't raise."""

    def __init__(self, name: str, most: int) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._begun = False

    def put(self, job: Callable[[], None]) -> bool:
        """Have a job done; return whether there was room for it."""
        if not self._begun:
            self._begun = True
            self._thread.start()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """Forget the jobs that wait and end the thread, unless its job never ends."""
        if self._begun:
            with suppress(queue.Empty):
                while True:
                    self._jobs.get_nowait()
            self._jobs.put(None)
            self._thread.join(_CLOSING_S)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
