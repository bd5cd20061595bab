"""Running programs without a file behind them: deleted since, or never in more than memory.

A program that a newer one has replaced, as an update does, is not told: a file stands at its path.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from shield.collector.linux.procfs import ProcessGone, ProcfsReader
from shield.event import System
from shield.record import Actor, Observation
from shield.text import decode

_DELETED = b" (deleted)"
_SHARED_MEMORY = (b"/dev/shm/", b"/run/shm/")
_KNOWN_MOST = 65_536


class UnbackedPrograms:
    """Tells each process once that runs from memory or from a deleted file."""

    def __init__(self, procfs: ProcfsReader, root: Path = Path("/proc")) -> None:
        self._procfs = procfs
        self._root = root
        self._told: set[tuple[int, int]] = set()
        self._met: set[tuple[int, int]] = set()

    def look(self, pids: list[int]) -> Iterator[Observation | str]:
        """Yield what some of the processes run without a file, or why one is not told."""
        for pid in pids:
            try:
                image = os.readlink(b"%s/%d/exe" % (os.fsencode(self._root), pid))
            except OSError:
                continue  # a thread of the kernel, another user's process, or one that ended
            if image.endswith(_DELETED) or image.startswith(_SHARED_MEMORY):
                yield from self._unbacked(pid, image)

    def rounded(self) -> None:
        """Forget the processes that were not met in the round that is over."""
        self._told, self._met = self._met, set()

    def _unbacked(self, pid: int, image: bytes) -> Iterator[Observation | str]:
        path = image.removesuffix(_DELETED)
        kind = _memory(path)
        if not kind and self._has_file(pid, path):
            yield "replaced_program"
            return
        try:
            shown = self._procfs.read(pid)
        except ProcessGone:
            return
        key = pid, shown.start_ticks
        if len(self._met) < _KNOWN_MOST:
            self._met.add(key)
        if key in self._told:
            return
        self._told.add(key)
        system = System("memory_program" if kind else "deleted_program", decode(path), type=kind)
        actor = Actor(pid, shown.start_ticks, shown.process, shown.user)
        yield Observation(time.time_ns(), "system_change", actor, container=shown.container, system=system)

    def _has_file(self, pid: int, path: bytes) -> bool:
        """Whether there is a file at `path`, as the process itself would find it."""
        return os.path.lexists(b"%s/%d/root%s" % (os.fsencode(self._root), pid, path))


def _memory(path: bytes) -> str:
    """Return the kind of memory a program's path says it is in, "" for a file system."""
    if path.startswith(b"/memfd:"):
        return "memfd"
    if path.startswith(_SHARED_MEMORY):
        return "shm"
    # A file that was made without a name (open(2), O_TMPFILE) is shown as its inode's number.
    return "tmpfile" if path.rpartition(b"/")[2].startswith(b"#") else ""
