"""`shield rules profile`: which rules cost what over recorded events."""

import sys
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from shield.agent.rulecache import RuleCache, default_folder
from shield.agent.ruleprofile import RuleProfile
from shield.agent.ruleprofile import profile as measured
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.loading import load_policy, load_rules
from shield.cli.recorded import RecordedFiles
from shield.exporter.wording import as_json, some
from shield.text import printable

_UNCUT = 400


def profile(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Recorded telemetry, as `shield replay` reads it.")
    ],
    rules: Annotated[
        list[str] | None, typer.Option(help="Sigma rules: a file, a folder, or the word `shipped`; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show the dearest N rules.")] = 30,
    to_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all rules.")] = False,
) -> None:
    """Show what each rule costs over recorded events: how often it is looked at, matches, and how long that takes."""
    book = load_rules(rules or (), load_policy(None))
    recorded = RecordedFiles(files)
    found = measured(book.ruleset, recorded, book.databases)
    book.keep(RuleCache(default_folder()))
    if not found.events:
        fail(f"there is no event in {', '.join(files)}; name a file of recorded events")
    with quiet_end():
        if to_json:
            print(_json(found))
        else:
            _tell(found, limit)
    if recorded.damaged:
        raise typer.Exit(2)


def _tell(found: RuleProfile, limit: int) -> None:
    table = Table("total", "each", "looked at", "matches", "rule", box=None, pad_edge=False)
    for cost in found.costs[:limit]:
        each = cost.condition_ns / cost.candidates
        cells = (_time(cost.condition_ns), _time(each), f"{cost.candidates:,}", f"{cost.matches:,}", cost.rule.name)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = OutputConsole() if sys.stdout.isatty() else OutputConsole(width=_UNCUT)
    console.print(table)
    more = len(found.costs) - limit
    if more > 0:
        print(f"and {some(more, 'rule')} that cost less; --limit shows more")
    whole = found.index_ns + found.conditions_ns
    share = 100 * found.index_ns / whole if whole else 0.0
    each = _time(whole / found.events)
    print(
        f"{some(found.events, 'event')}, {each} each: index {_time(found.index_ns)} ({share:.0f} %), "
        f"conditions {_time(found.conditions_ns)}; {some(found.quiet, 'rule')} never looked at"
    )


def _time(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.0f} ns"


def _json(found: RuleProfile) -> str:
    told = {
        "events": found.events,
        "index_ns": found.index_ns,
        "conditions_ns": found.conditions_ns,
        "never_looked_at": found.quiet,
        "rules": [
            {
                "id": cost.rule.id,
                "name": cost.rule.name,
                "file": cost.rule.source,
                "candidates": cost.candidates,
                "matches": cost.matches,
                "condition_ns": cost.condition_ns,
            }
            for cost in found.costs
        ],
    }
    return as_json(told)
