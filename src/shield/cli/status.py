"""`shield status`: how the running agent is doing."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shield.agent import status as kept
from shield.agent.status import NotRunning, Status
from shield.cli.errors import fail, quiet_end
from shield.cli.labelled import BAD, GOOD, line, outcome
from shield.cli.summary import of_ledger
from shield.exporter.wording import as_json, duration, when
from shield.text import printable


def status(
    file: Annotated[Path | None, typer.Option(help="The agent's status file, instead of the usual one.")] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how the running agent is doing: sources, losses, self-test, budget, and who makes most of the events.

    Exit code 0 if all is well, 1 if something is not, 3 if no agent is running.
    """
    path = file or kept.default_file()
    if path is None:
        fail("no status is kept here; unset SHIELD_RUNTIME, or name the file with --file", 3)
    try:
        found = kept.read(path)
    except NotRunning as problem:
        fail(str(problem), 3)
    with quiet_end():
        if as_object:
            print(as_json(found))
        else:
            _show(found)
    if found.problems:
        raise typer.Exit(1)


def _show(found: Status) -> None:
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    health = found.health
    memory = health.rss_bytes / (1 << 20)
    line(console, "agent", f"Shield {health.version} on {found.host}, pid {found.pid}, up {duration(health.uptime_s)}")
    line(console, "watches", f"through {health.source}")
    line(console, "judges by", f"{health.rules:,} rules, policy {found.policy}; baseline {health.baseline}")
    line(console, "has seen", f"{sum(health.events.values()):,} events, {health.alerts:,} of them alerts")
    line(console, "uses", f"CPU {found.cpu_percent:.1f} % of a core now, memory {memory:.0f} MiB at most")
    for problem in found.problems:
        line(console, "problem", problem, BAD)
    if not found.problems:
        line(console, "problems", "none", GOOD)
    for refusal in health.refused:
        line(console, "can't use", refusal, BAD)
    _blank(console)
    for ledger in health.ledgers:
        console.print(Text(printable(of_ledger(ledger).strip())))
    _tests(console, found)
    _producers(console, found)


def _tests(console: Console, found: Status) -> None:
    if not found.self_test:
        return
    _blank(console)
    console.print(Text(f"self-test of {when(found.self_test_ns)}"))
    for one in found.self_test:
        outcome(console, one, "  ")


def _producers(console: Console, found: Status) -> None:
    if not found.producers:
        return
    _blank(console)
    table = Table(box=None, pad_edge=False, title="most events of late", title_justify="left", title_style="")
    for column in ("program", "category"):
        table.add_column(column, overflow="fold")
    table.add_column("events", justify="right")
    for one in found.producers:
        table.add_row(Text(printable(one.program or "(none)")), one.category, f"{one.events:,}")
    console.print(table)


def _blank(console: Console) -> None:
    console.print()
