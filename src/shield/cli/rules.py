"""`shield rules`: list rules and check them."""

import sys
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from shield.agent import rulebook
from shield.agent.rulebook import NoRules
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.loading import load_policy, load_rules
from shield.scorer.score import points
from shield.text import printable

_UNCUT = 400

app = typer.Typer(help="List rules and check them.", no_args_is_help=True, rich_markup_mode=None)

Places = Annotated[list[str] | None, typer.Argument(metavar="[PLACE]...", help="Files, folders, or `shipped`.")]


@app.command("list")
def list_rules(places: Places = None) -> None:
    """List the rules in PLACE (the shipped ones without) with their points under the built-in policy."""
    policy = load_policy(None)
    book = load_rules(places or (), policy)
    every = (*book.rules, *book.correlations)
    weights = points(every, policy.policy)
    table = Table("points", "level", "name", "title", "ATT&CK", box=None, pad_edge=False)
    for rule in sorted(every, key=lambda rule: (-weights[rule.id], rule.name)):
        cells = (str(weights[rule.id]), rule.level, rule.name, rule.title, ", ".join(rule.attack))
        table.add_row(*(Text(printable(cell)) for cell in cells))
    with quiet_end():
        console = OutputConsole() if sys.stdout.isatty() else OutputConsole(width=_UNCUT)
        console.print(table)


@app.command()
def check(places: Places = None) -> None:
    """Tell of every rule in PLACE that can't be used, with file and line. Exit code 1 if there is one."""
    try:
        book = rulebook.load(places or ())
    except NoRules as error:
        first, *rest = str(error).splitlines()
        fail(first, details=rest)
    with quiet_end():
        for problem in book.problems:
            print(printable(problem))
        print(f"{len(book.ruleset)} rules can be used, {len(book.problems)} can't")
    if book.problems:
        raise typer.Exit(1)
