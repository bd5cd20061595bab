"""The command line: every command of `shield`, and what all of them share."""

import sys
from typing import Annotated

import typer

from shield import __version__
from shield.cli import doctor, events, explain, replay, rules, run, show
from shield.cli.errors import quiet_end

app = typer.Typer(
    name="shield",
    help="Watches this host, scores what it sees and says why. Alert-only: nothing on the host is ever changed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shield {__version__}")
        raise typer.Exit


@app.callback()
def shared(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Watches this host, scores what it sees and says why. Alert-only: nothing on the host is ever changed."""


app.command()(run.run)
app.command()(events.events)
app.command()(explain.explain)
app.command()(replay.replay)
app.command()(doctor.doctor)
app.add_typer(rules.app, name="rules")
app.add_typer(show.app, name="show")


def main() -> int:
    """Run the command on sys.argv; return its exit code."""
    with quiet_end():
        app()
    return 0


if __name__ == "__main__":
    sys.exit(main())
