"""`shield show`: what Shield comes with, to read or to start from: the policy, a configuration, the event's schema."""

import json
from importlib.resources import files

import typer

from shield.agent import configuration
from shield.cli.errors import quiet_end
from shield.event import json_schema

app = typer.Typer(
    help="Print the built-in policy, the default configuration, the event schema.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def policy() -> None:
    """Print the built-in policy, with comments, as a file to start from."""
    with quiet_end():
        print(files("shield.policy").joinpath("default.yml").read_text(), end="")


@app.command()
def config() -> None:
    """Print the configuration with every key at its default."""
    with quiet_end():
        print(configuration.example(), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema of an event."""
    with quiet_end():
        print(json.dumps(json_schema(), indent=2))
