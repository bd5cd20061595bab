"""The command line: every command of `shield`, and what all of them share."""

import os
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Annotated, cast

import typer

from shield import __version__
from shield.cli import (
    baseline,
    doctor,
    events,
    explain,
    indicators,
    inventory,
    replay,
    rules,
    run,
    show,
    status,
    timeline,
    why_not,
)
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
app.command()(timeline.timeline)
app.command("why-not")(why_not.why_not)
app.command()(replay.replay)
app.command()(doctor.doctor)
app.command()(status.status)
app.add_typer(rules.app, name="rules")
app.add_typer(indicators.app, name="indicators")
app.add_typer(inventory.app, name="inventory")
app.add_typer(baseline.app, name="baseline")
app.add_typer(show.app, name="show")


def main() -> int:
    """Run the command on sys.argv; return its exit code."""
    _complete_streams()
    _have_a_home()
    with quiet_end():
        app()
    return 0


def _complete_streams() -> None:
    """Give the command the standard streams it was started without (`>&-`), and a stdout that can show any text."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  for as long as the command runs
    stdout: object = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        cast("TextIOWrapper[BytesIO]", stdout).reconfigure(errors="backslashreplace")


def _have_a_home() -> None:
    """Take the root folder for the home of a user whom passwd doesn't know, as container runtimes do."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"


if __name__ == "__main__":
    sys.exit(main())
