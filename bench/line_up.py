"""All the contestants, which of them this host has, and their turns: every round begins with another one."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.auditd import Auditd, AuditdLaurel
from bench.contestants import Contestant, PsutilPoll, Shield, ShieldSigmaHq
from bench.report import progress
from bench.spawning import Series

ALL: tuple[type[Contestant], ...] = (Contestant, Shield, ShieldSigmaHq, Auditd, AuditdLaurel, PsutilPoll)
AUDIT_PEERS = (Auditd.name, AuditdLaurel.name)
PEERS = (*AUDIT_PEERS, PsutilPoll.name)


def present() -> tuple[list[type[Contestant]], dict[str, str]]:
    """Return the contestants that can run here, and for each other one why not and what to install."""
    missing = {each.name: each.missing() for each in ALL}
    for name, why in missing.items():
        if why:
            progress(f"without {name}: {why}")
    return [each for each in ALL if not missing[each.name]], {name: why for name, why in missing.items() if why}


def turns(contestants: Sequence[type[Contestant]], rounds: int) -> Iterator[tuple[int, type[Contestant]]]:
    """Yield round and contestant of each turn, in an order in which no one always comes first or after the same one."""
    for number in range(rounds):
        offset = number % len(contestants)
        order = [*contestants[offset:], *contestants[:offset]]
        yield from ((number, each) for each in (order if number % 2 == 0 else order[::-1]))


@contextmanager
def folder() -> Iterator[Path]:
    """Lend a folder for one turn, on the disk that temporary files go to."""
    with tempfile.TemporaryDirectory(prefix="shield-bench-") as path:
        yield Path(path)


def captured(running: Contestant, works: Sequence[Series]) -> Counter[str]:
    """Return for the mark of each series how many of its processes it has with an argv equal to what was started."""
    wanted = {tuple(work.argv(index)): work.mark for work in works for index in range(work.count)}
    found = {argv for each in running.executions() if (argv := tuple(each)) in wanted}
    return Counter(wanted[argv] for argv in found)
