"""Examining one program: what is in its file, and what this system's packages say about it."""

import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from shield.collector.linux.packages.packages import Packages, Verdict
from shield.collector.linux.provenance.program import (
    Content,
    Identity,
    is_writable,
    namespace_of,
    open_program,
    read_content,
)
from shield.event import Process

HASHES = frozenset({"sha256", "md5"})
"""What every file is hashed with, beside what package databases want."""


class TooLarge(Exception):
    """There is more to read than there is time for."""


class Subject(NamedTuple):
    """A program to be examined. `local` says that its file system answers by itself."""

    process: Process
    started_ns: int
    local: bool


class Examined(NamedTuple):
    """What was found. `here` says that its path leads to it, outside of containers.

    `contained` is a program that this system's packages say nothing about. `generation` is that of the packages. A
    verdict is not `settled` while a package manager at work may be about to make it untrue.
    """

    subject: Subject
    identity: Identity
    content: Content
    here: bool
    contained: bool
    writable: bool
    verdict: Verdict = Verdict()
    generation: int = 0
    settled: bool = True


class Examiner:
    """Examines programs by `packages`; of files in the state of `known` the content is known. Used by any thread."""

    def __init__(self, packages: Packages, known: Mapping[Identity, Content], max_bytes: int, bytes_per_s: int) -> None:
        self._packages = packages
        self._known = known
        self._max_bytes = max_bytes
        self._bytes_per_s = bytes_per_s
        self._algorithms = sorted(HASHES | packages.algorithms)
        self._namespace = namespace_of("self")

    def at_once(self, subject: Subject, most: int) -> Examined:
        """Examine a program of which there are `most` bytes to read. Raises Unseen and TooLarge."""
        return self._examined(subject, most, None)

    def in_time(self, subject: Subject) -> Examined:
        """Examine a program, as slowly as the rate asks for. Raises Unseen."""
        return self._examined(subject, None, lambda size: time.sleep(size / self._bytes_per_s))

    def judged(self, examined: Examined, last: bool = False) -> Examined:
        """Return what the packages say now, for the `last` time."""
        if not self._packages.ready:
            self._packages.load()
        generation = self._packages.generation
        if examined.contained:
            return examined._replace(generation=generation)
        # Nobody knows any more what a file that was deleted or replaced should be.
        hashes = examined.content.hashes if examined.here else {}
        verdict = self._packages.verdict(examined.subject.process.exe, hashes)
        settled = last or verdict.state not in ("unowned", "modified") or self._packages.settled()
        return examined._replace(verdict=verdict, generation=generation, settled=settled)

    def _examined(self, subject: Subject, most: int | None, pause: Callable[[int], None] | None) -> Examined:
        process = subject.process
        program = open_program(process, subject.started_ns, self._namespace)
        try:
            content = self._known.get(program.identity)
            if content is None or not content.hashes.keys() >= {*self._algorithms}:
                if most is not None and program.status.st_size > most:
                    raise TooLarge
                content = read_content(program, self._algorithms, self._max_bytes, pause)
            writable = is_writable(process.exe, program)
        finally:
            os.close(program.descriptor)
        own = process.namespaces is not None and process.namespaces.mnt == self._namespace
        contained = not program.here and not own
        return self.judged(Examined(subject, program.identity, content, program.here, contained, writable))
