"""How much slower the host's own programs become: a loop that starts /bin/true and waits for it.

Every round gives each contestant a turn of some seconds, `none` too. `spawn_us` is the time of one pass of the loop
(CLOCK_MONOTONIC), over all rounds. `slowdown_ratio` is a round's median over the median of `none` in the same round, so
that a drifting machine doesn't decide; of these ratios the median, p25 and p75 are given. `added_us`
likewise.

With a core to spare this holds what is done inside the spawner (BPF programs, audit hooks) and what the contestant
costs it by running beside it. Not the contestant's own CPU time: bench.steady has that, and the eight
spawners of bench.capture.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from bench.contestants import Contestant, Shield
from bench.line_up import PEERS, folder, turns
from bench.quantiles import Spread, quotient, spread
from bench.report import Row, named, progress, ratio_rows
from bench.spawning import timed

_NS_TO_US = 1e-3
_WARM_UP = 0.1
_LEAST_ADDED_US = 5.0  # less is within the noise, and no divisor


class Slowdown(Struct, frozen=True):
    """One contestant's spawn loop."""

    spawns: int
    spawn_us: Spread
    slowdown_ratio: float
    slowdown_ratio_p25: float
    slowdown_ratio_p75: float
    mean_slowdown_ratio: float
    added_us: float


def measure(contestants: Sequence[type[Contestant]], rounds: int, seconds: float, notes: list[str]) -> dict[str, Any]:
    """Give each contestant `rounds` turns of so many seconds; what disturbed one is added to `notes`."""
    took: dict[str, list[list[int]]] = {each.name: [] for each in contestants}
    for number, contestant in turns(contestants, rounds):
        progress(f"slow-down, round {number + 1} of {rounds}: {contestant.name}")
        with folder() as path, contestant(path) as running:
            timed(seconds * _WARM_UP)
            took[contestant.name].append(timed(seconds))
            running.finish()
            notes += running.disturbed
    none = [spread(each) for each in took[Contestant.name]]
    slower = {name: _slower(each, none) for name, each in took.items()}
    return slower | _ratios(slower)


def rows(figures: dict[str, Any]) -> list[Row]:
    """Return the figures as a table."""
    table: list[Row] = [["Spawn loop"], ["", "p25 µs", "median µs", "p75 µs", "ratio to none", "p25", "p75"]]
    for name, each in named(figures):
        times = each["spawn_us"]
        ratios = (each["slowdown_ratio"], each["slowdown_ratio_p25"], each["slowdown_ratio_p75"])
        table.append([name, times["p25"], times["median"], times["p75"], *ratios])
    return table + ratio_rows(figures)


def _slower(rounds: list[list[int]], none: list[Spread]) -> Slowdown:
    pairs = [(spread(took), base) for took, base in zip(rounds, none, strict=True)]
    ratios = spread([mine.median / base.median for mine, base in pairs])
    return Slowdown(
        spawns=sum(len(took) for took in rounds),
        spawn_us=spread([ns for took in rounds for ns in took], _NS_TO_US),
        slowdown_ratio=ratios.median,
        slowdown_ratio_p25=ratios.p25,
        slowdown_ratio_p75=ratios.p75,
        mean_slowdown_ratio=spread([mine.mean / base.mean for mine, base in pairs]).median,
        added_us=spread([mine.median - base.median for mine, base in pairs], _NS_TO_US).median,
    )


def _ratios(slower: dict[str, Slowdown]) -> dict[str, float | None]:
    ours = slower[Shield.name]
    ratios: dict[str, float | None] = {}
    for peer in (name for name in PEERS if name in slower):
        theirs = slower[peer]
        ratios[f"spawn_time_ratio_to_{peer}"] = quotient(ours.slowdown_ratio, theirs.slowdown_ratio)
        ratios[f"added_time_ratio_to_{peer}"] = quotient(ours.added_us, theirs.added_us, _LEAST_ADDED_US)
    return ratios
