"""Whether Shield stays the same over a million processes: its memory, its losses, the balance of its ledgers.

Several spawners start the smallest static program as fast as they can while Shield writes events to files that are
rotated and deleted. Every five seconds its resident memory and the number of processes so far are noted. `slope` is the
line of least squares through all samples but those of the first tenth, in which caches fill.

Not included: long-lived processes, other kinds of events, hours of time.
"""

import mmap
import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Any

from msgspec import Struct

from bench import report, usage
from bench.contestants import Shield
from bench.daemon import NotRunning
from bench.line_up import folder
from bench.report import Row, progress
from bench.spawning import TRUE, Series, Spawned, in_parallel, series

_SAMPLE_S = 5.0
_WARM_UP = 0.1
_LEAST_SAMPLES = 3
_MIB = 1 << 20
_ROTATE_BYTES = 64 * _MIB
_KEEP_FILES = 4
_FREE_BYTES = (_KEEP_FILES + 4) * _ROTATE_BYTES
_RECORDS_OF_A_PROCESS = 3  # fork, exec, exit
_SOURCE = "int main(void) { return 0; }\n"


class Sample(Struct, frozen=True):
    """Shield's memory when so many processes had been started."""

    processes: int
    rss_mib: float


class Balance(Struct, frozen=True):
    """One of Shield's ledgers at its end; `unaccounted` is what was seen and is in none of the others."""

    seen: int
    kept: int
    filtered: dict[str, int]
    folded: dict[str, int]
    dropped: dict[str, int]
    pending: int
    unaccounted: int


class _Counters:
    """How many processes each spawner has started, in memory that they share."""

    def __init__(self, spawners: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, 8 * spawners)).cast("Q")

    def count(self, spawner: int) -> None:
        """Count one more of that spawner's."""
        self._counts[spawner] += 1

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self._counts)


def measure(processes: int, spawners: int) -> dict[str, Any]:
    """Start so many processes and return the result. Raises NotRunning without enough disk space."""
    settings = {"output": {"rotate_bytes": _ROTATE_BYTES, "keep_files": _KEEP_FILES}}
    with folder() as path:
        if (free := shutil.disk_usage(path).free) < _FREE_BYTES:
            raise NotRunning(f"{path} has {free // _MIB} MiB free, {_FREE_BYTES // _MIB} are needed: set TMPDIR")
        program = _program(path)
        work = series(processes, program=program)
        with Shield(path, settings) as shield:
            done, samples = _sampled(shield, work, spawners)
            shield.finish()
            health = shield.health()
    return {
        "processes": processes,
        "spawners": spawners,
        "program": "static" if program != TRUE else TRUE,
        "seconds": round(done.seconds, 1),
        "processes_per_s": round(done.rate, 1),
        "rss_start_mib": samples[0].rss_mib,
        "rss_end_mib": samples[-1].rss_mib,
        "slope_mib_per_100000": _slope(samples),
        "cpu_us_per_process": round(health["cpu_s"] / processes * 1e6, 1),
        "lost": shield.lost,
        "records_of_others": health["ledgers"][0]["seen"] - _RECORDS_OF_A_PROCESS * processes,
        "events": health["events"],
        "ledgers": {ledger["source"]: _balance(ledger) for ledger in health["ledgers"]},
        "samples": samples,
    }


def _sampled(shield: Shield, work: Series, spawners: int) -> tuple[Spawned, list[Sample]]:
    """Start the series; return also the samples taken before, meanwhile, and after."""
    counters = _Counters(spawners)
    samples = [Sample(0, _rss_mib(shield))]
    load = multiprocessing.get_context("fork").Process(target=in_parallel, args=(work, spawners, counters.count))
    begin = time.monotonic()
    load.start()
    try:
        while load.is_alive():
            load.join(_SAMPLE_S)
            samples.append(Sample(counters.total, _rss_mib(shield)))
            progress(f"{samples[-1].processes:,} of {work.count:,} processes, {samples[-1].rss_mib:.1f} MiB")
        seconds = time.monotonic() - begin
    finally:
        load.terminate()
        load.join()
    if load.exitcode:
        raise NotRunning(f"the spawners ended with exit code {load.exitcode} after {counters.total:,} processes")
    return Spawned(work.count, seconds), samples


def _rss_mib(shield: Shield) -> float:
    return usage.memory(shield.processes()).rss_mib


def _program(folder: Path) -> str:
    """Return a static program that ends at once, compiled into `folder`, or /bin/true where there's no compiler."""
    source, program = folder / "nothing.c", folder / "nothing"
    source.write_text(_SOURCE)
    if shutil.which("cc") is None:
        return TRUE
    done = subprocess.run(["cc", "-Os", "-static", "-o", program, source], capture_output=True, check=False)
    return str(program) if done.returncode == 0 else TRUE


def _slope(samples: Sequence[Sample]) -> float | None:
    """Return MiB for every 100,000 processes, or None for too few samples to tell."""
    settled = [each for each in samples if each.processes >= _WARM_UP * samples[-1].processes]
    if len({each.processes for each in settled}) < _LEAST_SAMPLES:
        return None
    line = linear_regression([each.processes for each in settled], [each.rss_mib for each in settled])
    return round(line.slope * 100_000, 4)


def _balance(ledger: dict[str, Any]) -> Balance:
    fates = sum(sum(ledger[fate].values()) for fate in ("filtered", "folded", "dropped"))
    return Balance(
        seen=ledger["seen"],
        kept=ledger["kept"],
        filtered=ledger["filtered"],
        folded=ledger["folded"],
        dropped=ledger["dropped"],
        pending=ledger["pending"],
        unaccounted=ledger["seen"] - ledger["kept"] - ledger["pending"] - fates,
    )


def _table(result: dict[str, Any]) -> list[Row]:
    single = [[name.replace("_", " "), value] for name, value in result.items() if isinstance(value, int | float | str)]
    balances = [
        [name, each["seen"], each["kept"], sum(each["dropped"].values()), each["unaccounted"]]
        for name, each in result["ledgers"].items()
    ]
    return [["Churn"], *single, ["Ledgers"], ["", "seen", "kept", "dropped", "unaccounted"], *balances]


def main() -> None:
    """Run from the command line."""
    parser = report.arguments(__doc__)
    parser.add_argument("--processes", type=int, help="how many in all (1,000,000; 50,000 with --quick)")
    parser.add_argument("--spawners", type=int, default=max(2, os.cpu_count() or 1), help="how many at once")
    asked = parser.parse_args()
    processes = asked.processes or (50_000 if asked.quick else 1_000_000)
    report.carry_out(asked, lambda: measure(processes, asked.spawners), _table)


if __name__ == "__main__":
    main()
