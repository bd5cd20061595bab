"""What a contestant is asked in its turn and what it answers: JSON between bench.engine and bench.engine_turn."""

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from bench.quantiles import Tail

Hits = dict[str, list[int]]
"""By a rule's id the events that it matched, by their place in the stream, from 0."""

_KIB_A_MIB = 1024


class Match(Struct, frozen=True, tag=True):
    """Match the first `count` events, JSON lines, with a folder of rules, after `warm_up` events that don't count.

    `cache` is a folder that holds the rules compiled.
    """

    rules: str
    cache: str
    events: str
    count: int
    warm_up: str


class MatchBySql(Struct, frozen=True, tag=True):
    """The same for the peer, whose rules are queries already."""

    queries: str
    events: str
    count: int


class Stages(Struct, frozen=True, tag=True):
    """Take an EVTX file through Shield's stages, and measure each."""

    rules: str
    cache: str
    evtx: str


class Load(Struct, frozen=True, tag=True):
    """Load a folder of rules and prepare the matcher, with what is in the folder `cache`; without it all anew."""

    rules: str
    cache: str = ""


class LoadQueries(Struct, frozen=True, tag=True):
    """Load the peer's queries."""

    queries: str


class Convert(Struct, frozen=True, tag=True):
    """Turn a folder of rules into the peer's queries, and write them to a file."""

    rules: str
    queries: str


class Detect(Struct, frozen=True, tag=True):
    """Take an EVTX file through all of the peer's stages, and write the events found to a file."""

    queries: str
    evtx: str
    output: str


class Run(Struct, frozen=True, tag=True):
    """Run a whole program, and measure it from its start to its end. `given` goes to its standard input."""

    command: list[str]
    environment: dict[str, str] = {}
    given: str = ""


Task = Match | MatchBySql | Stages | Load | LoadQueries | Convert | Detect | Run


class Memory(Struct, frozen=True):
    """Resident memory of the whole process in MiB, its interpreter included: at its end, and at most."""

    rss_mib: float
    peak_mib: float


class Matched(Struct, frozen=True):
    """What matching came to. `rules` are the ids of those that took part, `lacking` the others, with why.

    `steps` are CPU seconds by step. `per_event_us` is null where events don't come one by one.
    """

    rules: list[str]
    events: int
    cpu_s: float
    steps: dict[str, float]
    per_event_us: Tail | None
    hits: Hits
    memory: Memory
    lacking: dict[str, str] = {}


class Staged(Struct, frozen=True):
    """CPU seconds of each stage over all the records of a file."""

    records: int
    cpu_s: dict[str, float]


class Loaded(Struct, frozen=True):
    """How long loading took; `refused` rules were not loaded, by id or file name with the reason."""

    rules: int
    seconds: float
    steps: dict[str, float]
    memory: Memory
    refused: dict[str, str] = {}


class Ran(Struct, frozen=True):
    """What a program cost: CPU seconds, seconds on the clock, resident MiB at most; and what it said."""

    cpu_s: float
    seconds: float
    peak_mib: float
    code: int
    output: str
    errors: str


class Clock:
    """Adds up the CPU seconds of each step of a turn. What other processes do on the core doesn't count."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Generator[None, None, None]:
        """Add what is done within to the step `name`."""
        began = time.process_time()
        yield
        self.steps[name] = self.steps.get(name, 0.0) + time.process_time() - began

    @property
    def total(self) -> float:
        """All steps together."""
        return sum(self.steps.values())


def memory() -> Memory:
    """Return this process's own memory."""
    text = Path("/proc/self/status").read_text()
    return Memory(_mib("VmRSS", text), _mib("VmHWM", text))


def _mib(field: str, text: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return round(int(found[1]) / _KIB_A_MIB, 1) if found else 0.0
