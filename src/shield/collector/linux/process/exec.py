"""Processes, connections and DNS from the kernel, through the BPF programs in bpf/: the best source on Linux.

All of it comes through one ring, in the order in which it happened: a process is told before what it does.
"""

import errno
import os
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.bpf.build import object_path
from shield.collector.linux.clock import TICK_NS, BootClock
from shield.collector.linux.libbpf import BpfError, BpfObject
from shield.collector.linux.network.record import ANSWER_WITHIN_NS
from shield.collector.linux.network.sock_diag import TCP
from shield.collector.linux.network.sockets import ListeningPorts, inventory
from shield.collector.linux.process.exec_record import RecordDecoder
from shield.collector.linux.ring import RingBuffer
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.record import Observation, Record

ARGS_LIMIT_MOST = 1 << 18
ENV_LIMIT = 1 << 12

_BATCH = 1024
_REFRESH_S = 1.0
_SILENT_S = 10.0
_KINDS = 16  # the programs count by kind; kind 0 is none
_RING_FULL = (
    *("ring_full_fork", "ring_full_exec", "ring_full_exit", "ring_full_connect", "ring_full_accept", "ring_full_close"),
    *("ring_full_listen", "ring_full_datagram", "ring_full_question", "ring_full_answer"),
)
_LEFT_OUT = {6: "close_of_unknown", 8: "udp_peers_beyond_limit"}
_STATS = struct.Struct(f"={3 * _KINDS}Q")
_CONSTANTS = struct.Struct("=III")
_NOTHING = Count(seen=0, filtered={}, dropped={}, pending=0)

_UNDIRECTED = "Who began a conversation over UDP is not known, nor which UDP ports are listened on (Linux 6.3 tells)."
_IN_FRONT_ONLY = (
    "DNS over TCP is seen as a connection, without its names, and of a DNS answer that comes in pieces only the first"
    " is read (Linux 6.12 gives all)."
)

_STATE_PROGRAM = {"on_state": "btf_trace_inet_sock_set_state"}
_PACKET_PROGRAMS = {"on_send": "btf_trace_net_dev_queue", "on_packet": "btf_trace_netif_receive_skb"}
_WHOLE_PACKET_PROGRAMS = {"on_send_whole": "bpf_dynptr_from_skb", "on_packet_whole": "bpf_dynptr_from_skb"}
_DIRECTION_PROGRAMS = {"on_receive": "btf_trace_sock_recv_length", "on_sent": "btf_trace_sock_send_length"}
"""The network's programs, and what each needs of the kernel. Packets are read by one pair or the other."""

_NETWORK_PROGRAMS = (*_STATE_PROGRAM, *_PACKET_PROGRAMS, *_WHOLE_PACKET_PROGRAMS, *_DIRECTION_PROGRAMS)

_INITIAL_PIDS = 0xEFFFFFFC
_KERNEL_TYPES = Path("/sys/kernel/btf/vmlinux")
# struct listener_key: address, namespace, port, family; struct listener: start, pid, flags, sockets
_LISTENER_KEY = struct.Struct("=16sIHH")
_LISTENER = struct.Struct("=QIIQ")

_UNSEEN_OF_PROCESSES = (
    f"Only the first {ENV_LIMIT} bytes of a process's environment are searched for LD_PRELOAD and the like.",
)
_UNSEEN_OF_NETWORK = (
    "Connections that were open before the agent started are not told, also when they close.",
    "What is accepted on a port is told as the process's that began to listen, not as its child's that serves it.",
    "UDP that only comes in, and is never answered, is told as a listening port but not by its senders.",
    "DNS over TLS or HTTPS is seen as a connection, without its names; so is DNS on another port than 53.",
    "Raw and packet sockets, SCTP and the like are not seen.",
)


class EbpfSource:
    """Every fork, exec and exit, connection, listening port and DNS question on the host.

    `ring_bytes` is a power of two; `args_limit` bytes of argv are kept; `network` False leaves out all but processes.
    A kernel that refuses the network's programs still gives the processes: `provides` and `blind_spots` say so.
    """

    name: str = "ebpf"
    interval: float | None = None

    def __init__(self, ring_bytes: int = 1 << 24, args_limit: int = 1 << 17, *, network: bool = True) -> None:
        self.remedies = {
            **dict.fromkeys(_RING_FULL, "Raise source.ring_bytes in the configuration, or give the agent more CPU."),
            "recursion": "The kernel ran a BPF program inside itself; where it is not just a few, report it.",
        }
        self._ring_bytes = ring_bytes
        self._args_limit = min(args_limit, ARGS_LIMIT_MOST)
        self._wants_network = network
        self._clock = BootClock()
        self._attached = False
        self._recursion, self._asked_recursion = 0, 0.0
        self._object: BpfObject | None = None
        self._ring: RingBuffer | None = None
        self._begin(network=network)

    def _begin(self, *, network: bool, lacking: tuple[str, ...] = ()) -> None:
        """Start counting from nothing. `lacking` says what this kernel does not give."""
        self.provides: frozenset[Kind] = frozenset(("process", "network", "dns") if network else ("process",))
        self.blind_spots: tuple[str, ...] = (
            *_UNSEEN_OF_PROCESSES,
            *(_UNSEEN_OF_NETWORK if network else ()),
            *lacking,
        )
        self._decoder = RecordDecoder(self._clock, UserNames())
        self._ports = ListeningPorts(())
        self._refreshed = self._listed = 0.0
        self._taken = self._found = 0
        self._final = _NOTHING

    def open(self) -> None:
        """Load and attach the BPF programs. Raises SourceUnavailable."""
        if not object_path().exists():
            raise SourceUnavailable(self.name, "the BPF program was not compiled", "run `make setup` with clang there")
        if os.geteuid() != 0:
            raise SourceUnavailable(self.name, "only root may load BPF programs", "run Shield as root")
        if not _counts_as_the_host():
            raise SourceUnavailable(
                self.name,
                "Shield runs in a pid namespace of its own, where processes have other numbers than the kernel's",
                "run it in the host's pid namespace (`--pid=host`)",
            )
        try:
            self._load()
        except OSError as error:
            self.close()
            self._begin(network=self._wants_network)
            raise SourceUnavailable(self.name, *_why(error)) from None

    def fileno(self) -> int | None:
        """Return the ring buffer's descriptor; it becomes readable at an exec, a connection, a new port or a name."""
        return self._ring.fd if self._ring else None

    def read(self) -> list[Record]:
        """Return up to some 1,024 records, oldest first; none only where there are none left."""
        if self._ring is None:
            return []
        now = time.monotonic()
        if now - self._refreshed > _REFRESH_S:
            self._refreshed = now
            self._decoder.refresh()
        records: list[Record] = []
        while raw := self._ring.read(_BATCH):
            self._taken += len(raw)
            records = [record for one in raw if (record := self._decoder.record(one)) is not None]
            if records:
                break
        records += self._decoder.network.overdue(self._waited_until())
        records += self._silent_listeners(now)
        return records

    def count(self) -> Count:
        """Return the kernel's counters.

        While the programs run, `pending` is what is left of their count; once they are stopped it is counted in the
        ring, so that the final totals balance only if not one record went astray.
        """
        if self._object is None or self._ring is None:
            return self._final
        per_cpu = _STATS.iter_unpack(self._object.lookup("stats", 0, _STATS.size * _possible_cpus()))
        counters = [sum(values) for values in zip(*per_cpu, strict=True)]
        captured, lost, left_out = (counters[at : at + _KINDS] for at in range(0, 3 * _KINDS, _KINDS))
        seen, recursion = sum(captured), self._recursion_misses(self._object)
        in_ring = max(0, seen - sum(lost) - sum(left_out) - self._taken) if self._attached else self._ring.waiting()
        dropped = {reason: number for reason, number in zip(_RING_FULL, lost[1:], strict=False) if number}
        filtered = {reason: left_out[kind] for kind, reason in _LEFT_OUT.items() if left_out[kind]}
        return Count(
            seen=seen + recursion + self._found,
            filtered=filtered | self._decoder.network.filtered,
            dropped=dropped | ({"recursion": recursion} if recursion else {}),
            pending=in_ring + self._decoder.network.waiting,
        )

    def _recursion_misses(self, loaded: BpfObject) -> int:
        """Return how often the kernel skipped a program; asked once a second, for it takes a call a program."""
        now = time.monotonic()
        if not self._attached or now - self._asked_recursion > _REFRESH_S:
            self._asked_recursion, self._recursion = now, loaded.recursion_misses()
        return self._recursion

    def stop(self) -> None:
        """Detach the programs; the ring can still be read."""
        if self._object is not None:
            self._object.detach()
        self._attached = False

    def close(self) -> None:
        """Detach the programs and free the ring."""
        self.stop()
        if self._ring is not None:
            with suppress(OSError):
                self._final = self.count()
            self._ring.close()
            self._ring = None
        if self._object is not None:
            self._object.close()
            self._object = None

    def _load(self) -> None:
        """Load as many of the programs as the kernel takes; it must take those about processes. Raises OSError."""
        refusal = ""
        for network in self._choices() if self._wants_network else ():
            try:
                self._load_programs(network)
            except OSError as error:
                refusal = str(error)
                self.close()
            else:
                return
        if self._wants_network and not refusal:
            refusal = "its kernel lacks a tracepoint"
        self._begin(network=False, lacking=(f"Connections and DNS are not seen: {refusal}.",) if refusal else ())
        self._load_programs(())

    def _choices(self) -> Iterator[tuple[str, ...]]:
        """Yield the sets of network programs that this kernel might take, the best first."""
        known = _known_to_kernel(
            {**_STATE_PROGRAM, **_PACKET_PROGRAMS, **_WHOLE_PACKET_PROGRAMS, **_DIRECTION_PROGRAMS}
        )
        if not known.issuperset((*_STATE_PROGRAM, *_PACKET_PROGRAMS)):
            return
        directed = tuple(_DIRECTION_PROGRAMS) if known.issuperset(_DIRECTION_PROGRAMS) else ()
        if known.issuperset(_WHOLE_PACKET_PROGRAMS):
            yield (*_STATE_PROGRAM, *_WHOLE_PACKET_PROGRAMS, *directed)
        yield (*_STATE_PROGRAM, *_PACKET_PROGRAMS, *directed)

    def _load_programs(self, network: Sequence[str]) -> None:
        """Load and attach those about processes and these about the network. Raises OSError."""
        directed = set(_DIRECTION_PROGRAMS) <= set(network)
        self._object = loaded = BpfObject(object_path())
        loaded.set_max_entries("ring", self._ring_bytes)
        loaded.set_max_entries("scratch", _possible_cpus())
        loaded.set_constants(".rodata", _CONSTANTS.pack(self._args_limit, ENV_LIMIT, directed))
        for name in _NETWORK_PROGRAMS:
            if name not in network:
                loaded.leave_out(name)
        loaded.load()
        self._ring = RingBuffer(loaded.map_fd("ring"), self._ring_bytes)
        loaded.attach()
        self._attached = True
        if network:
            whole = set(_WHOLE_PACKET_PROGRAMS) <= set(network)
            lacking = (*(() if directed else (_UNDIRECTED,)), *(() if whole else (_IN_FRONT_ONLY,)))
            self._begin(network=True, lacking=lacking)
            self._remember_listeners(loaded)

    def _remember_listeners(self, loaded: BpfObject) -> None:
        """Tell the programs who listened before them, so that what is accepted there has a process."""
        try:
            listening = inventory()
        except OSError:
            return
        self._ports = self._decoder.network.listening = ListeningPorts(one.socket for one in listening)
        for socket, holder in listening:
            if socket.protocol == TCP and holder is not None:
                key = _LISTENER_KEY.pack(socket.local, socket.namespace, socket.local_port, socket.family)
                with suppress(OSError):  # the programs have seen it start to listen a moment ago, or it is one too many
                    loaded.put("listeners", key, _LISTENER.pack(holder.start_ticks * TICK_NS, holder.pid, 0, 1))

    def _waited_until(self) -> int:
        """Return until which moment since boot DNS questions have waited; once stopped, no answer can come any more."""
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return now_ns if self._attached else now_ns + ANSWER_WITHIN_NS

    def _silent_listeners(self, now: float) -> list[Observation]:
        """Return the UDP servers that nobody has talked to yet, looked for now and then."""
        if not self._attached or "network" not in self.provides or now - self._listed < _SILENT_S:
            return []
        self._listed = now
        found = self._ports.silent(time.time_ns())
        self._found += len(found)
        return found


def _known_to_kernel(programs: Mapping[str, str]) -> set[str]:
    """Return those programs of which the running kernel describes what they need."""
    try:
        types = _KERNEL_TYPES.read_bytes()
    except OSError:
        return set()
    return {program for program, need in programs.items() if b"\0" + need.encode() + b"\0" in types}


def _why(error: OSError) -> tuple[str, str]:
    """Return why the programs can't be used, and what would change that."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            "the kernel does not permit loading BPF programs",
            "run Shield as the host's root, outside of containers, or with CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE",
        )
    if not _has_types():
        return (
            f"the kernel does not describe its types ({_KERNEL_TYPES} lacks or is empty)",
            "boot a kernel with BTF (CONFIG_DEBUG_INFO_BTF), as those of all large distributions are",
        )
    log = error.log.splitlines()[-1:] if isinstance(error, BpfError) else []
    return "; ".join([str(error), *log]), "needs Linux 5.8 or newer with BTF and libbpf 1.0"


def _counts_as_the_host() -> bool:
    """Whether /proc numbers processes as the BPF programs do, as the initial pid namespace does (linux/nsfs.h)."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _INITIAL_PIDS
    except OSError:
        return True  # nothing is read from there, then


def _has_types() -> bool:
    try:
        return _KERNEL_TYPES.stat().st_size > 0
    except OSError:
        return False


@cache
def _possible_cpus() -> int:
    """Return how many values a per-CPU map holds: one for each CPU there could ever be (sysfs cpu/possible)."""
    with open("/sys/devices/system/cpu/possible") as file:
        return int(file.read().strip().rpartition(",")[2].rpartition("-")[2]) + 1
