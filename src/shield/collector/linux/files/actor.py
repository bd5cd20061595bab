"""Who changed a file: the process that the kernel names, and when it started, while it still is there."""

import select

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.procfs import ProcessGone, ProcfsReader
from shield.record import Actor

OUTSIDE = "the process is outside of the agent's pid namespace"

Doer = tuple[Actor | None, tuple[str, ...]]


class Actors:
    """Looks processes up; those of one batch of events are remembered until `forget`."""

    def __init__(self) -> None:
        self._procfs = ProcfsReader(BootClock(), UserNames())
        self._known: dict[int, Doer] = {}

    def forget(self) -> None:
        """Begin another batch."""
        self._known.clear()

    def find(self, pid: int, pidfd: int | None) -> Doer:
        """Return the process and what could not be told of it.

        `pidfd` is a descriptor of the process, below 0 where it had ended; None where the kernel gives none: the pid
        might be another process's by now.
        """
        if not pid:
            return None, (OUTSIDE,)
        known = self._known.get(pid)
        if known is None:
            known = self._known[pid] = self._look_up(pid, pidfd)
        return known

    def _look_up(self, pid: int, pidfd: int | None) -> Doer:
        if pidfd is not None and pidfd < 0:
            return Actor(pid, ended=True), ()
        try:
            actor = Actor(pid, self._procfs.start_ticks(pid))
        except (ProcessGone, OSError):
            return Actor(pid, ended=True), ()
        if pidfd is not None and _ended(pidfd):  # what was read may be of another process with the same pid
            return Actor(pid, ended=True), ()
        return actor, ()


def _ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
