"""What the host's kernel is like, and when that changes: mounts, clock, modules, BPF programs, processes out of sight.

One descriptor stands for all: an epoll set of what the kernel announces (mounts, the clock) and of two timers, for what
has to be asked for. Where the kernel or a missing privilege leaves one of them out, the rest works.
"""

import select
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.kernel.bpf_programs import BpfPrograms
from shield.collector.linux.kernel.clock_set import ClockSet
from shield.collector.linux.kernel.hidden import HiddenProcesses
from shield.collector.linux.kernel.modules import KernelModules
from shield.collector.linux.kernel.mounts import Mounts
from shield.collector.linux.kernel.unbacked import UnbackedPrograms
from shield.collector.linux.procfs import ProcfsReader
from shield.collector.linux.sweep import Sweep
from shield.collector.linux.timerfd import TimerFd
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.record import Observation, Record

_BATCH = 256
_WAITING_MOST = 4096
_SOON_S = 0.01


class KernelOptions(Struct, frozen=True):
    """Seconds between two looks at modules and BPF programs, and between two sweeps over all processes.

    `mountinfo` is that of the mount namespace to watch, normally init's. `clock_least_ns` is by how much the clock must
    be set to be told.
    """

    poll_seconds: float = 5.0
    sweep_seconds: float = 60.0
    mountinfo: str = "/proc/1/mountinfo"
    clock_least_ns: int = 1_000_000_000


class KernelSource:
    """Changes of the host's kernel state, and processes that are not what /proc shows."""

    provides: frozenset[Kind] = frozenset(("kernel",))
    name = "kernel"
    interval: float | None = None
    remedies: dict[str, str] = {  # noqa: RUF012
        "too_many": "More than 4,096 changes were waiting: look at what mounts or loads programs in a loop.",
    }

    def __init__(self, options: KernelOptions | None = None, procfs: Path = Path("/proc")) -> None:
        self._options = options or KernelOptions()
        self._clock, self._names = BootClock(), UserNames()
        reader = ProcfsReader(self._clock, self._names, procfs)
        self._mounts = Mounts(Path(self._options.mountinfo), procfs / "self" / "mountinfo")
        self._clock_set = ClockSet(self._options.clock_least_ns)
        self._modules = KernelModules(procfs)
        self._programs = BpfPrograms(self._clock, self._names, procfs)
        self._polled: list[KernelModules | BpfPrograms] = []
        self._hidden = HiddenProcesses(reader, root=procfs)
        self._unbacked = UnbackedPrograms(reader, procfs)
        self._sweep = Sweep(self._options.sweep_seconds, root=procfs)
        self._poll: TimerFd | None = None
        self._epoll: select.epoll | None = None
        self._waiting: deque[Observation] = deque()
        self._seen = 0
        self._filtered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._blind_spots: tuple[str, ...] = (
            "A mount that is made and undone within half a second is not seen, nor is who made it.",
            f"BPF programs that are gone again within {self._options.poll_seconds:g} s are counted, not described.",
            "What was mounted or loaded before Shield started is taken for granted.",
            "Code in the memory of a program whose file is in place is not seen.",
            "A rootkit that changes the kernel itself may hide from all of this.",
        )
        self.blind_spots = self._blind_spots

    def open(self) -> None:
        """Remember how things are, and watch them. Raises SourceUnavailable."""
        self.blind_spots = self._blind_spots
        try:
            self._poll = TimerFd()
            self._epoll = select.epoll()
            self._sweep.open()
            waited_for = self._mounts.open() | self._clock_set.open()
            waited_for |= {self._sweep.fileno(): select.EPOLLIN, self._poll.fileno(): select.EPOLLIN}
            for descriptor, events in waited_for.items():
                self._epoll.register(descriptor, events)
        except OSError as error:
            self.close()
            raise SourceUnavailable(self.name, str(error), "mount /proc, and let Shield read it") from None
        parts = ((self._modules, "Kernel modules are not watched"), (self._programs, "BPF programs are not watched"))
        self._polled = [part for part, without in parts if self._works(part, without)]
        self._poll.arm(self._options.poll_seconds)

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable when something changed, or a look is due."""
        return self._epoll.fileno() if self._epoll else None

    def read(self) -> list[Record]:
        """Return at most 256 observations; looks at 64 processes at most."""
        if self._epoll is not None:
            self._look()
        records: list[Record] = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        if self._waiting and self._poll is not None:
            self._poll.arm(_SOON_S)
        return records

    def count(self) -> Count:
        """Return the totals, in changes and in processes that were found odd."""
        return Count(self._seen, dict(self._filtered), dict(self._dropped), pending=len(self._waiting))

    def stop(self) -> None:
        """Look no more; what was found can still be read."""
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        self._mounts.close()
        self._clock_set.close()
        self._sweep.close()
        if self._poll is not None:
            self._poll.close()
            self._poll = None

    def close(self) -> None:
        """Look no more; nothing was set up in the kernel but descriptors."""
        self.stop()

    def _look(self) -> None:
        self._keep(self._mounts.look())
        self._keep(self._clock_set.look())
        if self._poll is not None and self._poll.due():
            self._poll.arm(self._options.poll_seconds)
            self._clock.refresh()
            self._names.refresh()
            for part in self._polled:
                self._keep(part.look())
        pids = self._sweep.slice()
        if pids:
            self._keep(self._unbacked.look(pids))
            self._keep(self._hidden.look(pids))
            if self._sweep.over:
                self._unbacked.rounded()

    def _keep(self, found: Iterable[Observation | str]) -> None:
        for one in found:
            self._seen += 1
            if isinstance(one, str):
                self._filtered[one] += 1
            elif len(self._waiting) >= _WAITING_MOST:
                self._dropped["too_many"] += 1
            else:
                self._waiting.append(one)

    def _works(self, part: KernelModules | BpfPrograms, without: str) -> bool:
        """Open a part; where this host hasn't got what it looks at, that is a blind spot."""
        try:
            part.open()
        except OSError as error:
            self.blind_spots = (*self.blind_spots, f"{without}: {error.strerror or error}.")
            return False
        return True
