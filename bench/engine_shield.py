"""Shield as a contestant: its own stages, one after the other, in the order in which `shield replay` runs them."""

import gc
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from bench.engine_task import Clock, Hits, Load, Loaded, Match, Matched, Staged, Stages, memory
from bench.quantiles import tail
from shield.agent import loading, rulebook
from shield.agent.rulebook import Rulebook
from shield.agent.rulecache import RuleCache
from shield.collector.replay import evtx, windows_event
from shield.event import Event, encode
from shield.normalizer.log import LogNormalizer
from shield.record import LogRecord
from shield.scorer.sigma.matcher import Matcher

_BATCH = 2_000
_POINTS = 10
_ID_BITS = 1  # what completes an event's id, which nobody looks at here
_NS_TO_US = 1e-3


def load(task: Load) -> Loaded:
    """Load rules and get ready for events of every kind, as a start does; what was compiled stays in the cache."""
    cache = RuleCache(Path(task.cache)) if task.cache else None
    loading.begin()
    began = time.perf_counter()
    book = rulebook.load([task.rules], cache=cache)
    loaded = time.perf_counter()
    _matcher(book)
    prepared = time.perf_counter()
    loading.end()
    if cache:
        book.keep(cache)
    steps = {"read": loaded - began, "prepare": prepared - loaded}
    return Loaded(len(book.rules), prepared - began, steps, memory(), _refused(book.problems))


def match(task: Match) -> Matched:
    """Match events one by one; decoding them and making them events isn't counted."""
    book = rulebook.load([task.rules], cache=RuleCache(Path(task.cache)))
    matcher = _matcher(book)
    for batch in _batches(Path(task.warm_up)):
        for event in batch:
            matcher.match(event)
    clock, hits, times, number = Clock(), Hits(), array("q"), 0
    for batch in _batches(Path(task.events), task.count):
        found: list[tuple[int, str]] = []
        with clock.step("match"):
            _match(matcher, batch, number, times, found)
        for at, rule in found:
            hits.setdefault(rule, []).append(at)
        number += len(batch)
    refused = _refused(book.problems)
    spread = tail(times, _NS_TO_US)
    return Matched([rule.id for rule in book.rules], number, clock.total, clock.steps, spread, hits, memory(), refused)


def stages(task: Stages) -> Staged:
    """Take a file through the stages, each of them for a batch of records."""
    matcher = _matcher(rulebook.load([task.rules], cache=RuleCache(Path(task.cache))))
    clock, seen, normalizer = Clock(), 0, LogNormalizer()
    with Path(task.evtx).open("rb") as file:
        reading = evtx.read(file, task.evtx)
        while True:
            with clock.step("read"):
                records = [record for _, record in islice(reading, _BATCH) if isinstance(record, LogRecord)]
            if not records:
                return Staged(seen, clock.steps)
            with clock.step("normalize"):
                events = [normalizer.event(record, _ID_BITS) for record in records]
            with clock.step("match"):
                for event in events:
                    matcher.match(event)
            with clock.step("encode"):
                for event in events:
                    encode(event)
            seen += len(records)


def _match(
    matcher: Matcher, events: Sequence[Event], first: int, times: "array[int]", found: list[tuple[int, str]]
) -> None:
    now = time.perf_counter_ns
    for number, event in enumerate(events, start=first):
        began = now()
        signals = matcher.match(event)
        times.append(now() - began)
        found.extend((number, signal.rule_id) for signal in signals)


def _matcher(book: Rulebook) -> Matcher:
    """Return a matcher for which no kind of event is the first of its kind."""
    matcher = Matcher(book.rules, {rule.id: _POINTS for rule in book.rules}, databases=book.databases)
    matcher.prepare_all()
    gc.freeze()  # as `shield run` and `shield replay` do
    return matcher


def _batches(path: Path, count: int | None = None) -> Iterator[list[Event]]:
    normalizer = LogNormalizer()
    with path.open("rb") as file:
        lines = islice(file, count)
        while batch := [normalizer.event(windows_event.decode(line), _ID_BITS) for line in islice(lines, _BATCH)]:
            yield batch


def _refused(problems: Iterable[str]) -> dict[str, str]:
    """Return the rules that could not be loaded, by the name of the file."""
    return {Path(problem.split(":", 1)[0]).name: problem.split(": ", 1)[-1] for problem in problems}
