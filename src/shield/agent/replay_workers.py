"""Replaying several files at once, each as a whole by one of several processes.

What spans files is not seen so: each file is judged as if it were the only one, its stories and correlations its own.
The events come out in the order of the files, numbered as one run.
"""

import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from msgspec import Struct

from shield.agent import loading, rulebook
from shield.agent.indicator_renewal import RenewedIndicators
from shield.agent.pipeline import Tally
from shield.agent.replay import Replay, Replayed
from shield.agent.rulecache import RuleCache, default_folder
from shield.collector.replay.damage import Damaged
from shield.collector.replay.detect import UnknownFormat
from shield.event import Ledger, encode
from shield.policy.load import PolicyInForce
from shield.scorer.score import Scorer

_DAMAGES_KEPT = 16


class Settings(Struct, frozen=True):
    """What every worker replays with: the places of rules and of indicators, and the policy."""

    policy: PolicyInForce
    agent_id: str
    rules: tuple[str, ...] = ()
    indicators: tuple[str, ...] = ()


class Part(Struct, frozen=True):
    """What became of one file: its events are in `events`, JSON lines. `refusal` says why it could not be read on."""

    name: str
    events: Path
    replayed: Replayed
    damages: tuple[Damaged, ...] = ()
    damage_count: int = 0
    refusal: str = ""


def replayed(settings: Settings, files: Sequence[str], workers: int, folder: Path) -> Iterator[Part]:
    """Yield what became of each of `files`, in their order; their events are put into `folder`."""
    context = multiprocessing.get_context("spawn")  # a fork would share what must not be: scanners and open files
    with ProcessPoolExecutor(workers, context, _start, (settings,)) as pool:
        yield from pool.map(_replay, files, [folder / f"{number}.jsonl" for number in range(len(files))])


def renumbered(line: bytes, agent_id: str, seq: int) -> bytes:
    """Return an event's line with another sequence number.

    The last `agent_id` followed by `seq` is the event's own: no name that telemetry chose comes after it.
    """
    head, mark, rest = line.rpartition(b'"agent_id":"%s","seq":' % agent_id.encode())
    _, comma, tail = rest.partition(b",")
    return b"".join((head, mark, str(seq).encode(), comma, tail))


def lines(part: Part, agent_id: str, before: int) -> Iterator[bytes]:
    """Yield the events of one file as lines, numbered on from `before`; their file is removed."""
    with part.events.open("rb") as file:
        for seq, line in enumerate(file, before + 1):
            yield renumbered(line, agent_id, seq)
    part.events.unlink()


def added(sofar: Replayed, more: Replayed) -> Replayed:
    """Return the totals of two replays."""
    tally = Tally(
        events=sofar.tally.events + more.tally.events,
        categories=dict(Counter(sofar.tally.categories) + Counter(more.tally.categories)),
        actions=dict(Counter(sofar.tally.actions) + Counter(more.tally.actions)),
    )
    one, other = sofar.ledger, more.ledger
    ledger = Ledger(
        source=one.source,
        seen=one.seen + other.seen,
        kept=one.kept + other.kept,
        dropped=dict(Counter(one.dropped) + Counter(other.dropped)),
    )
    return Replayed(tally, ledger)


class _Worker:
    """What one process keeps from file to file: the rules, but nothing of what it saw."""

    def __init__(self, settings: Settings) -> None:
        loading.begin()
        policy = settings.policy
        book = rulebook.load(settings.rules, policy.policy.placeholders, RuleCache(default_folder()))
        feeds = [RenewedIndicators(settings.indicators, policy.policy).current] if settings.indicators else []
        self._scorer = Scorer(book.ruleset, policy.policy, book.databases, feeds)
        self._policy = policy
        self._agent_id = settings.agent_id
        loading.end()

    def replay(self, name: str, events: Path) -> Part:
        """Replay one file into another one."""
        damages: list[Damaged] = []
        run = Replay.begun(self._scorer.anew(), self._policy, self._agent_id, damages.append)
        refusal = ""
        with Path(name).open("rb") as file, events.open("wb") as sink:
            try:
                sink.writelines(encode(event) + b"\n" for event in run.events(file, name))
            except UnknownFormat as error:
                refusal = str(error)
            except OSError as error:
                refusal = f"{name}: can't be read to its end: {error.strerror}; name a file of recorded events"
        return Part(name, events, run.summary(), tuple(damages[:_DAMAGES_KEPT]), len(damages), refusal)


_worker: list[_Worker] = []


def _start(settings: Settings) -> None:
    _worker[:] = [_Worker(settings)]


def _replay(name: str, events: Path) -> Part:
    return _worker[0].replay(name, events)
