"""What a contestant uses: CPU time at steady rates of new processes and at rest, and memory.

`chain` is every process of a contestant (Shield's; auditd, its plug-in and the kernel's kauditd), by their CPU-time
clocks, from the first spawn until a second after the last, idle time of that second included. `workload` is the spawner
with its children: the kernel charges them what BPF programs and audit hooks use. `added` is what the contestant adds in
all: its chain, and the workload's growth over `none`. `machine` is everything that ran on any core, less the same for
`none`: `added`, what else the contestant causes (interrupts, writeback), and everybody else's noise, of which
`unexplained_s` (machine less chain and workload) tells. `none` is measured first and last; `noise_us_per_process` is by
how much the two differ: what a figure for the machine is uncertain by, at least.

A contestant that writes events as they happen must have captured the load (`captured_fraction`), or there's no ratio.
Before all that 50 processes warm it up, so that nothing is measured that happens only once. Percentages are of one
core. Not included: other events than processes, and rules of the user's own.
"""

import time
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from msgspec import Struct

from bench import usage
from bench.contestants import Contestant, PsutilPoll, Shield
from bench.line_up import AUDIT_PEERS, PEERS, captured, folder
from bench.quantiles import quotient
from bench.report import Row, named, progress, ratio_rows
from bench.spawning import Series, Spawned, in_a_row, paced, series

_S_TO_US = 1e6
_SETTLE_S = 1.0
_WARM_UP = 50
_LEAST_ADDED_US = 5.0  # less is within the noise, and no divisor
_COMPLETE = 0.999


class Sample(Struct, frozen=True):
    """One load, as it was measured."""

    work: Series
    done: Spawned
    used: usage.Used


class Load(Struct, frozen=True):
    """One contestant at one rate; fields that only `none` or only the others have are null."""

    processes: int
    achieved_per_s: float
    captured_fraction: float | None
    chain_cpu_s: float
    chain_percent: float
    chain_us_per_process: float
    by_name_s: dict[str, float]
    workload_us_per_process: float
    added_us_per_process: float | None
    machine_cpu_s: float
    machine_added_us_per_process: float | None
    unexplained_s: float
    noise_us_per_process: float | None


class Rest(Struct, frozen=True):
    """One contestant with no load of ours. `processes_started` by others tells how idle the host was."""

    seconds: float
    chain_percent: float
    machine_percent: float
    processes_started: int
    memory: usage.Memory
    memory_after_load: usage.Memory | None


class _Course(Struct):
    """What was measured of one contestant."""

    rest: Rest | None
    samples: list[Sample]
    captured: list[float]


def measure(
    contestants: Sequence[type[Contestant]], rates: Sequence[int], rate_s: float, rest_s: float, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the loads by rate and contestant, and the rests by contestant, each with Shield's ratios to its peers."""
    courses: dict[str, _Course] = {}
    for contestant in contestants:
        loaded = () if contestant is PsutilPoll else rates
        courses[contestant.name] = _course(contestant, loaded, rate_s, rest_s, notes)
    again = _course(Contestant, rates, rate_s, 0, notes)
    loads = {str(rate): _loads(courses, again, index) for index, rate in enumerate(rates)}
    rests = {name: course.rest for name, course in courses.items() if course.rest}
    return {rate: each | _load_ratios(each) for rate, each in loads.items()}, rests | _rest_ratios(rests)


def load_rows(rate: str, figures: dict[str, Any]) -> list[Row]:
    """Return the figures of one rate as a table."""
    table: list[Row] = [
        [f"CPU at {rate} processes a second, µs for each"],
        ["", "% of a core", "chain µs", "added µs", "machine µs", "captured"],
    ]
    for name, each in named(figures):
        figures_us = [each[f"{what}_us_per_process"] for what in ("chain", "added", "machine_added")]
        table.append([name, each["chain_percent"], *figures_us, each["captured_fraction"]])
    return table + ratio_rows(figures)


def rest_rows(figures: dict[str, Any]) -> list[Row]:
    """Return the figures at rest as a table."""
    columns = ("", "% of a core", "RSS MiB", "PSS MiB", "RSS after load", "others' processes")
    table: list[Row] = [["At rest"], columns]
    for name, each in named(figures):
        memory, after, others = each["memory"], each["memory_after_load"] or {}, each["processes_started"]
        table.append([name, each["chain_percent"], memory["rss_mib"], memory["pss_mib"], after.get("rss_mib"), others])
    return table + ratio_rows(figures)


def _course(
    contestant: type[Contestant], rates: Sequence[int], rate_s: float, rest_s: float, notes: list[str]
) -> _Course:
    progress(f"CPU and memory at rest, then at {', '.join(map(str, rates)) or 'no rate'} a second: {contestant.name}")
    with folder() as path, contestant(path) as running:
        in_a_row(series(_WARM_UP))
        time.sleep(_SETTLE_S)
        pids = running.processes()
        rest = _rest(pids, rest_s) if rest_s else None
        samples = [_sample(pids, rate, rate_s) for rate in rates]
        after = usage.memory(pids)
        running.finish()
        notes += running.disturbed
        found = captured(running, [sample.work for sample in samples])
    return _Course(
        rest=Rest(**{name: getattr(rest, name) for name in Rest.__struct_fields__[:-1]}, memory_after_load=after)
        if rest and samples
        else rest,
        samples=samples,
        captured=[found[sample.work.mark] / sample.work.count for sample in samples],
    )


def _rest(pids: Sequence[int], seconds: float) -> Rest:
    created, before = usage.processes_created(), usage.read(pids)
    time.sleep(seconds)
    used, created = usage.used(before, usage.read(pids)), usage.processes_created() - created
    return Rest(
        seconds=round(used.seconds, 2),
        chain_percent=_percent(used.chain_s, used.seconds),
        machine_percent=_percent(used.machine_s, used.seconds),
        processes_started=created,
        memory=usage.memory(pids),
        memory_after_load=None,
    )


def _sample(pids: Sequence[int], rate: int, seconds: float) -> Sample:
    work = series(int(rate * seconds))
    before = usage.read(pids)
    done, _ = paced(work, rate)
    time.sleep(_SETTLE_S)
    return Sample(work, done, usage.used(before, usage.read(pids)))


def _loads(courses: dict[str, _Course], again: _Course, index: int) -> dict[str, Load]:
    """Return the loads of all contestants at the rate of that index."""
    none = (courses[Contestant.name].samples[index], again.samples[index])
    return {
        name: _load(name, course.samples[index], course.captured[index], none)
        for name, course in courses.items()
        if course.samples
    }


def _load(name: str, sample: Sample, found: float, none: tuple[Sample, Sample]) -> Load:
    count, used, alone = sample.work.count, sample.used, name == Contestant.name
    machine_s, workload_s = (fmean(getattr(each.used, field) for each in none) for field in ("machine_s", "workload_s"))
    return Load(
        processes=count,
        achieved_per_s=round(sample.done.rate, 1),
        captured_fraction=None if alone else found,
        chain_cpu_s=round(used.chain_s, 4),
        chain_percent=_percent(used.chain_s, used.seconds),
        chain_us_per_process=_us(used.chain_s, count),
        by_name_s=used.by_name,
        workload_us_per_process=_us(workload_s if alone else used.workload_s, count),
        added_us_per_process=None if alone else _us(used.chain_s + used.workload_s - workload_s, count),
        machine_cpu_s=round(machine_s if alone else used.machine_s, 3),
        machine_added_us_per_process=None if alone else _us(used.machine_s - machine_s, count),
        unexplained_s=round(used.machine_s - used.chain_s - used.workload_s, 3),
        noise_us_per_process=_us(abs(none[0].used.machine_s - none[1].used.machine_s), count) if alone else None,
    )


def _load_ratios(loads: dict[str, Load]) -> dict[str, float | None]:
    ours, noise = loads[Shield.name], loads[Contestant.name].noise_us_per_process or 0.0
    ratios: dict[str, float | None] = {}
    for peer in (name for name in AUDIT_PEERS if name in loads):
        theirs = loads[peer]
        least = _LEAST_ADDED_US if _complete(ours, theirs) else float("inf")
        ratios[f"chain_ratio_to_{peer}"] = quotient(ours.chain_us_per_process, theirs.chain_us_per_process, least)
        ratios[f"added_ratio_to_{peer}"] = quotient(
            ours.added_us_per_process or 0.0, theirs.added_us_per_process or 0.0, least
        )
        ratios[f"machine_added_ratio_to_{peer}"] = quotient(
            ours.machine_added_us_per_process or 0.0, theirs.machine_added_us_per_process or 0.0, max(least, 3 * noise)
        )
    return ratios


def _complete(*loads: Load) -> bool:
    return all((load.captured_fraction or 0.0) >= _COMPLETE for load in loads)


def _rest_ratios(rests: dict[str, Rest]) -> dict[str, float | None]:
    ours = rests[Shield.name].memory
    return {
        f"memory_pss_ratio_to_{peer}": quotient(ours.pss_mib, rests[peer].memory.pss_mib)
        for peer in PEERS
        if peer in rests
    }


def _us(seconds: float, count: int) -> float:
    return round(seconds / count * _S_TO_US, 1)


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 3)
