"""What watching costs a real build, with every source on: compiling C, unpacking and byte-compiling a large tree.

A turn is one build with both cores busy: a copy of Python's standard library is packed, unpacked and byte-compiled,
and some hundred C files are compiled, linked and run by `make`. Every round gives each contestant a turn, `none` too.
`build_s` is the time of a build (CLOCK_MONOTONIC); `slowdown_ratio` is a round's over that of `none` in the same round;
of these ratios the median is given, and the least and largest. `chain_percent` is the contestant's own CPU time, in
per cent of one core, and `machine_ratio` that of the whole machine over that of `none`.

The peer is auditd with rules for about what Shield watches (bench.auditd.AuditdAll). A ratio below 1 is in Shield's
favour.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct

from bench import report, usage
from bench.auditd import AuditdAll
from bench.contestants import Contestant, Shield
from bench.daemon import NotRunning
from bench.line_up import folder, turns
from bench.quantiles import quotient
from bench.report import Row, named, progress, ratio_rows

_FUNCTIONS = 60
_LEAST_ADDED = 0.005  # less is within the noise, and no divisor
_MAKEFILE = """\
SOURCES := $(wildcard *.c)
all: $(SOURCES:.c=.done)
%.done: %.c
\t@$(CC) -O1 -o $*.out $< && ./$*.out && touch $@
"""


class Settings(Struct, frozen=True):
    """How much is built, how often."""

    rounds: int = 5
    c_files: int = 150


QUICK = Settings(rounds=2, c_files=40)


class Build(Struct, frozen=True):
    """What building was like beside one contestant."""

    builds: int
    build_s: float
    slowdown_ratio: float
    slowdown_ratio_least: float
    slowdown_ratio_most: float
    chain_percent: float
    machine_ratio: float
    rss_mib: float


class _Turn(Struct):
    seconds: float
    chain_s: float
    machine_s: float
    rss_mib: float


def measure(settings: Settings) -> dict[str, Any]:
    """Build beside each contestant in turn. Raises NotRunning where a compiler or a contestant is missing."""
    compiler = shutil.which("clang") or shutil.which("cc")
    if compiler is None or shutil.which("make") is None:
        raise NotRunning("a build needs make and a C compiler: apt-get install make clang")
    contestants = [each for each in (Contestant, Shield, AuditdAll) if not each.missing()]
    notes: list[str] = []
    took: dict[str, list[_Turn]] = {each.name: [] for each in contestants}
    lost: dict[str, dict[str, int]] = {}
    with folder() as sources:
        _prepare(sources, settings.c_files)
        _build(sources, compiler)  # once unmeasured: what is read from disk is in memory from then on
        for number, contestant in turns(contestants, settings.rounds):
            progress(f"build, round {number + 1} of {settings.rounds}: {contestant.name}")
            with folder() as path, contestant(path) as running:
                took[contestant.name].append(_turn(running, sources, compiler))
                running.finish()
                notes += running.disturbed
                lost[contestant.name] = running.lost or {}
    builds = {name: _built(each, took[Contestant.name]) for name, each in took.items()}
    skipped = {each.name: each.missing() for each in (Shield, AuditdAll) if each.missing()}
    return {
        "settings": settings,
        "skipped": skipped,
        "disturbed": notes,
        "lost": lost,
        "build": builds | _ratios(builds),
    }


def _turn(running: Contestant, sources: Path, compiler: str) -> _Turn:
    pids = running.processes()
    before, began = usage.read(pids), time.monotonic()
    _build(sources, compiler)
    seconds, used = time.monotonic() - began, usage.used(before, usage.read(pids))
    return _Turn(seconds, used.chain_s, used.machine_s, usage.memory(pids).rss_mib if pids else 0.0)


def _prepare(sources: Path, c_files: int) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    with tarfile.open(sources / "tree.tar", "w") as tree:
        for file in sorted(library.rglob("*.py")):
            if "site-packages" not in file.parts and "lib2to3" not in file.parts and "test" not in file.parts:
                tree.add(file, file.relative_to(library))
    for number in range(c_files):
        functions = "".join(f"int f{each}(int x) {{ return x * {each + number} + 1; }}\n" for each in range(_FUNCTIONS))
        (sources / f"c{number}.c").write_text(f"{functions}int main(void) {{ return f0(0) - 1; }}\n")
    (sources / "Makefile").write_text(_MAKEFILE)


def _build(sources: Path, compiler: str) -> None:
    with folder() as place:
        jobs = str(os.cpu_count() or 1)
        for file in (*sources.glob("*.c"), sources / "Makefile"):
            shutil.copy(file, place)
        subprocess.run(["make", "-s", "-j", jobs, f"CC={compiler}"], cwd=place, check=True)
        subprocess.run(["tar", "xf", str(sources / "tree.tar"), "-C", str(place)], check=True)
        command = [sys.executable, "-m", "compileall", "-q", "-j", jobs, str(place)]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _built(turns_of_one: Sequence[_Turn], none: Sequence[_Turn]) -> Build:
    ratios = [mine.seconds / base.seconds for mine, base in zip(turns_of_one, none, strict=True)]
    machine = [mine.machine_s / base.machine_s for mine, base in zip(turns_of_one, none, strict=True)]
    return Build(
        builds=len(turns_of_one),
        build_s=round(median(turn.seconds for turn in turns_of_one), 3),
        slowdown_ratio=round(median(ratios), 4),
        slowdown_ratio_least=round(min(ratios), 4),
        slowdown_ratio_most=round(max(ratios), 4),
        chain_percent=round(100 * median(turn.chain_s / turn.seconds for turn in turns_of_one), 2),
        machine_ratio=round(median(machine), 4),
        rss_mib=max(turn.rss_mib for turn in turns_of_one),
    )


def _ratios(builds: dict[str, Build]) -> dict[str, float | None]:
    if AuditdAll.name not in builds or Shield.name not in builds:
        return {}
    ours, theirs = builds[Shield.name], builds[AuditdAll.name]
    return {
        f"build_time_ratio_to_{AuditdAll.name}": quotient(ours.slowdown_ratio, theirs.slowdown_ratio),
        f"added_time_ratio_to_{AuditdAll.name}": quotient(
            ours.slowdown_ratio - 1, theirs.slowdown_ratio - 1, _LEAST_ADDED
        ),
    }


def _table(result: dict[str, Any]) -> list[Row]:
    table: list[Row] = [
        ["A build, every source on"],
        ["", "seconds", "ratio to none", "least", "most", "chain % of a core", "machine ratio", "RSS MiB"],
    ]
    for name, each in named(result["build"]):
        ratios = (each["slowdown_ratio"], each["slowdown_ratio_least"], each["slowdown_ratio_most"])
        table.append([name, each["build_s"], *ratios, each["chain_percent"], each["machine_ratio"], each["rss_mib"]])
    lost = [[f"{name} lost {sum(counts.values())}"] for name, counts in result["lost"].items() if sum(counts.values())]
    return [*table, *ratio_rows(result["build"]), *lost, *report.remarks(result)]


def main() -> None:
    """Run from the command line."""
    asked = report.arguments(__doc__).parse_args()
    report.carry_out(asked, lambda: measure(QUICK if asked.quick else Settings()), _table)


if __name__ == "__main__":
    main()
