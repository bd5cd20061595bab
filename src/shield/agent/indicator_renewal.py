"""Indicators in force, renewed when their files change, without holding up the watch.

A process of its own reads the files and writes the new index to a nameless file, which is then mapped: a thread
would hold up the watch by a quarter of a second at a time. What reading takes in memory goes back with the process.
Until a new index is whole, and for good where one of its files can't be used, the old one stays in force.
"""

import mmap
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import IO

import msgspec
from msgspec import Struct

from shield.agent import child
from shield.agent.indicators import SUFFIXES, NoIndicators, Report, build
from shield.agent.places import signature
from shield.event import Event, Signal
from shield.policy.schema import Policy
from shield.scorer.indicators.index import DamagedIndex, Index, block
from shield.scorer.indicators.match import Indicators

_LOOK_EVERY_S = 5.0
_TOLD_MOST = 5
_MODULE = "shield.agent.indicators"


class Renewal(Struct, frozen=True):
    """What came of new files: `indicators` are to be used from now on, or `problem` says why the old ones stay."""

    indicators: Indicators | None
    report: Report
    problem: str = ""


class RenewedIndicators:
    """The indicators in `places`, as a witness. Raises NoIndicators where one of them is missing at the start."""

    def __init__(self, places: Sequence[str], policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = tuple(places)
        self._policy = policy
        self._clock = clock
        self._look_at = clock() + _LOOK_EVERY_S
        self._signature = self._seen = signature(self._places, SUFFIXES)
        self._asked = False
        self._build: _Build | None = None
        self.current, self.report = self._first()

    def signals(self, event: Event) -> tuple[Signal, ...]:
        """Return what the indicators in force say about one event."""
        return self.current.signals(event)

    def judge_by(self, policy: Policy) -> None:
        """Give points by `policy` from now on."""
        self._policy = policy
        self.current = Indicators(self.current.index, policy)

    def renew(self) -> None:
        """Read the files anew at the next look, whether or not they seem changed."""
        self._asked = True
        self._look_at = self._clock()

    def care(self) -> Renewal | None:
        """Look whether the files have changed, or a new index is ready; returns at once."""
        if self._build is not None:
            return self._ended(self._build) if self._build.ended else None
        now = self._clock()
        if now < self._look_at:
            return None
        self._look_at = now + _LOOK_EVERY_S
        seen, self._seen = self._seen, signature(self._places, SUFFIXES)
        settled = self._seen != self._signature and self._seen == seen  # a file that still changes is being written
        if not settled and not self._asked:
            return None
        self._asked = False
        self._signature = self._seen
        return self._begin()

    def close(self) -> None:
        """End what is being built."""
        if self._build is not None:
            self._build.close()
            self._build = None

    def _first(self) -> tuple[Indicators, Report]:
        try:
            first = _Build(self._places)
        except OSError:  # no process to be had: read them here
            builder, report = build(self._places)
            return Indicators(Index(block(builder)), self._policy), report
        index, report = first.wait()
        if index is None:
            raise NoIndicators("\n".join(report.unusable))
        return Indicators(index, self._policy), report

    def _begin(self) -> Renewal | None:
        try:
            self._build = _Build(self._places)
        except OSError as error:
            return Renewal(None, self.report, f"no process to read them: {error.strerror}; the old ones stay in force")
        return None

    def _ended(self, ended: "_Build") -> Renewal:
        self._build = None
        index, report = ended.wait()
        if index is None or report.unusable:
            return Renewal(None, report, f"{_few(report.unusable)}. The old indicators stay in force.")
        self.current, self.report = Indicators(index, self._policy), report
        return Renewal(self.current, report)


class _Build:
    """One process that reads the files. Raises OSError where it can't be started."""

    def __init__(self, places: Sequence[str]) -> None:
        with ExitStack() as files:
            self._index = files.enter_context(tempfile.TemporaryFile())
            self._report = files.enter_context(tempfile.TemporaryFile())
            self._process = child.start(_MODULE, places, stdout=self._index, stderr=self._report)
            self._files = files.pop_all()

    @property
    def ended(self) -> bool:
        """Whether `wait` returns at once."""
        return self._process.poll() is not None

    def wait(self) -> tuple[Index | None, Report]:
        """Return the index, None where there is none to use, and the report."""
        code = self._process.wait()
        with self._files:
            report = _report(self._report, code)
            if code != 0:
                return None, report
            try:
                mapped = mmap.mmap(self._index.fileno(), 0, access=mmap.ACCESS_READ)
                return Index(memoryview(mapped)), report
            except (DamagedIndex, OSError, ValueError) as error:
                return None, Report(unusable=(f"the new index can't be used: {error}; make room for temporary files",))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._files.close()


def _report(file: IO[bytes], code: int) -> Report:
    file.seek(0)
    try:
        return msgspec.json.decode(file.read(), type=Report)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return Report(unusable=(f"the process that reads the indicators {how}; look for lack of memory",))


def _few(told: Sequence[str]) -> str:
    more = len(told) - _TOLD_MOST
    return "\n".join([*told[:_TOLD_MOST], *([f"and {more} more"] if more > 0 else [])])
