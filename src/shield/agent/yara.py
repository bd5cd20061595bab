"""Scanning programs that start and files that are written with YARA rules, beside the watch.

`offer` takes an event and returns at once; `findings` gives, later, what was found about it. Between them stand a
bounded queue and a process of its own (`shield.agent.yara_worker`), which is replaced when it dies or hangs: on a file
system that doesn't answer, on a file that breaks the scanner. What is not scanned is counted by its reason.
"""

import contextlib
import os
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from shield.agent import child
from shield.agent.configuration import YaraSettings
from shield.agent.places import signature
from shield.agent.yara_message import Answer, Ask, Found, FromWorker, Match, Order, Ready
from shield.agent.yara_rules import SUFFIXES, BadYaraRules, check_installed
from shield.event import Category, Event, Evidence, Ledger, Severity, Signal
from shield.policy.schema import LEVEL_POINTS, Policy

DROPPED = ("queue_full", "timeout", "hung", "died", "unreadable", "scan_error", "no_rules")
"""Why a file that should have been scanned was not. All other reasons are in order."""

REMEDIES = {
    "queue_full": "Give yara.queue more room, or scan with fewer rules.",
    "timeout": "Raise yara.timeout_seconds, or find the slow rule.",
    "hung": "Look for a file system that does not answer.",
    "died": "Look for lack of memory, and for a file that breaks the scanner.",
    "unreadable": "Let the agent read the files: it needs root, or CAP_DAC_READ_SEARCH.",
    "scan_error": "Update yara-x.",
    "no_rules": "Correct the YARA rules.",
}
_FILES: frozenset[Category] = frozenset(("file_create", "file_write", "file_rename"))
_ASKED_MOST = 32
_GRACE_S = 5.0
_RESTART_EVERY_S = 10.0
_LOOK_EVERY_S = 5.0
_START_S = 120.0
_MODULE = "shield.agent.yara_worker"
_READ = 1 << 16
_TECHNIQUE = re.compile(r"[Tt]\d{4}(?:\.\d{3})?")
_SEVERITIES: dict[str, Severity] = {
    "informational": "informational",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "critical": "critical",
}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder[FromWorker](FromWorker)


class Finding(Struct, frozen=True):
    """What was found in the file that `event` is about: a signal for each rule."""

    event: Event
    path: str
    signals: tuple[Signal, ...]


class YaraScanner:
    """Scans with the rules of `settings`, under the weights of `policy`. Raises BadYaraRules."""

    def __init__(self, settings: YaraSettings, policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        check_installed()
        self._settings = settings
        self.policy = policy
        """Gives the points of what is found."""
        self._clock = clock
        self.rules = 0
        """How many rules are in use."""
        self.problems: tuple[str, ...] = ()
        """What is wrong with rule files that were left out at the start."""
        self._seen = self._scanned = self._next_id = 0
        self._filtered: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._waiting: deque[tuple[Event, Ask]] = deque()
        self._known: set[tuple[str, int]] = set()
        self._asked: dict[int, tuple[Event, Ask]] = {}
        self._news: list[str] = []
        self._heard = self._look_at = clock()
        self._signature = self._last = signature(settings.rules, SUFFIXES)
        self._worker: _Worker | None = None
        self._compiling = False
        self._start()
        self._await_rules()

    @property
    def dropped(self) -> dict[str, int]:
        """Files that should have been scanned and were not, by reason."""
        return self._dropped

    def offer(self, event: Event) -> None:
        """Have the file that `event` is about scanned, if it is about one; never waits."""
        ask = self._ask(event)
        if ask is None:
            return
        self._seen += 1
        key = ask.path, ask.inode
        if key in self._known:
            _count(self._filtered, "already_waiting")
        elif len(self._waiting) >= self._settings.queue:
            _count(self._dropped, "queue_full")
        else:
            self._next_id += 1
            self._known.add(key)
            self._waiting.append((event, ask))

    def findings(self) -> list[Finding]:
        """Return what was found since the last call, and hand on what waits; never waits itself."""
        self._care()
        found = list(self._heard_of())
        self._hand_on()
        return found

    def news(self) -> list[str]:
        """Return, once, why new rules are not in use or the scanner had to be replaced."""
        told, self._news = self._news, []
        return told

    def renew(self) -> None:
        """Have the rules compiled anew, whether or not their files seem changed."""
        self._order()

    def ledger(self) -> Ledger:
        """Return what became of every file that was offered."""
        return Ledger(
            source="yara",
            seen=self._seen,
            kept=self._scanned,
            filtered=dict(self._filtered),
            dropped=dict(self._dropped),
            pending=len(self._waiting) + len(self._asked),
        )

    def close(self) -> None:
        """End the scanning process; what waits isn't scanned any more."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _ask(self, event: Event) -> Ask | None:
        process, file = event.data.process, event.data.file
        if event.category == "process_start" and process is not None and process.exe and not process.exe_memfd:
            return Ask(self._next_id, process.exe, process.pid, process.exe_inode)
        if event.category in _FILES and file is not None:
            return Ask(self._next_id, file.path)
        return None

    def _start(self) -> None:
        self._worker = _Worker()
        self._order()

    def _order(self) -> None:
        settings = self._settings
        if self._worker is not None:
            self._compiling, self._heard = True, self._clock()
            self._worker.send(_encoder.encode(Order(settings.rules, settings.max_bytes, settings.timeout_seconds)))

    def _await_rules(self) -> None:
        """Wait for the first rules to be compiled."""
        end = time.monotonic() + _START_S
        while self._worker is not None and time.monotonic() < end:
            for said in self._worker.said():
                if isinstance(said, Ready):
                    if said.refused:
                        self.close()
                        raise BadYaraRules(said.refused)
                    self._compiling = False
                    self.rules, self.problems = said.rules, said.problems
                    return
            if self._worker.ended:
                break
            time.sleep(0.01)
        self.close()
        raise BadYaraRules("yara.rules: the process that compiles the rules did not come up; look for lack of memory")

    def _care(self) -> None:
        """Replace a process that is gone or hangs, and have changed rules compiled."""
        now = self._clock()
        patience = _START_S if self._compiling else self._settings.timeout_seconds + _GRACE_S
        if self._worker is not None and self._worker.ended:
            self._lose("died")
        elif (self._asked or self._compiling) and now - self._heard > patience:
            self._lose("hung")
        if self._worker is None and now - self._heard > _RESTART_EVERY_S:
            try:
                self._start()
            except OSError as error:
                self._heard = now
                self._news.append(f"the YARA scanner can't be started: {error.strerror}; the agent tries again")
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._look()

    def _look(self) -> None:
        last, self._last = self._last, signature(self._settings.rules, SUFFIXES)
        if self._last != self._signature and self._last == last:  # a file that still changes is still being written
            self._signature = self._last
            self._order()

    def _lose(self, reason: str) -> None:
        self.close()
        self._compiling, self._heard = False, self._clock()
        for _, ask in self._asked.values():
            self._known.discard((ask.path, ask.inode))
            _count(self._dropped, reason)
        self._asked.clear()
        self._news.append(f"the YARA scanner {reason} and is replaced")

    def _hand_on(self) -> None:
        if self._worker is None or self._compiling:
            return
        while self._waiting and len(self._asked) < _ASKED_MOST:
            event, ask = self._waiting.popleft()
            if not self._asked:
                self._heard = self._clock()
            self._asked[ask.id] = event, ask
            self._worker.send(_encoder.encode(ask))
        self._worker.flush()

    def _heard_of(self) -> Iterator[Finding]:
        for said in self._worker.said() if self._worker is not None else ():
            self._heard = self._clock()
            if isinstance(said, Ready):
                self._take_rules(said)
                continue
            event, ask = self._asked.pop(said.id, (None, None))
            if event is None or ask is None:
                continue
            self._known.discard((ask.path, ask.inode))
            self._account(said)
            if said.matches:
                yield Finding(event, ask.path, tuple(self._signal(match, event, ask) for match in said.matches))

    def _take_rules(self, ready: Ready) -> None:
        self._compiling = False
        if ready.refused:
            self._news.append(f"{ready.refused}. The old YARA rules stay in force.")
        else:
            self.rules = ready.rules

    def _account(self, answer: Answer) -> None:
        if answer.outcome == "scanned":
            self._scanned += 1
        else:
            _count(self._dropped if answer.outcome in DROPPED else self._filtered, answer.outcome)

    def _signal(self, match: Match, event: Event, ask: Ask) -> Signal:
        meta = dict(match.meta)
        rule_id = f"yara:{match.namespace}.{match.rule}"
        level = _level(meta)
        weights = self.policy.weights
        points = weights.get(rule_id, weights.get(match.rule))
        if points is None:
            points = _points(meta)
        tags = f" [{', '.join(match.tags)}]" if match.tags else ""
        return Signal(
            rule_id=rule_id,
            name=f"yara({match.rule})",
            points=(LEVEL_POINTS | self.policy.levels)[level] if points is None else points,
            title=str(meta.get("description", "")) or f"The YARA rule {match.rule} matches a file",
            level=level,
            field="process.exe" if event.category == "process_start" else "file.path",
            value=ask.path,
            pattern=f"YARA rule {match.namespace}.{match.rule}{tags}",
            further=tuple(_evidence(match)),
            attack=tuple(sorted({text.upper() for text in _TECHNIQUE.findall(" ".join((*match.tags, *_texts(meta))))})),
        )


class _Worker:
    """The scanning process and the pipes to it, which never block. Raises OSError."""

    def __init__(self) -> None:
        self._process = child.start(_MODULE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise OSError("the process has no pipes")
        self._stdin, self._stdout = stdin, stdout
        self._out, self._in = bytearray(), bytearray()
        os.set_blocking(stdin.fileno(), False)
        os.set_blocking(stdout.fileno(), False)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def send(self, line: bytes) -> None:
        """Say something, as soon as the pipe has room."""
        self._out += line + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write as much as the pipe takes."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._out:
                del self._out[: os.write(self._stdin.fileno(), self._out)]

    def said(self) -> Iterator[FromWorker]:
        """Yield what the process has said by now."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._stdout.fileno(), _READ):
                self._in += chunk
        *lines, rest = self._in.split(b"\n")
        self._in = bytearray(rest)
        for line in lines:
            # A question whose answer can't be read counts as unanswered: the process is replaced in time.
            with contextlib.suppress(msgspec.MsgspecError):
                yield _decoder.decode(line)

    def close(self) -> None:
        """End the process; one that the kernel holds on to is left to it."""
        self._process.kill()
        self._stdout.close()
        with contextlib.suppress(OSError):
            self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)


def _count(counts: dict[str, int], reason: str) -> None:
    counts[reason] = counts.get(reason, 0) + 1


def _points(meta: dict[str, str | int | float | bool]) -> int | None:
    """Return the points that a rule's author gives it, None where there are none from 0 to 100."""
    for name in ("shield_points", "score"):
        value = meta.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100:
            return value
    return None


def _level(meta: dict[str, str | int | float | bool]) -> Severity:
    named = str(meta.get("severity", meta.get("level", ""))).lower()
    return _SEVERITIES.get(named, "high")


def _texts(meta: dict[str, str | int | float | bool]) -> list[str]:
    return [value for name, value in meta.items() if isinstance(value, str) and ("attack" in name or "mitre" in name)]


def _evidence(match: Match) -> Iterator[Evidence]:
    for found in match.found:
        yield Evidence(f"yara.{found.name}", found.snippet, _place(found))
    for name, value in match.meta:
        if name != "description":
            yield Evidence(f"yara.meta.{name}", str(value), "")


def _place(found: Found) -> str:
    return (
        f"at byte {found.offset}" if found.count == 1 else f"first at byte {found.offset}, {found.count} times or more"
    )
