"""`shield timeline`: a story as a tree of processes, in the order it happened."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.events import Damages, reading
from shield.event import Event
from shield.exporter.history import holding
from shield.exporter.jsonl import default_path
from shield.exporter.timeline import Timeline, document, story
from shield.exporter.wording import as_json, when

_CANDIDATES = 10
_EVENTS_MOST = 200_000


def timeline(
    story_id: Annotated[
        str, typer.Argument(metavar="CORRELATION_ID", help="A story's id, an event's, or the beginning of one.")
    ],
    file: Annotated[
        Path | None, typer.Option("--events", "--file", help="The events file; the files rotated away from it too.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Draw all processes, also where nothing was found.")
    ] = False,
    to_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw a story as a tree: its processes, what each did and when, the signals, and the alerts it led to."""
    path = file or default_path()
    damages = Damages()
    with reading(path):
        events = _of_story(path, story_id, damages)
    damages.tell()
    told = story(events)
    with quiet_end():
        if to_json:
            print(as_json(document(told)))
        else:
            OutputConsole().print(Timeline(told, everything=everything), soft_wrap=True, highlight=False)


def _of_story(path: Path, wanted: str, damages: Damages) -> list[Event]:
    """Return the events of the one story that `wanted` names; where there is none, or several, the command ends."""
    if not wanted:
        fail("a story's id is empty; `shield events` shows them")
    found: dict[str, list[Event]] = {}
    named: dict[str, Event] = {}
    for entry in holding(path, wanted, damages):
        event = entry.event
        if event.correlation_id.startswith(wanted):
            found.setdefault(event.correlation_id, []).append(event)
        elif event.event_id.startswith(wanted):
            named[event.event_id] = event
    if not found and named:
        return _of_event(path, wanted, named)
    if wanted in found:
        return _bounded(found[wanted])
    if not found:
        fail(f"no story in {path} has an id that begins with {wanted}, and no event; `shield events` lists them", 1)
    if len(found) > 1:
        listed = [_listed(events) for events in found.values()]
        fail(f"{len(found)} stories have an id that begins with {wanted}; give more of it", 1, _first(listed))
    return _bounded(next(iter(found.values())))


def _of_event(path: Path, wanted: str, named: dict[str, Event]) -> list[Event]:
    stories = {event.correlation_id for event in named.values()}
    if len(stories) > 1:
        listed = [f"{event.event_id}  {when(event.ts_ns)}  {event.rationale}" for event in named.values()]
        fail(
            f"events of {len(stories)} stories have an id that begins with {wanted}; give more of it", 1, _first(listed)
        )
    (one,) = stories
    if not one:
        return list(named.values())
    entries = holding(path, one)
    return _bounded([entry.event for entry in entries if entry.event.correlation_id == one])


def _bounded(events: list[Event]) -> list[Event]:
    """Return the events, each once; a story that is too long to draw ends the command."""
    once = {event.event_id or str(number): event for number, event in enumerate(events)}
    if len(once) > _EVENTS_MOST:
        fail(f"the story has {len(once):,} events, which is too much to draw; use `shield events` with --story")
    return list(once.values())


def _listed(events: list[Event]) -> str:
    return f"{events[0].correlation_id}  {when(events[0].ts_ns)}  {len(events):,} events"


def _first(lines: list[str]) -> Iterable[str]:
    more = len(lines) - _CANDIDATES
    return [*lines[:_CANDIDATES], f"and {more} more"] if more > 0 else lines
