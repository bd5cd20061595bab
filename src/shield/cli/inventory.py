"""`shield inventory`: what is on this host, listed once; what changes in it afterwards becomes events."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from shield.agent.statefolder import StateFolder, Untrusted, default_folder
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.exporter.wording import harmless_json, printed, some, when

if sys.platform == "linux":
    from shield.collector.linux.packages.packages import Packages
    from shield.collector.linux.persistence.inventory import Inventory, mechanisms, take
    from shield.collector.linux.persistence.item import Entry, Item
    from shield.collector.linux.persistence.root import Root
    from shield.collector.linux.persistence.state import KEPT_AS, StateDamaged, unpack

app = typer.Typer(help="List what is on this host.", no_args_is_help=True, rich_markup_mode=None)

_COLUMNS = {"what": 8, "runs": 8, "when": 4, "as": 2, "owner": 2, "package": 3, "sha256": 3, "first seen": 5}
"""The columns of the table, and the share of its width that each has."""

_WIDTH = 200  # where the output is no terminal
_HASH_SHOWN = 12
_REFUSED_SHOWN = 10


@app.callback()
def group() -> None:
    """List what is on this host."""


@app.command()
def persistence(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    mechanism: Annotated[str, typer.Option(metavar="NAME", help="Only this, such as cron or ssh_key.")] = "",
    root: Annotated[Path, typer.Option(metavar="DIR", help="Look below this folder, such as a mounted disk.")] = Path(
        "/"
    ),
) -> None:
    """List everything that makes a program run again by itself.

    Each has its owner, its package, its hash, and when the agent first saw it. What this user may not read is left out,
    and told at the end.
    """
    if sys.platform != "linux":
        fail("only Linux hosts have an inventory so far", 3)
    if mechanism and mechanism not in mechanisms():
        fail(f"there is no mechanism {mechanism}; there are:", 2, mechanisms())
    if not root.is_dir():
        fail(f"{root}: there is no such folder")
    packages = Packages(root)
    found = take(Root(str(root)), packages.owner_of, mechanism)
    known = _first_seen(root)
    with quiet_end():
        if as_json:
            _print_json(found.items, known)
        else:
            _print_tables(found, known)
    for problem in packages.problems:
        print(printed(f"shield: {problem}"), file=sys.stderr)


def _first_seen(root: Path) -> Mapping[tuple[str, "Entry"], int]:
    """Return when the agent first saw each entry, Unix ns, by its file's path; nothing where it has kept nothing."""
    folder = default_folder()
    known: Mapping[tuple[str, Entry], int] = {}
    if folder is not None and root == Path("/"):
        with suppress(OSError, Untrusted, StateDamaged):
            known = unpack(StateFolder(folder).read(KEPT_AS)).first_seen()
    return known


def _since(item: "Item", known: Mapping[tuple[str, "Entry"], int]) -> int:
    return known.get((item.path, item.entry), 0)


def _print_json(items: Sequence["Item"], known: Mapping[tuple[str, "Entry"], int]) -> None:
    for item in items:
        told = msgspec.to_builtins(item) | {"first_seen_ns": _since(item, known) or None}
        print(harmless_json(msgspec.json.encode(told)).decode())


def _print_tables(found: "Inventory", known: Mapping[tuple[str, "Entry"], int]) -> None:
    console = OutputConsole(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    kinds = 0
    for mechanism, items in groupby(found.items, attrgetter("mechanism")):
        kinds += 1
        console.print(Text(mechanism, "bold"))
        console.print(_table(list(items), known))
    told = f"{some(len(found.items), 'item')} of {some(kinds, 'mechanism')}"
    refused = [printed(f"  {path}: {why}") for path, why in sorted(found.unreadable.items())]
    print(f"{told}; {some(len(refused), 'place')} could not be read:" if refused else told)
    for line in refused[:_REFUSED_SHOWN]:
        print(line)
    if len(refused) > _REFUSED_SHOWN:
        print(f"  and {len(refused) - _REFUSED_SHOWN:,} more")


def _table(items: Sequence["Item"], known: Mapping[tuple[str, "Entry"], int]) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
    for name, share in _COLUMNS.items():
        table.add_column(name, ratio=share, no_wrap=True, overflow="ellipsis")
    for item in items:
        since = _since(item, known)
        what = item.path if item.name in item.path else f"{item.path}: {item.name}"
        runs = "" if item.command == item.path else item.command
        cells = (what, runs, item.trigger, item.run_as, item.owner, item.package, item.sha256[:_HASH_SHOWN])
        row = (*cells, when(since) if since else "")
        table.add_row(*(Text(printed(cell) or "-") for cell in row))
    return table
