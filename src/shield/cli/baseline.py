"""`shield baseline`: what is known to be normal on this host, to read, to export, or to learn anew."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from shield.agent import statefolder
from shield.agent.configuration import Configuration
from shield.agent.detection import BASELINE
from shield.agent.statefolder import InUse, StateFolder, Untrusted
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.loading import load_configuration, load_policy
from shield.scorer.baseline import Baseline, BaselineDamaged, Thing
from shield.text import printable

app = typer.Typer(
    help="Show, export or reset what is known to be normal on this host.", no_args_is_help=True, rich_markup_mode=None
)

_STDOUT = "-"
_RESET = "reset"
_WIDE = 400

Config = Annotated[Path | None, typer.Option(help="Configuration file; /etc/shield/shield.yml if it exists.")]
KindName = Literal[
    "executable",
    "executable_hash",
    "parent_child",
    "user_executable",
    "destination",
    "listening_port",
    "logon_hour",
]


@app.command()
def show(
    config: Config = None,
    kind: Annotated[KindName | None, typer.Option(help="Show each thing of this kind.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how far the baseline has learnt and how much it knows, as it was last written."""
    baseline = _stored(config)
    status = baseline.status
    things = [thing for thing in baseline.things() if thing.kind == kind]
    with quiet_end():
        if as_json:
            print(json.dumps(msgspec.to_builtins(status) | ({"things": msgspec.to_builtins(things)} if kind else {})))
            return
        console = OutputConsole() if sys.stdout.isatty() else OutputConsole(width=_WIDE)
        console.print(Text(f"The baseline is {status.summary}."))
        if kind:
            console.print(_listed(things))
            return
        table = Table("kind", "remembered", "known", box=None, pad_edge=False)
        for name, number in status.remembered.items():
            table.add_row(name, f"{number:,}", f"{status.known[name]:,}")
        console.print(table)
        console.print(Text(f"In quarantine {status.held:,} things, tainted {status.tainted:,} stories."))
        if status.dropped:
            console.print(Text("Not learnt: " + ", ".join(f"{name} {n:,}" for name, n in status.dropped.items())))


@app.command()
def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write; - for stdout.")], config: Config = None
) -> None:
    """Write everything the baseline remembers as JSON, one thing a line."""
    lines = b"".join(msgspec.json.encode(thing) + b"\n" for thing in _stored(config).things())
    if file == _STDOUT:
        with quiet_end():
            print(lines.decode(), end="")
        return
    try:
        Path(file).write_bytes(lines)
    except OSError as error:
        fail(f"{file}: can't be written: {error.strerror}; choose a place with room that you may write to")


@app.command()
def reset(
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Really do it.")] = False,
) -> None:
    """Set the baseline aside, so that `shield run` learns anew from its next start on."""
    try:
        folder = _folder(load_configuration(config))
    except _NotRead as why:
        fail(str(why))
    path = folder.file(BASELINE)
    if not path.exists():
        fail(f"{path}: there is no baseline yet; nothing is to be reset")
    if not yes:
        fail(f"this sets {path} aside, and days of learning begin anew; say --yes if you want that")
    try:
        folder.open()
        aside = folder.set_aside(BASELINE, _RESET)
    except InUse as error:
        fail(f"{error}; stop it first, or it would write the old baseline back")
    except OSError as error:
        fail(f"{path}: can't be set aside: {error.strerror}; run this as the user that the agent runs as")
    finally:
        folder.close()
    with quiet_end():
        print(printable(f"The baseline begins anew; the old one is {aside}."))


def stored_summary() -> str:
    """Return how far the baseline of the default configuration has learnt, or why that can't be told."""
    try:
        return _read(load_configuration(None)).status.summary
    except _NotRead as why:
        return str(why)


class _NotRead(Exception):
    """There is no baseline to be read; the text says why, and what to do."""


def _folder(settings: Configuration) -> StateFolder:
    """Return the folder of the state. Raises _NotRead."""
    path = Path(settings.state) if settings.state else statefolder.default_folder()
    if path is None:
        raise _NotRead(f"no state is kept: {statefolder.FOLDER_VARIABLE} is empty; name a folder (state)")
    return StateFolder(path)


def _stored(config: Path | None) -> Baseline:
    try:
        return _read(load_configuration(config))
    except _NotRead as why:
        fail(str(why))


def _read(settings: Configuration) -> Baseline:
    """Return the baseline as it was last written. Raises _NotRead."""
    folder = _folder(settings)
    path = folder.file(BASELINE)
    baseline = Baseline(load_policy(Path(settings.policy) if settings.policy else None).policy.baseline)
    try:
        baseline.restore(folder.read(BASELINE))
    except FileNotFoundError:
        raise _NotRead(f"{path}: not there yet; `shield run` writes it every few minutes and when it stops") from None
    except OSError as error:
        raise _NotRead(f"{path}: can't be read: {error.strerror}; use the user that the agent runs as") from None
    except (Untrusted, BaselineDamaged) as error:
        problem = str(error).partition(";")[0]
        raise _NotRead(f"{path}: {problem}; `shield baseline reset --yes` sets it aside") from None
    return baseline


def _listed(things: list[Thing]) -> Table:
    table = Table("days", "last seen", "known", "what", box=None, pad_edge=False)
    for thing in sorted(things, key=lambda thing: (-thing.days, thing.subject)):
        ago = f"{thing.last_seen_days_ago} days ago" if thing.last_seen_days_ago else "today"
        what = " → ".join(str(part) for part in thing.subject)
        table.add_row(str(thing.days), ago, "yes" if thing.known else "", Text(printable(what)))
    return table
