"""One event for a terminal: a card for what a person must look at, a line for everything else.

A card answers, in this order: what happened, who did it, where it came from, why it matters, what to do next. Every
line is cut to the width it is given; nothing wraps but the advice.
"""

import textwrap
from collections.abc import Sequence

from rich.text import Text

from shield.event import Event, Signal
from shield.exporter import wording
from shield.exporter.telling.sentence import sentence
from shield.exporter.wording import Glyphs, fit, matched, reasons

WIDTH = 100
_LEFT = 9
_SIGNALS = 4
_NAME_WIDTH = 34
_EVIDENCE_WIDTH = 24
_ADVICE_LINES = 3
_UPDATE_LEAST = 40

VERDICT_STYLES = {"ALERT": "bold white on red", "WATCH": "bold black on yellow", "ALLOW": "dim"}
CATEGORY_STYLES = {"loss": "bold black on yellow", "tamper": "bold white on magenta"}


def card(event: Event, advice: str, width: int, glyphs: Glyphs) -> Text:
    """Return the card of an event: at most 17 lines, `width` cells wide, `advice` being what to do next."""
    page = _Page(width, glyphs)
    page.heading(event)
    page.what(event)
    page.line("by", wording.doer(event))
    process = event.data.process
    if process and process.cmdline not in ("", process.exe):
        page.line("cmd", process.cmdline, "bold")
    page.line("who", wording.who(event))
    page.chain(event)
    page.line("parent", wording.parent_command(event))
    page.signals(event)
    if not event.evidence_complete:
        page.line("gaps", "; ".join(event.gaps) or "the evidence is incomplete", "yellow")
    page.advice(advice)
    page.pointer(event)
    return page.text


def line(event: Event, width: int, glyphs: Glyphs) -> Text:
    """Return an event on one line: time, verdict or category, what, and why."""
    text = Text(no_wrap=True, end="")
    text.append(wording.when(event.ts_ns)[11:] + " ", "dim")
    style = CATEGORY_STYLES.get(event.category)
    label = event.category.upper() if style or event.category == "heartbeat" else f"{event.action} {event.score}"
    text.append(f"{label:<9}", style or VERDICT_STYLES[event.action])
    told = f"{event.rationale}: {wording.told(event)}" if event.signals or event.story else wording.told(event)
    text.append(" " + fit(told, max(1, width - text.cell_len - 1), glyphs))
    return text


def update(event: Event, start_ns: int, new: Sequence[Signal], width: int, glyphs: Glyphs) -> Text:
    """Return on one line what an event adds to the alert begun at `start_ns`: its `new` signals, and its score."""
    text = Text(no_wrap=True, end="")
    text.append(wording.when(event.ts_ns)[11:] + " ", "dim")
    text.append(f"{event.action} {event.score:<3}", VERDICT_STYLES[event.action])
    added = ", ".join(f"+{signal.points} {signal.name}" for signal in new) or event.rationale
    begin = f" updated {wording.when(start_ns)[11:19]} alert: "
    pointer = (
        f"  id {event.event_id}" if width - text.cell_len - len(begin) - len(event.event_id) >= _UPDATE_LEAST else ""
    )
    told = f"{added}: {wording.told(event)}"
    text.append(begin)
    text.append(fit(told, max(1, width - text.cell_len - len(pointer) - 1), glyphs), "bold")
    text.append(fit(pointer, len(pointer), glyphs), "cyan")
    return text


class _Page:
    """The lines of a card, labels on the left."""

    def __init__(self, width: int, glyphs: Glyphs) -> None:
        self.text = Text(no_wrap=True, end="")
        self._width = width
        self._glyphs = glyphs

    def heading(self, event: Event) -> None:
        """Add the verdict on the left, the time on the right, the rationale between."""
        verdict, clock = f" {event.action} {event.score} ", wording.when(event.ts_ns)[11:]
        room = max(1, self._width - len(verdict) - len(clock) - 4)
        rationale = fit(event.rationale, room, self._glyphs)
        self.text.append(verdict, VERDICT_STYLES[event.action])
        self.text.append(f"  {rationale}", "bold")
        self.text.append(" " * max(2, self._width - self.text.cell_len - len(clock)) + clock, "dim")

    def line(self, label: str, value: str, style: str = "") -> None:
        """Add a labelled line; nothing where there is no value."""
        if value:
            self.text.append(f"\n  {label:<{_LEFT - 2}}", "dim")
            self.text.append(fit(value, self._width - _LEFT, self._glyphs), style)

    def what(self, event: Event) -> None:
        """Add what happened; a sentence that is too long for one line goes on in a second."""
        told, width = wording.what(event), self._width - _LEFT
        first, rest = wording.halved(told, width, self._glyphs) if sentence(event) else (told, "")
        self.line("what", first)
        self.line("", rest)

    def chain(self, event: Event) -> None:
        """Add the ancestors, oldest first, the process itself last."""
        names = [wording.ancestor_name(ancestor) for ancestor in wording.lineage(event)]
        process = event.data.process
        if names and process:
            shown = wording.joined(
                [*names, wording.process_name(process)], self._glyphs.arrow, self._width - _LEFT, self._glyphs
            )
            self.line("from", shown)

    def signals(self, event: Event) -> None:
        """Add the weightiest signals, one a line, and how many there are besides."""
        ranked = reasons(event)
        shown = ranked if len(ranked) <= _SIGNALS else ranked[: _SIGNALS - 1]
        widest = min(_NAME_WIDTH, max((len(signal.name) for signal in shown), default=0))
        for index, signal in enumerate(shown):
            self.line("" if index else "why", self._signal(signal, widest))
        if len(shown) < len(ranked):
            rest = ranked[len(shown) :]
            points = sum(signal.points for signal in rest)
            self.line("", f"+{points:<3} from {len(rest)} more signals", "dim")

    def advice(self, advice: str) -> None:
        """Add what to do next, wrapped."""
        wrapped = textwrap.wrap(advice, self._width - _LEFT, max_lines=_ADVICE_LINES, placeholder=" ...")
        for index, part in enumerate(wrapped):
            self.line("" if index else "next", part, "green")

    def pointer(self, event: Event) -> None:
        """Add the command that tells more, and the story's id where there is room."""
        command, story = f"shield explain {event.event_id}", f"   story {event.correlation_id}"
        fits = event.correlation_id and len(command + story) <= self._width - _LEFT
        self.line("id", command + story if fits else command, "cyan")

    def _signal(self, signal: Signal, widest: int) -> str:
        name = fit(signal.name, widest, self._glyphs)
        beginning = f"+{signal.points:<3} {name:<{widest}}  "
        told = matched(signal)
        room = self._width - _LEFT - len(beginning)
        notes = ""
        for note in ("(earlier)" if signal.event_id else "", *signal.attack):
            if note and room - len(notes) - len(note) - 2 >= min(len(told), _EVIDENCE_WIDTH):
                notes += f"  {note}"
        return beginning + fit(told, max(1, room - len(notes)), self._glyphs) + notes
