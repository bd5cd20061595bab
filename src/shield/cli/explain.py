"""`shield explain`: why an event got its verdict."""

from pathlib import Path
from typing import Annotated

import typer

from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.events import Damages, print_json, reading
from shield.exporter.explanation import explain as story
from shield.exporter.history import Entry, find
from shield.exporter.jsonl import default_path
from shield.exporter.wording import when

_CANDIDATES = 10


def explain(
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event's id, or the beginning of it.")],
    file: Annotated[Path | None, typer.Option(help="The events file; the files rotated away from it too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the event as it was written.")] = False,
) -> None:
    """Tell the whole story of one event: every reason, its points, and what it was found in."""
    path = file or default_path()
    entry = _only(path, event_id)
    with quiet_end():
        if as_json:
            print_json(entry)
        else:
            OutputConsole().print(story(entry.event), soft_wrap=True, highlight=False)


def _only(path: Path, event_id: str) -> Entry:
    damages = Damages()
    found: dict[str, Entry] = {}
    with reading(path):
        try:
            for entry in find(path, event_id, damages):
                found.setdefault(entry.event.event_id, entry)
        except ValueError as error:
            fail(f"{event_id}: {error}")
    damages.tell()
    if not found:
        fail(f"no event in {path} has an id that begins with {event_id}; `shield events` lists them", 1)
    if len(found) > 1:
        fail(f"{len(found)} events have an id that begins with {event_id}; give more of it", 1, _listed(found))
    return next(iter(found.values()))


def _listed(found: dict[str, Entry]) -> list[str]:
    events = [entry.event for entry in found.values()]
    lines = [f"{each.event_id}  {when(each.ts_ns)}  {each.action}  {each.rationale}" for each in events[:_CANDIDATES]]
    return [*lines, f"and {len(events) - _CANDIDATES} more"] if len(events) > _CANDIDATES else lines
