"""`shield indicators`: check files of indicators before an agent uses them."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from shield.agent.indicators import NoIndicators, Report, build
from shield.cli.errors import fail, quiet_end
from shield.scorer.indicators.index import Index, block
from shield.text import printable

app = typer.Typer(help="Check files of indicators.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Check files of indicators."""


@app.command()
def check(
    places: Annotated[list[str], typer.Argument(metavar="PLACE...", help="Files and folders of indicators.")],
) -> None:
    """Read the indicators in PLACE, count them by kind, and tell of what can't be used. Exit code 1 if there is any."""
    index, report = _read(places)
    with quiet_end():
        for line in (*report.unusable, *(line for line in report.told if line not in report.unusable)):
            print(printable(line))
        more = report.problems - len(report.told)
        if more > 0:
            print(f"and {more:,} more entries that can't be used")
        for line in _summary(index, report):
            print(line)
    if report.problems or report.unusable:
        raise typer.Exit(1)


def _read(places: list[str]) -> tuple[Index, Report]:
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with bar as progress:
        task = progress.add_task("Reading indicators", total=None)
        try:
            builder, report = build(places, lambda read, size: progress.update(task, completed=read, total=size))
            return Index(block(builder)), report
        except NoIndicators as error:
            fail(str(error))


def _summary(index: Index, report: Report) -> list[str]:
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(index.kinds.items())) or "none"
    lines = [f"{len(index):,} indicators from {report.files:,} files: {kinds}"]
    if report.expired:
        lines.append(f"{report.expired:,} of them have expired")
    lines += [f"{number:,} left alone: {reason}" for reason, number in sorted(report.passed_over.items())]
    lines.append(f"{report.problems:,} entries and {len(report.unusable):,} files can't be used")
    return lines
