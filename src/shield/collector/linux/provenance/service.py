"""Where the program of a process comes from: its hashes, its package, whether it is what that package brought.

`of` answers at once, and never waits: from memory for a program that was met before, by looking where that takes a few
milliseconds, and else with NOT_YET; then `finished` gives the answer later. What may take long is done in threads, one
for local files and one for those that a network or a hostile program must deliver, which may never answer.
"""

import os
import queue
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from shield.collector.linux.packages.packages import Packages
from shield.collector.linux.provenance.examination import Examined, Examiner, Subject, TooLarge
from shield.collector.linux.provenance.filesystems import LocalFilesystems
from shield.collector.linux.provenance.memory import ProgramMemory, Recent
from shield.collector.linux.provenance.program import CHANGED, GONE, UNREADABLE, Unseen, identity_of
from shield.collector.linux.provenance.workload import Budget, Lane
from shield.event import Ledger, Process, Provenance
from shield.text import encode

NOT_YET = "the program's provenance is not known yet"
TOO_MANY = "too many programs wait to be looked at"

REMEDIES = {
    "gone": "Use the ebpf source: it knows the file of a program that ends at once.",
    "unreadable": "Let the agent read the programs: it needs root, or CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE.",
    "changed": "Look at who writes to a program while it runs.",
    "queue_full": "Look for a file system that does not answer.",
}
"""Why there is no provenance, and what to do."""

_REASONS = {GONE: "gone", UNREADABLE: "unreadable", CHANGED: "changed", TOO_MANY: "queue_full"}
_FRESH_S, _FRESH_ELSEWHERE_S = 1.0, 60.0
_AT_ONCE_BYTES_PER_S = 250_000_000
_TICKETS_MOST = 64
_LOOK_EVERY_S = 5.0
_UNDECIDED_S = 300.0

Ticket = tuple[int, int]
"""Which start of a program an answer is about: its pid, and when it was, in Unix nanoseconds."""

_Key = tuple[int, int, str, int]


class ProvenanceOptions(Struct, frozen=True):
    """How much is done, and when.

    Files of more than `max_bytes` aren't hashed. Of files up to `at_once_bytes` the answer is there at once, as long as
    all such take less than `at_once_s` of each second; all others wait, `queue` at most, and are read at
    `bytes_per_s`. `remembered` programs are kept in memory, and of `first_seen` programs when they were first met.
    """

    max_bytes: int = 256 << 20
    at_once_bytes: int = 4 << 20
    at_once_s: float = 0.02
    bytes_per_s: int = 64 << 20
    queue: int = 256
    remembered: int = 1024
    first_seen: int = 8192


_DEFAULTS = ProvenanceOptions()


class Learnt(NamedTuple):
    """What is known of a program; without provenance, `gap` says why."""

    provenance: Provenance | None
    hashes: dict[str, str]
    gap: str = ""


class _Known:
    """An answer, and until when it counts without another look."""

    __slots__ = ("fresh_s", "fresh_until", "generation", "here", "identity", "learnt")

    def __init__(self, learnt: Learnt, examined: Examined, now: float) -> None:
        self.learnt = learnt
        self.identity = examined.identity
        self.here = examined.here
        self.generation = examined.generation
        subject = examined.subject
        # A program that no package vouches for, or that only its path tells from others, is looked at every time.
        trusted = examined.verdict.state == "unchanged" and subject.process.exe_inode
        self.fresh_s = (_FRESH_S if trusted else 0.0) if subject.local else _FRESH_ELSEWHERE_S
        self.fresh_until = now + self.fresh_s


class Provenances:
    """The provenance of programs, by the package databases in `packages`."""

    def __init__(
        self, packages: Packages, options: ProvenanceOptions = _DEFAULTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._packages = packages
        self._options = options
        self._clock = clock
        self._memory = ProgramMemory(options.remembered, options.first_seen)
        self._examiner = Examiner(packages, self._memory.contents, options.max_bytes, options.bytes_per_s)
        self._filesystems = LocalFilesystems()
        self._budget = Budget(options.at_once_s, clock)
        self._known: Recent[_Key, _Known] = Recent(options.remembered)
        self._asked: dict[_Key, list[Ticket]] = {}
        self._undecided: dict[_Key, tuple[Examined, float]] = {}
        self._results: queue.SimpleQueue[tuple[_Key, Examined | Unseen]] = queue.SimpleQueue()
        self._local = Lane("shield-provenance", options.queue)
        self._elsewhere = Lane("shield-provenance-elsewhere", options.queue)
        self._look_at = 0.0
        self._seen = self._kept = 0
        self._dropped: Counter[str] = Counter()

    def of(self, process: Process, started_ns: int) -> Learnt:
        """Return what is known of the program that `process` has run since `started_ns`, in Unix nanoseconds."""
        self._seen += 1
        namespaces = process.namespaces
        key = process.exe_device, process.exe_inode, process.exe, namespaces.mnt if namespaces is not None else 0
        known = self._known.get(key)
        if known is not None and known.generation == self._packages.generation:
            now = self._clock()
            if now < known.fresh_until or self._still(key, known, process, now):
                self._kept += 1
                return known.learnt
        return self._unknown(key, process, started_ns)

    def finished(self) -> list[tuple[Ticket, Learnt]]:
        """Return the answers that have come since the last call, to what was NOT_YET known."""
        self._look()
        found: list[tuple[Ticket, Learnt]] = []
        while not self._results.empty():
            key, result = self._results.get_nowait()
            if isinstance(result, Examined) and not result.settled:
                self._decide_later(key, result)
                continue
            tickets = self._asked.pop(key, [])
            learnt = self._lost(result, len(tickets)) if isinstance(result, Unseen) else self._learn(key, result)
            self._kept += len(tickets) if learnt.provenance is not None else 0
            found += [(ticket, learnt) for ticket in tickets]
        return found

    def ledger(self) -> Ledger:
        """Return what became of every program start that was asked about."""
        pending = sum(len(tickets) for tickets in self._asked.values())
        return Ledger("provenance", seen=self._seen, kept=self._kept, dropped=dict(self._dropped), pending=pending)

    def state(self) -> bytes:
        """Return what is worth keeping for the next run."""
        return self._memory.export()

    def restore(self, state: bytes) -> None:
        """Take in what `state` once gave. Raises ValueError where it can't be used."""
        self._memory.restore(state)

    def close(self) -> None:
        """End the threads; one that waits for a file system is left to it."""
        self._local.close()
        self._elsewhere.close()
        self._filesystems.close()

    def _still(self, key: _Key, known: _Known, process: Process, now: float) -> bool:
        """Return whether the file is as it was, and count on that for a moment."""
        if not self._is_local(process):
            return False
        try:
            status = os.stat(encode(process.exe) if known.here else f"/proc/{process.pid}/exe")
        except (OSError, ValueError):
            return False
        if identity_of(status) != known.identity:
            return False
        known.fresh_until = now + known.fresh_s
        self._known.put(key, known)
        return True

    def _is_local(self, process: Process) -> bool:
        return process.exe_memfd or self._filesystems.local(process.exe_device, process.exe)

    def _unknown(self, key: _Key, process: Process, started_ns: int) -> Learnt:
        """Look at a program, now or later."""
        ticket = process.pid, started_ns
        if key in self._asked:
            return self._wait(self._asked[key], ticket)
        subject = Subject(_bare(process), started_ns, self._is_local(process))
        try:
            examined = self._at_once(subject)
        except Unseen as reason:
            return self._lost(reason)
        if examined is not None and examined.settled:
            self._kept += 1
            return self._learn(key, examined)
        if len(self._asked) >= self._options.queue:
            return self._lost(Unseen(TOO_MANY))
        if examined is not None:
            self._decide_later(key, examined)
        elif not self._submit(key, subject.local, lambda: self._examiner.in_time(subject)):
            return self._lost(Unseen(TOO_MANY))
        self._asked[key] = [ticket]
        return Learnt(None, {}, NOT_YET)

    def _wait(self, tickets: list[Ticket], ticket: Ticket) -> Learnt:
        """Join those who have asked for the same."""
        if len(tickets) >= _TICKETS_MOST:
            return self._lost(Unseen(TOO_MANY))
        tickets.append(ticket)
        return Learnt(None, {}, NOT_YET)

    def _at_once(self, subject: Subject) -> Examined | None:
        """Examine a program if there is time for it now. Raises Unseen."""
        left = self._budget.left()
        if left <= 0 or not subject.local or not self._packages.ready:
            return None
        began = self._clock()
        try:
            return self._examiner.at_once(subject, min(self._options.at_once_bytes, int(left * _AT_ONCE_BYTES_PER_S)))
        except TooLarge:
            return None
        finally:
            self._budget.spend(self._clock() - began)

    def _submit(self, key: _Key, local: bool, examine: Callable[[], Examined]) -> bool:
        """Have a thread examine a program; return whether there was room for it."""
        lane = self._local if local else self._elsewhere
        return lane.put(lambda: self._results.put((key, _outcome(examine))))

    def _decide_later(self, key: _Key, examined: Examined) -> None:
        _, until = self._undecided.get(key, (None, self._clock() + _UNDECIDED_S))
        self._undecided[key] = examined, until

    def _look(self) -> None:
        """Follow changes of the databases, and decide what waited for them."""
        now = self._clock()
        if now < self._look_at or not self._packages.ready:
            return
        self._look_at = now + _LOOK_EVERY_S
        settled = self._packages.settled()
        if not settled and not self._packages.busy():
            self._local.put(self._packages.load)
        for key, (examined, until) in list(self._undecided.items()):
            if settled or now >= until:
                self._decide(key, examined, now >= until)

    def _decide(self, key: _Key, examined: Examined, last: bool) -> None:
        if self._submit(key, True, lambda: self._examiner.judged(examined, last)):
            self._undecided[key] = examined, 0.0 if last else self._undecided[key][1]

    def _learn(self, key: _Key, examined: Examined) -> Learnt:
        """Remember what was found, and return it as an answer."""
        content, verdict, facts = examined.content, examined.verdict, examined.content.facts
        subject = examined.subject
        provenance = Provenance(
            package=verdict.package,
            package_version=verdict.version,
            package_state=verdict.state,
            format=facts.format,
            static=facts.static,
            stripped=facts.stripped,
            packer=facts.packer,
            build_id=facts.build_id,
            writable=examined.writable,
            first_seen_ns=self._memory.first_seen(subject.process.exe, content, subject.started_ns),
        )
        learnt = Learnt(provenance, content.hashes)
        self._undecided.pop(key, None)
        self._memory.contents.put(examined.identity, content)
        self._known.put(key, _Known(learnt, examined, self._clock()))
        return learnt

    def _lost(self, reason: Unseen, starts: int = 1) -> Learnt:
        self._dropped[_REASONS[str(reason)]] += starts
        return Learnt(None, {}, str(reason))


def _bare(process: Process) -> Process:
    """Return what is needed to find a program; arguments, which may be long, don't wait with it."""
    return Process(
        pid=process.pid,
        ppid=process.ppid,
        exe=process.exe,
        exe_memfd=process.exe_memfd,
        exe_deleted=process.exe_deleted,
        exe_inode=process.exe_inode,
        exe_device=process.exe_device,
        namespaces=process.namespaces,
    )


def _outcome(examine: Callable[[], Examined]) -> Examined | Unseen:
    try:
        return examine()
    except Unseen as reason:
        return reason
    except Exception:  # noqa: BLE001  whatever a hostile file makes of a reader, the thread goes on with the next
        return Unseen(UNREADABLE)
