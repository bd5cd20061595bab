"""What is captured: every exec with its whole argv, at full speed, by Shield and its peers in turn.

For each contestant and shape of load (10,000 processes from one spawner, then from eight at once), over all rounds:
  captured_fraction  argument vectors that are in its own log, equal in every byte, of those that were started
  lost_reported      what the contestant says itself that it lost, by reason; null where it can't tell
  spawns_per_s       how fast the load was accepted: a contestant that holds the spawner back shows here
A contestant is asked what it has only after it was given time to write all it held.

Two more runs: one with the smallest ring, where Shield must lose and its ledger must own up to all of it, and one with
arguments of 32,000 bytes. Not included: loads that never pause, other system calls than exec, longer arguments.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from bench import report
from bench.contestants import Contestant, PsutilPoll, Shield
from bench.line_up import captured, folder, present, turns
from bench.quantiles import quotient, spread
from bench.report import Row, progress
from bench.spawning import Series, Spawned, in_a_row, in_parallel, series

_SPAWNERS = 8
_SMALLEST_RING = 4096
_LONG_BYTES = 32_000
_LONG_COUNT = 100
_RECORDS_OF_A_PROCESS = 3  # fork, exec, exit

_SHAPES: dict[str, Callable[[Series], Spawned]] = {
    "one_spawner": in_a_row,
    "eight_spawners": lambda work: in_parallel(work, _SPAWNERS),
}


class Burst(Struct, frozen=True):
    """One contestant under one load, once."""

    expected: int
    captured: int
    seconds: float
    spawns_per_s: float


class Account(Struct, frozen=True):
    """Shield with the smallest ring under full load: what it lost, and whether it says so to the last record.

    `expected` and `captured` are execs. The ledger counts records of forks, execs and exits together, those of other
    processes on the host too (`records_of_others`: seen beyond the load's own). `unaccounted` is seen - kept - folded -
    filtered - pending - dropped; `lines_missing` is what the ledger says was kept less the lines in the file.
    """

    ring_bytes: int
    expected: int
    captured: int
    seen: int
    kept: int
    folded: int
    filtered: int
    pending: int
    dropped: int
    unaccounted: int
    records_of_others: int
    lines_missing: int
    lost_and_said_so: bool


def measure(count: int, rounds: int) -> dict[str, Any]:
    """Run everything and return the result. Raises NotRunning where a contestant that is present doesn't start."""
    contestants, skipped = present()
    bursts: dict[str, dict[str, list[Burst]]] = {shape: {each.name: [] for each in contestants} for shape in _SHAPES}
    lost: dict[str, Counter[str] | None] = {}
    notes: list[str] = []
    for number, contestant in turns(contestants, rounds):
        progress(f"round {number + 1} of {rounds}: {contestant.name}")
        for name, burst in _bursts(contestant, count, lost, notes).items():
            bursts[name][contestant.name].append(burst)
    return {
        "skipped": skipped,
        "disturbed": notes,
        "burst": {"processes": count, "rounds": rounds}
        | {shape: _summary(by_name) for shape, by_name in bursts.items()}
        | {"lost_reported": lost},
        "small_ring": _small_ring(count),
        "long_arguments": {"processes": _LONG_COUNT, "bytes": _LONG_BYTES}
        | {each.name: _long(each, notes) for each in contestants if each not in (Contestant, PsutilPoll)},
    }


def _bursts(
    contestant: type[Contestant], count: int, lost: dict[str, Counter[str] | None], notes: list[str]
) -> dict[str, Burst]:
    works = {shape: series(count) for shape in _SHAPES}
    with folder() as path, contestant(path) as running:
        spawned = {shape: _SHAPES[shape](work) for shape, work in works.items()}
        running.finish()
        found = captured(running, list(works.values()))
        notes += running.disturbed
        lost[contestant.name] = _add(lost.get(contestant.name), running.lost)
    return {
        shape: Burst(count, found[works[shape].mark], round(done.seconds, 3), round(done.rate, 1))
        for shape, done in spawned.items()
    }


def _add(sofar: Counter[str] | None, lost: dict[str, int] | None) -> Counter[str] | None:
    if lost is None:
        return sofar
    total = Counter(sofar or {})
    total.update(lost)
    return total


def _summary(by_name: dict[str, list[Burst]]) -> dict[str, dict[str, Any]]:
    speed = {name: spread([burst.spawns_per_s for burst in bursts]).median for name, bursts in by_name.items()}
    return {
        name: {
            "captured_fraction": None
            if name == Contestant.name
            else round(sum(burst.captured for burst in bursts) / sum(burst.expected for burst in bursts), 6),
            "spawns_per_s": speed[name],
            "spawn_rate_ratio_to_none": quotient(speed[name], speed[Contestant.name]),
            "runs": bursts,
        }
        for name, bursts in by_name.items()
    }


def _small_ring(count: int) -> Account:
    progress(f"the smallest ring, {_SMALLEST_RING} bytes")
    work = series(count)
    with folder() as path, Shield(path, {"source": {"ring_bytes": _SMALLEST_RING}}) as shield:
        in_parallel(work, 2)
        shield.finish()
        found, ledger = captured(shield, [work])[work.mark], shield.ledger()
        written = shield.lines("process_start") + shield.lines("process_exit")
    folded, filtered, dropped = (sum(ledger[fate].values()) for fate in ("folded", "filtered", "dropped"))
    unaccounted = ledger["seen"] - ledger["kept"] - ledger["pending"] - folded - filtered - dropped
    return Account(
        ring_bytes=_SMALLEST_RING,
        expected=count,
        captured=found,
        seen=ledger["seen"],
        kept=ledger["kept"],
        folded=folded,
        filtered=filtered,
        pending=ledger["pending"],
        dropped=dropped,
        unaccounted=unaccounted,
        records_of_others=ledger["seen"] - _RECORDS_OF_A_PROCESS * count,
        lines_missing=ledger["kept"] - written,
        lost_and_said_so=found < count and dropped >= count - found and not unaccounted,
    )


def _long(contestant: type[Contestant], notes: list[str]) -> dict[str, Any]:
    progress(f"long arguments: {contestant.name}")
    work = series(_LONG_COUNT, _LONG_BYTES)
    with folder() as path, contestant(path) as running:
        in_a_row(work)
        running.finish()
        notes += running.disturbed
        found = captured(running, [work])[work.mark]
    return {"captured_exactly": found, "captured_fraction": found / _LONG_COUNT, "lost_reported": running.lost}


def _table(result: dict[str, Any]) -> list[Row]:
    burst, ring, long = result["burst"], result["small_ring"], result["long_arguments"]
    rows: list[Row] = []
    for shape in _SHAPES:
        rows.append([f"{burst['processes']:,} processes, {shape.replace('_', ' ')}, {burst['rounds']} rounds"])
        rows.append(["", "captured", "spawns/s", "ratio to none", "says it lost"])
        for name, each in burst[shape].items():
            lost = _sum(burst["lost_reported"].get(name))
            rows.append([name, each["captured_fraction"], each["spawns_per_s"], each["spawn_rate_ratio_to_none"], lost])
    rows.append([f"{long['processes']} processes with an argument of {long['bytes']:,} bytes"])
    rows.append(["", "captured exactly"])
    rows.extend([name, each["captured_exactly"]] for name, each in long.items() if isinstance(each, dict))
    rows.append([f"Shield with a ring of {ring['ring_bytes']} bytes: loses, and says so: {ring['lost_and_said_so']}"])
    rows.extend([name.replace("_", " "), value] for name, value in ring.items() if not isinstance(value, bool))
    return rows + report.remarks(result)


def _sum(lost: dict[str, int] | None) -> int | None:
    return None if lost is None else sum(lost.values())


def main() -> None:
    """Run from the command line."""
    parser = report.arguments(__doc__)
    parser.add_argument("--processes", type=int, help="processes of each load (10,000; 2,000 with --quick)")
    parser.add_argument("--rounds", type=int, help="turns of each contestant (3; 1 with --quick)")
    asked: argparse.Namespace = parser.parse_args()
    count = asked.processes or (2_000 if asked.quick else 10_000)
    rounds = asked.rounds or (1 if asked.quick else 3)
    report.carry_out(asked, lambda: measure(count, rounds), _table)


if __name__ == "__main__":
    main()
