"""How fast Sigma rules are matched: Shield beside its peer, on the same rules and events, on one core, in turns.

matching    decoded events, all rules about Windows: a long stream, one in which no path and no command line comes
            twice, and the beginning of the first for both contestants, whose hits are compared rule by rule
growth      the same beginning with 300 of the rules, and how much longer all of them take
end_to_end  from an event log (EVTX) to a file, whole programs; Shield writes every event, the peer those that match
stages      of the same way, Shield's one by one
start       loading rules, those about other platforms too: anew, and from Shield's cache
memory      of the whole process, at most

Each turn is a process of its own, held to one core; a figure is the median of the rounds, in which the contestants take
turns. Rates are by CPU time, which others on the machine don't change; the microseconds of a single event are by the
clock, so their far end also holds what else the core did. The peer is zargunlite, see bench.engine_sqlite; its rules
are turned into SQL beforehand, which isn't counted. It needs all events before the first answer: it has no time of a
single event. A ratio to it is Shield's figure by the peer's; below 1 it is in Shield's favour. Not included: rules
about other platforms' events, correlation, following a log as it is written.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from bench import engine_workload as workload
from bench import report
from bench.engine_hits import Comparison, Reasons, compare
from bench.engine_sqlite import NAME as PEER
from bench.engine_sqlite import read_queries, versions
from bench.engine_task import (
    Detect,
    Hits,
    Load,
    Loaded,
    LoadQueries,
    Match,
    MatchBySql,
    Matched,
    Ran,
    Run,
    Staged,
    Stages,
)
from bench.engine_turn import TURN, Failed, ask, one_core
from bench.quantiles import quotient
from bench.report import Result, Row, progress
from shield.agent.rulecache import FOLDER_VARIABLE

SHIELD = "shield"
_CACHED = "shield_cached"
_S_TO_US = 1e6
_FIRST_RECORDS = 200

T = TypeVar("T")


class Settings(Struct, frozen=True):
    """How much is measured. `events` is the long stream, `compared` its beginning that both contestants match.

    `rules` limits the number of rules, None to all there are; `few` is the number that all are compared with.
    """

    events: int = 200_000
    distinct: int = 50_000
    compared: int = 20_000
    records: int = 30_000
    rounds: int = 3
    rules: int | None = None
    few: int = 300


QUICK = Settings(5_000, distinct=2_000, compared=3_000, records=1_500, rounds=1, rules=600, few=60)


class Written(Struct, frozen=True):
    """What is looked at of an event that Shield has written."""

    signals: list[msgspec.Raw]


_written = msgspec.json.Decoder(Written)


class Work(Struct, frozen=True):
    """All that the contestants work on."""

    settings: Settings
    all_rules: workload.Rules
    few: workload.Rules
    every_platform: str
    warm_up: workload.Stream
    stream: workload.Stream
    distinct: workload.Stream
    log: workload.Log | None
    beginning: workload.Log | None
    folder: str


def measure(settings: Settings, place: Path | None, only_distinct: bool) -> Result:
    """Run everything and return the result. Raises NoWork where there is nothing to measure with, and Failed."""
    source, files = workload.rule_files(place)
    with one_core(), TemporaryDirectory(prefix="shield-bench-") as folder:
        work = _prepared(settings, Path(folder), source, files, only_distinct)
        matching = _matching(work)
        end_to_end = _end_to_end(work)
        return {
            "settings": settings,
            "peer": versions(),
            "rules_from": str(source),
            "matching": matching,
            "growth": _growth(work, matching["same_events"]),
            "end_to_end": end_to_end,
            "stages_us_per_record": _stages(work),
            "start": _start(work),
            "memory": _memory(matching, end_to_end),
        }


def _prepared(settings: Settings, folder: Path, source: Path, files: Sequence[Path], only_distinct: bool) -> Work:
    sources = workload.recorded_files()
    recorded = workload.recorded_events()
    progress(f"{len(files):,} rules about Windows, {len(recorded):,} recorded events")
    all_rules = workload.rules(folder / "all", files, settings.rules)
    long = workload.stream(folder / "stream.jsonl", settings.events, recorded, only_distinct)
    return Work(
        settings=settings,
        all_rules=all_rules,
        few=workload.rules(folder / "few", files, settings.few),
        every_platform=all_rules.folder if settings.rules else str(source),
        warm_up=workload.warm_up(folder / "warm_up.jsonl", recorded),
        stream=long,
        distinct=workload.stream(folder / "distinct.jsonl", settings.distinct, recorded, distinct=True),
        log=workload.log(folder / "long.evtx", sources, settings.records) if sources else None,
        beginning=workload.log(folder / "short.evtx", sources, _FIRST_RECORDS) if sources else None,
        folder=str(folder),
    )


def _in_turns(rounds: int, what: str, *turns: Callable[[], T]) -> list[list[T]]:
    """Return the answers of each contestant; every other round is in the reverse order."""
    answers: list[list[T]] = [[] for _ in turns]
    for number in range(rounds):
        progress(f"{what}: round {number + 1} of {rounds}")
        order = list(enumerate(turns))
        for at, turn in order if number % 2 == 0 else order[::-1]:
            answers[at].append(turn())
    return answers


def _shield(work: Work, rules: workload.Rules, stream: workload.Stream, count: int) -> Callable[[], Matched]:
    return lambda: ask(Match(rules.folder, rules.cache, stream.path, count, work.warm_up.path), Matched)


def _peer(rules: workload.Rules, stream: workload.Stream, count: int) -> Callable[[], Matched]:
    return lambda: ask(MatchBySql(rules.queries, stream.path, count), Matched)


def _matching(work: Work) -> Result:
    settings, rules = work.settings, work.all_rules
    long, distinct = _in_turns(
        settings.rounds,
        "a long stream",
        _shield(work, rules, work.stream, settings.events),
        _shield(work, rules, work.distinct, settings.distinct),
    )
    ours, theirs = _in_turns(
        settings.rounds,
        "its beginning, both contestants",
        _shield(work, rules, work.stream, settings.compared),
        _peer(rules, work.stream, settings.compared),
    )
    figures, peer_figures = _figures(ours), _figures(theirs)
    queries_us = median(_per_event(one, one.steps["query"]) for one in theirs)
    return {
        "rules": rules.count,
        "repeated_values": work.stream.repeated,
        "long": _figures(long),
        "distinct": _figures(distinct) | {"repeated_values": work.distinct.repeated},
        "same_events": {
            SHIELD: figures,
            PEER: peer_figures | {"query_us_per_event": round(queries_us, 3)},
            "cpu_ratio_to_peer": quotient(figures["cpu_us_per_event"], peer_figures["cpu_us_per_event"]),
            "cpu_ratio_to_peer_queries_only": quotient(figures["cpu_us_per_event"], queries_us),
        },
        "hits": _hits(work, ours[0], theirs[0]),
        "not_loaded": {SHIELD: ours[0].lacking, PEER: _reasons(rules.converted.refused)},
    }


def _hits(work: Work, ours: Matched, theirs: Matched) -> Comparison:
    channels = {query.id: query.channel for query in read_queries(Path(work.all_rules.queries))}
    reasons = Reasons(channels, theirs.lacking, frozenset(ours.rules))
    return compare(ours.hits, theirs.hits, work.stream.kinds[: work.settings.compared], reasons)


def _growth(work: Work, with_all: Result) -> Result:
    turns = [
        _shield(work, work.few, work.stream, work.settings.compared),
        _peer(work.few, work.stream, work.settings.compared),
    ]
    few = [_figures(runs) for runs in _in_turns(work.settings.rounds, f"{work.few.count} rules", *turns)]
    return {name: _grown(figures, with_all[name]) for name, figures in zip((SHIELD, PEER), few, strict=True)}


def _grown(few: Result, many: Result) -> Result:
    return {
        "rules": [few["rules"], many["rules"]],
        "cpu_us_per_event": [few["cpu_us_per_event"], many["cpu_us_per_event"]],
        "time_ratio_many_to_few": quotient(many["cpu_us_per_event"], few["cpu_us_per_event"]),
    }


def _end_to_end(work: Work) -> Result:
    """Return the figures, or what failed: the rest of the run is worth having without them."""
    if work.log is None or work.beginning is None:
        return {"failed": f"there are no recorded event logs in {workload.RECORDED}"}
    try:
        return _programs(work, work.log, work.beginning)
    except Failed as failure:
        return {"failed": str(failure)}


def _programs(work: Work, log: workload.Log, first: workload.Log) -> Result:
    ours, ours_first, theirs, theirs_first = _in_turns(
        work.settings.rounds,
        "from an event log to a file",
        *(_whole(_replay(work, one)) for one in (log, first)),
        *(_whole(_detect(work, one)) for one in (log, first)),
    )
    records = log.contents.records
    shield, peer = _program(ours, ours_first, records), _program(theirs, theirs_first, records)
    return {
        "log": log.contents,
        SHIELD: shield | {"hits": _written_hits(_output(work, log, SHIELD))},
        PEER: peer | {"hits": _count(msgspec.json.decode(theirs[0].output, type=Matched).hits)},
        "cpu_ratio_to_peer": quotient(shield["cpu_s"], peer["cpu_s"]),
        "cpu_ratio_to_peer_without_start": quotient(shield["cpu_us_per_record"], peer["cpu_us_per_record"]),
    }


def _stages(work: Work) -> Result:
    """Return Shield's CPU microseconds a record by stage."""
    log = work.log
    if log is None:
        return {}
    task = Stages(work.all_rules.folder, work.all_rules.cache, log.path)
    (runs,) = _in_turns(work.settings.rounds, "stage by stage", lambda: ask(task, Staged))
    names = runs[0].cpu_s
    return {name: round(median(one.cpu_s[name] / one.records for one in runs) * _S_TO_US, 3) for name in names}


def _replay(work: Work, log: workload.Log) -> Run:
    output = _output(work, log, SHIELD)
    rules = work.all_rules.folder
    command = [sys.executable, "-m", "shield", "replay", log.path, "--rules", rules, "--output", output]
    return Run(command, environment={FOLDER_VARIABLE: work.all_rules.cache})


def _detect(work: Work, log: workload.Log) -> Run:
    task = Detect(work.all_rules.queries, log.path, _output(work, log, PEER))
    return Run(TURN, given=msgspec.json.encode(task).decode())


def _output(work: Work, log: workload.Log, name: str) -> str:
    return f"{work.folder}/{Path(log.path).stem}.{name}.jsonl"


def _written_hits(output: str) -> int:
    """Return how many rules matched in all the events that Shield has written."""
    with Path(output).open("rb") as lines:
        return sum(len(_written.decode(line).signals) for line in lines)


def _count(hits: Hits) -> int:
    return sum(len(events) for events in hits.values())


def _whole(task: Run) -> Callable[[], Ran]:
    def run() -> Ran:
        ran = ask(task, Ran)
        if ran.code:
            raise Failed(f"{' '.join(task.command[:4])} ended with {ran.code}: {ran.errors}")
        return ran

    return run


def _program(runs: Sequence[Ran], first: Sequence[Ran], records: int) -> Result:
    """Return the figures of a program; what it takes for a log of a few records is its start."""
    cpu_s, start_s = (median(one.cpu_s for one in ran) for ran in (runs, first))
    each_us = (cpu_s - start_s) / (records - _FIRST_RECORDS) * _S_TO_US
    return {
        "cpu_s": round(cpu_s, 3),
        "seconds": round(median(one.seconds for one in runs), 3),
        "start_cpu_s": round(start_s, 3),
        "records_per_s": round(records / cpu_s, 1),
        "records_per_s_without_start": round(_S_TO_US / each_us, 1) if each_us > 0 else None,
        "cpu_us_per_record": round(each_us, 3),
        "peak_mib": max(one.peak_mib for one in runs),
    }


def _start(work: Work) -> Result:
    rounds = work.settings.rounds
    cache = f"{work.folder}/cache"
    ask(Load(work.every_platform, cache), Loaded)
    anew, cached, theirs = _in_turns(
        rounds,
        "start",
        lambda: ask(Load(work.every_platform), Loaded),
        lambda: ask(Load(work.every_platform, cache), Loaded),
        lambda: ask(LoadQueries(work.all_rules.queries), Loaded),
    )
    return {
        SHIELD: _start_figures(anew),
        _CACHED: _start_figures(cached),
        PEER: _start_figures(theirs) | {"conversion_s": round(work.all_rules.converted.seconds, 3)},
    }


def _start_figures(runs: Sequence[Loaded]) -> Result:
    steps = {f"{name}_s": round(median(one.steps[name] for one in runs), 3) for name in runs[0].steps}
    return {
        "rules": runs[0].rules,
        "seconds": round(median(one.seconds for one in runs), 3),
        **steps,
        "rss_mib": median(one.memory.rss_mib for one in runs),
    }


def _memory(matching: Result, end_to_end: Result) -> Result:
    both = {name: {"matching_peak_mib": matching["same_events"][name]["memory"]["peak_mib"]} for name in (SHIELD, PEER)}
    both[SHIELD]["long_stream_peak_mib"] = matching["long"]["memory"]["peak_mib"]
    if "failed" not in end_to_end:
        for name, figures in both.items():
            figures["end_to_end_peak_mib"] = end_to_end[name]["peak_mib"]
    ours, theirs = both[SHIELD]["matching_peak_mib"], both[PEER]["matching_peak_mib"]
    return both | {"matching_ratio_to_peer": quotient(ours, theirs)}


def _figures(runs: Sequence[Matched]) -> Result:
    """Return the medians over the rounds. Hits are the same in each, as the events are."""
    first = runs[0]
    each_us = median(_per_event(one, one.cpu_s) for one in runs)
    return {
        "rules": len(first.rules),
        "events": first.events,
        "events_per_s": round(_S_TO_US / each_us, 1),
        "cpu_us_per_event": round(each_us, 3),
        "per_event_us": _tails(runs),
        "hits": _count(first.hits),
        "memory": {
            "rss_mib": median(one.memory.rss_mib for one in runs),
            "peak_mib": median(one.memory.peak_mib for one in runs),
        },
    }


def _tails(runs: Sequence[Matched]) -> dict[str, float] | None:
    tails = [one.per_event_us for one in runs if one.per_event_us]
    if not tails:
        return None
    return {name: round(median(getattr(one, name) for one in tails), 3) for name in ("p50", "p99", "max")}


def _per_event(run: Matched, seconds: float) -> float:
    return seconds / run.events * _S_TO_US


def _reasons(refused: dict[str, str]) -> dict[str, int]:
    """Return how many rules were refused for each reason."""
    return {why: list(refused.values()).count(why) for why in dict.fromkeys(refused.values())}


def _table(result: Result) -> Iterator[Row]:
    yield from _matching_rows(result["matching"])
    yield from _hit_rows(result["matching"]["hits"])
    yield from _growth_rows(result["growth"])
    if why := result["end_to_end"].get("failed"):
        yield [f"From an event log to a file: failed: {why}"]
    else:
        yield from _end_to_end_rows(result["end_to_end"])
    yield ["Shield's stages on the way: CPU µs a record"]
    yield from result["stages_us_per_record"].items()
    yield ["Loading rules"]
    yield ["", "rules", "seconds", "MiB"]
    for name in (SHIELD, _CACHED, PEER):
        figures = result["start"][name]
        yield [name.replace("_", ", "), figures["rules"], figures["seconds"], figures["rss_mib"]]


def _matching_rows(figures: Result) -> Iterator[Row]:
    same = figures["same_events"]
    yield [f"Matching decoded events with {figures['rules']:,} rules about Windows, one core"]
    yield ["", "events", "events/s", "CPU µs", "p50 µs", "p99 µs", "max µs", "hits", "peak MiB"]
    yield _matching_row("shield, long stream", figures["long"])
    yield _matching_row("shield, nothing twice", figures["distinct"])
    yield _matching_row("shield, same events", same[SHIELD])
    yield _matching_row(f"{PEER}, same events", same[PEER])
    yield from report.ratio_rows(same)
    yield ["Share of values that had come before"]
    for name, share in figures["repeated_values"].items():
        yield [name, share]


def _matching_row(name: str, figures: Result) -> Row:
    tails = figures["per_event_us"] or dict.fromkeys(("p50", "p99", "max"))
    return [
        name,
        figures["events"],
        figures["events_per_s"],
        figures["cpu_us_per_event"],
        *tails.values(),
        figures["hits"],
        figures["memory"]["peak_mib"],
    ]


def _hit_rows(hits: Result) -> Iterator[Row]:
    yield [f"Hits in the same {hits['events']:,} events"]
    for name in ("shield", "peer", "both", "rules_that_hit", "rules_that_agree", "unexplained"):
        yield [name.replace("_", " "), hits[name]]
    for only in ("only_shield", "only_peer"):
        for why, count in hits[only].items():
            yield [f"{only.replace('_', ' ')}: {why}", count]
    for one in hits["examples"]:
        if one["why"] == "unexplained":
            yield [f"only {one['only']}: rule {one['rule']}, {one['events']} events, the first {one['first_event']}"]


def _growth_rows(growth: Result) -> Iterator[Row]:
    few, many = growth[SHIELD]["rules"]
    yield ["Growth with the number of rules: CPU µs an event"]
    yield ["", f"{few:,} rules", f"{many:,} rules", "ratio"]
    for name in (SHIELD, PEER):
        figures = growth[name]
        yield [name, *figures["cpu_us_per_event"], figures["time_ratio_many_to_few"]]


def _end_to_end_rows(figures: Result) -> Iterator[Row]:
    yield [f"From an event log of {figures['log']['records']:,} records to a file"]
    yield ["", "CPU s", "of it start", "records/s", "without start", "peak MiB", "hits"]
    for name in (SHIELD, PEER):
        one = figures[name]
        rates = (one["records_per_s"], one["records_per_s_without_start"])
        yield [name, one["cpu_s"], one["start_cpu_s"], *rates, one["peak_mib"], one["hits"]]
    yield from report.ratio_rows(figures)


def _missing() -> list[str]:
    """Return the packages of the peer that aren't installed."""
    return [name for name, version in versions().items() if version is None]


def main() -> None:
    """Run from the command line. Exit codes: 1 a contestant failed, 2 nothing to measure with, 130 interrupted."""
    parser = report.arguments(__doc__)
    parser.add_argument("--rules", type=Path, metavar="DIR", help="Sigma rules (the public ones beside this project)")
    parser.add_argument("--distinct", action="store_true", help="let no path and no command line come twice anywhere")
    parser.add_argument("--events", type=int, help="events of the long stream (200,000; 5,000 with --quick)")
    parser.add_argument("--rounds", type=int, help="turns of each contestant (3; 1 with --quick)")
    asked = parser.parse_args()
    if missing := _missing():
        parser.error(f"the peer isn't installed: pip install {' '.join(missing)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = msgspec.to_builtins({"host": _host(), "quick": asked.quick} | _measured(asked))
    except workload.NoWork as error:
        parser.error(str(error))
    except Failed as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "interrupted\n")
    print(msgspec.json.encode(result).decode() if asked.json else report.aligned(_table(result)))
    if "failed" in result["end_to_end"]:
        parser.exit(1)


def _measured(asked: argparse.Namespace) -> Result:
    settings = QUICK if asked.quick else Settings()
    events, rounds = asked.events or settings.events, asked.rounds or settings.rounds
    compared = min(settings.compared, events)
    settings = msgspec.structs.replace(settings, events=events, compared=compared, rounds=rounds)
    return measure(settings, asked.rules, asked.distinct)


def _host() -> dict[str, Any]:
    return {name: value for name, value in report.host().items() if name not in ("auditd", "laurel")}


if __name__ == "__main__":
    main()
