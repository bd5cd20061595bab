"""`shield rules coverage`: what the rules cover of ATT&CK, and which of them can see nothing on this host."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from shield.agent.coverage import live
from shield.agent.identity import identify
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.loading import load_policy, load_rules
from shield.exporter.wording import as_json, printed, some
from shield.scorer.sigma.coverage import NO_TACTIC, Idle, idle, layer, techniques
from shield.text import printable

_PER_ROW = 6


def coverage(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[PLACE]...", help="Files, folders, or `shipped`.")
    ] = None,
    navigator: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a layer for ATT&CK Navigator here.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Name each rule that can see nothing on this host.")
    ] = False,
    to_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how many rules there are for each ATT&CK technique, and which can see nothing on this host, and why."""
    book = load_rules(places or (), load_policy(None))
    os = identify().os
    unseeing = idle(book.ruleset, live(os))
    table = techniques(book.ruleset)
    if navigator is not None:
        _write(navigator, layer(book.ruleset, f"Shield: {', '.join(places or ('shipped',))}"))
    with quiet_end():
        if to_json:
            print(as_json({"rules": len(book.ruleset), "tactics": table, "os": os, "idle": unseeing}))
            return
        _tell_table(table)
        active = len(book.ruleset) - len(unseeing)
        print(f"\n{active:,} of {some(len(book.ruleset), 'rule')} can see something on this {os} host", end="")
        print("; the others:" if unseeing else "")
        _tell_idle(unseeing, everything)


def _tell_table(table: dict[str, dict[str, int]]) -> None:
    shown = Table("tactic", "techniques", "rules by technique", box=None, pad_edge=False)
    for tactic, counts in table.items():
        cells = [f"{technique} {count}" for technique, count in counts.items()]
        rows = [", ".join(cells[at : at + _PER_ROW]) for at in range(0, len(cells), _PER_ROW)]
        name = "none named" if tactic == NO_TACTIC else tactic
        shown.add_row(Text(printable(name)), str(len(counts)), Text(printable("\n".join(rows)).replace("\\n", "\n")))
    OutputConsole(width=120).print(shown)


def _tell_idle(unseeing: tuple[Idle, ...], everything: bool) -> None:
    for kind, count in Counter(one.kind for one in unseeing).most_common():
        print(printed(f"{count:>7,}  {kind}"))
        if everything:
            for one in unseeing:
                if one.kind == kind:
                    told = one.rule if one.rule == one.title else f"{one.rule}: {one.title}"
                    print(printed(f"           {told}"))


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        path.write_text(as_json(content) + "\n", encoding="ascii")
    except OSError as error:
        fail(f"{path}: can't be written: {error.strerror}; choose a place with room that you may write to")
