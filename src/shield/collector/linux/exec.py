"""Process starts, forks and ends from the kernel, through the BPF program in bpf/: the best source on Linux."""

import errno
import os
import struct
import time

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.bpf.build import object_path
from shield.collector.linux.clock import BootClock
from shield.collector.linux.exec_record import RecordDecoder
from shield.collector.linux.libbpf import BpfError, BpfObject
from shield.collector.linux.ring import RingBuffer
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.record import Record

ARGS_LIMIT_MOST = 1 << 18
ENV_LIMIT = 1 << 12

_BATCH = 1024
_REFRESH_S = 1.0
_KINDS = 4  # the program counts by kind, and kind 0 is none
_RING_FULL = ("ring_full_fork", "ring_full_exec", "ring_full_exit")
_STATS = struct.Struct("=4Q4Q")
_CONSTANTS = struct.Struct("=II")
_NOTHING = Count(seen=0, filtered={}, dropped={}, pending=0)


class EbpfSource:
    """Every fork, exec and exit on the host. `ring_bytes` is a power of two; `args_limit` bytes of argv are kept."""

    name: str = "ebpf"
    provides: frozenset[Kind] = frozenset(("process",))
    interval: float | None = None
    blind_spots: tuple[str, ...] = (
        f"Only the first {ENV_LIMIT} bytes of a process's environment are searched for LD_PRELOAD and the like.",
    )

    def __init__(self, ring_bytes: int = 1 << 24, args_limit: int = 1 << 17) -> None:
        self.remedies = {
            **dict.fromkeys(_RING_FULL, "Raise source.ring_bytes in the configuration, or give the agent more CPU."),
            "recursion": "Report it: the kernel ran the BPF program inside itself.",
        }
        self._ring_bytes = ring_bytes
        self._args_limit = min(args_limit, ARGS_LIMIT_MOST)
        self._decoder = RecordDecoder(BootClock(), UserNames())
        self._refreshed = 0.0
        self._read = 0
        self._attached = False
        self._object: BpfObject | None = None
        self._ring: RingBuffer | None = None
        self._final = _NOTHING

    def open(self) -> None:
        """Load and attach the BPF program. Raises SourceUnavailable."""
        if not object_path().exists():
            raise SourceUnavailable(self.name, "the BPF program was not compiled", "run `make setup` with clang there")
        if os.geteuid() != 0:
            raise SourceUnavailable(self.name, "only root may load BPF programs", "run Shield as root")
        try:
            self._load()
        except OSError as error:
            self.close()
            log = error.log.splitlines()[-1:] if isinstance(error, BpfError) else []
            reason = "; ".join([str(error), *log])
            raise SourceUnavailable(self.name, reason, _remedy(error)) from None

    def fileno(self) -> int | None:
        """Return the ring buffer's descriptor; it becomes readable at an exec."""
        return self._ring.fd if self._ring else None

    def read(self) -> list[Record]:
        """Return up to 1,024 records, oldest first."""
        if self._ring is None:
            return []
        now = time.monotonic()
        if now - self._refreshed > _REFRESH_S:
            self._refreshed = now
            self._decoder.refresh()
        raw = self._ring.read(_BATCH)
        self._read += len(raw)
        return [self._decoder.record(one) for one in raw]

    def count(self) -> Count:
        """Return the kernel's counters.

        While the programs run, `pending` is what is left of their count; once they are stopped it is counted in the
        ring, so that the final totals balance only if not one record went astray.
        """
        if self._object is None or self._ring is None:
            return self._final
        per_cpu = _STATS.iter_unpack(self._object.lookup("stats", 0, _STATS.size * _possible_cpus()))
        counters = [sum(values) for values in zip(*per_cpu, strict=True)]
        seen, lost = sum(counters[:_KINDS]), dict(zip(_RING_FULL, counters[_KINDS + 1 :], strict=True))
        recursion = self._object.recursion_misses()
        pending = max(0, seen - sum(lost.values()) - self._read) if self._attached else self._ring.waiting()
        dropped = {reason: number for reason, number in (lost | {"recursion": recursion}).items() if number}
        return Count(seen=seen + recursion, filtered={}, dropped=dropped, pending=pending)

    def stop(self) -> None:
        """Detach the programs; the ring can still be read."""
        if self._object is not None:
            self._object.detach()
        self._attached = False

    def close(self) -> None:
        """Detach the programs and free the ring."""
        self.stop()
        if self._ring is not None:
            self._final = self.count()
            self._ring.close()
            self._ring = None
        if self._object is not None:
            self._object.close()
            self._object = None

    def _load(self) -> None:
        self._object = BpfObject(object_path())
        self._object.set_max_entries("ring", self._ring_bytes)
        self._object.set_max_entries("scratch", _possible_cpus())
        self._object.set_constants(".rodata", _CONSTANTS.pack(self._args_limit, ENV_LIMIT))
        self._object.load()
        self._ring = RingBuffer(self._object.map_fd("ring"), self._ring_bytes)
        self._object.attach()
        self._attached = True


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "run Shield as the host's root, outside of containers or with CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE"
    return "needs Linux 5.8 or newer with BTF and libbpf 1.0"


def _possible_cpus() -> int:
    """Return how many values a per-CPU map holds: one for each CPU there could ever be (sysfs cpu/possible)."""
    with open("/sys/devices/system/cpu/possible") as file:
        return int(file.read().strip().rpartition(",")[2].rpartition("-")[2]) + 1
