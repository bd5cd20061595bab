"""How a benchmark is called and what it prints: one JSON object, or a short table, on stdout; progress on stderr."""

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import msgspec

from bench.daemon import NotRunning
from bench.kernel_audit import NotRestored
from shield import __version__

Result = dict[str, Any]
Row = Sequence[object]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a short run, with less to rely on")
    return parser


def carry_out(asked: argparse.Namespace, measure: Callable[[], Result], table: Callable[[Any], Iterable[Row]]) -> None:
    """Measure and print. SIGTERM ends a run as Ctrl-C does: whatever was set up is undone first."""
    signal.signal(signal.SIGTERM, _interrupt)
    if os.geteuid():
        _refuse("a benchmark starts Shield and audit daemons: run it as root", 3)
    try:
        result = msgspec.to_builtins({"host": host(), "quick": asked.quick} | measure())
    except NotRunning as error:
        _refuse(str(error), 3)
    except NotRestored as error:
        _refuse(str(error), 1)
    except KeyboardInterrupt:
        _refuse("interrupted", 130)
    print(msgspec.json.encode(result).decode() if asked.json else aligned(table(result)))


def progress(text: str) -> None:
    """Say on stderr what goes on."""
    print(f"  {text}", file=sys.stderr, flush=True)


def host() -> dict[str, Any]:
    """Return what figures depend on: the machine, its kernel, and the versions of all contestants."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)", cpuinfo, re.MULTILINE)
    return {
        "kernel": platform.release(),
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "shield": __version__,
        "auditd": _version("auditctl", "-v"),
        "laurel": _version("laurel", "--version"),
    }


def remarks(result: Result) -> list[Row]:
    """Return what was left out and what disturbed the run, a row each."""
    left_out = [[f"without {name}: {why}"] for name, why in result["skipped"].items()]
    return [*left_out, *([f"disturbed: {note}"] for note in result["disturbed"])]


def named(figures: Result) -> list[tuple[str, Result]]:
    """Return the entries that hold several figures: a contestant's, each."""
    return [(name, each) for name, each in figures.items() if isinstance(each, dict)]


def ratio_rows(figures: Result) -> list[Row]:
    """Return Shield's ratios to its peers among the figures, a row each."""
    return [[f"Shield's {name.replace('_', ' ')}", each] for name, each in figures.items() if "ratio" in name]


def aligned(rows: Iterable[Row]) -> str:
    """Return the rows as a table, numbers to the right; a row of one cell is a heading."""
    texts = [[_cell(cell) for cell in row] for row in rows]
    columns = max(len(row) for row in texts)
    widths = [
        max((len(row[at]) for row in texts if len(row) > at > 0 or len(row) > 1 > at), default=0)
        for at in range(columns)
    ]
    return "\n".join(_line(row, widths) for row in texts)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    if len(row) == 1:
        return f"\n{row[0]}" if row[0] else ""
    first, *rest = (
        cell.ljust(width) if at == 0 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=False))
    )
    return f"  {'  '.join([first, *rest])}".rstrip()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return (
        f"{value:,.4g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, int | float)
        else str(value)
    )


def _version(command: str, option: str) -> str | None:
    if shutil.which(command) is None:
        return None
    said = subprocess.run([command, option], capture_output=True, text=True, check=False).stdout.split()
    return said[-1] if said else None


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _refuse(why: str, code: int) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(code)
