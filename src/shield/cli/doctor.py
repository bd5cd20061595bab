"""`shield doctor`: what this host offers, what Shield would use, what that can't see, and how to mend it."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from shield import __version__
from shield.agent.configuration import Configuration
from shield.agent.identity import identify
from shield.agent.sources import HostSources
from shield.cli.baseline import stored_summary
from shield.cli.errors import quiet_end
from shield.cli.self_test import tested
from shield.collector.source import Kind, Source, SourceUnavailable
from shield.text import printable

_GOOD, _BAD = "green", "yellow"


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Do one harmless thing of each kind, and see whether it arrives.")
    ] = False,
) -> None:
    """Try every source of events on this host, and say what works, what it can't see and how to mend it.

    Each source is really opened and closed again. Exit code 1 if not the best source of processes can be used, or none
    of something else, or if the self-test fails.
    """
    if self_test:
        with quiet_end():
            tested(as_json)
        return
    groups = HostSources(Configuration()).groups
    found = [_examined(group.kind, source) for group in groups for source in group.candidates]
    used = _used(found)
    baseline = stored_summary()
    with quiet_end():
        if as_json:
            host = identify().host
            told = {"version": __version__, "host": host, "used": used, "sources": found, "baseline": baseline}
            print(json.dumps(told, indent=2))
        else:
            _show(found, used, baseline)
    if used.get("process") != found[0]["source"] or any(group.kind not in used for group in groups):
        raise typer.Exit(1)


def _used(found: list[dict[str, Any]]) -> dict[str, str]:
    """Return for each kind of telemetry the source that would tell of it."""
    used: dict[str, str] = {}
    for report in found:
        if report["works"] and report["kind"] not in used:
            used |= {kind: report["source"] for kind in report["provides"] if kind not in used}
    return used


def _examined(kind: Kind, source: Source) -> dict[str, Any]:
    """Open and close a source; only an open one knows what it gives here, and what it can't see."""
    trouble: dict[str, str] = {}
    try:
        source.open()
    except SourceUnavailable as refusal:
        trouble = {"reason": refusal.reason, "remedy": refusal.remedy}
    finally:
        blind_spots, provides = list(source.blind_spots), sorted(source.provides)
        source.close()
    return {
        "kind": kind,
        "source": source.name,
        "provides": provides,
        "works": not trouble,
        "blind_spots": blind_spots,
        **trouble,
    }


def _show(found: list[dict[str, Any]], used: dict[str, str], baseline: str) -> None:
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(Text(f"Shield {__version__} on {printable(identify().host)}"))
    for report in found:
        works = report["works"]
        state = _purpose(report, used) if works else "can't be used"
        console.print(Text.assemble("\n", (f"{report['source']:<12}", "bold"), (state, _GOOD if works else _BAD)))
        if not works:
            console.print(Text(printable(f"  why      {report['reason']}")))
            console.print(Text(printable(f"  to mend  {report['remedy']}")))
        for blind_spot in report["blind_spots"]:
            console.print(Text(printable(f"  not seen {blind_spot}")))
    console.print(Text.assemble("\n", ("baseline    ", "bold"), printable(baseline)))


def _purpose(report: dict[str, Any], used: dict[str, str]) -> str:
    kinds = [kind for kind in report["provides"] if used.get(kind) == report["source"]]
    return f"used for {', '.join(kinds)}" if kinds else "works, not needed"
