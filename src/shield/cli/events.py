"""`shield events`: what was written, one line an event, chosen by verdict, time, process, rule, story or text."""

import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import typer
from rich.text import Text

from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.event import Action, Category, Event
from shield.exporter import wording
from shield.exporter.cards import CATEGORY_STYLES, VERDICT_STYLES
from shield.exporter.history import Damage, Entry, Filter, entries, follow
from shield.exporter.jsonl import default_path
from shield.exporter.wording import fit, glyphs_of, when
from shield.text import decode

T = TypeVar("T")

_AGO = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SECOND_NS = 1_000_000_000
_ACTIONS: tuple[Action, ...] = get_args(Action)
_CATEGORIES: tuple[Category, ...] = get_args(Category)
_DAMAGES_SHOWN = 5
_UNCUT = 2000
_NARROW = 110
_ID_SHOWN = 18


def events(
    file: Annotated[Path | None, typer.Option(help="The events file; the files rotated away from it too.")] = None,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events as they come.")] = False,
    action: Annotated[list[str] | None, typer.Option(help="Only ALERT, WATCH or ALLOW; repeatable.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Only this, such as process_start; repeatable.")] = None,
    min_score: Annotated[int, typer.Option(min=0, max=100, help="Only this score and above.")] = 0,
    since: Annotated[str, typer.Option(metavar="TIME", help="From: 30s, 10m, 2h, 7d ago, or ISO 8601 (UTC).")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Before; written like --since.")] = "",
    pid: Annotated[int | None, typer.Option(help="Only of the process with this id.")] = None,
    rule: Annotated[str, typer.Option(metavar="NAME|ID", help="Only where this rule matched.")] = "",
    story: Annotated[str, typer.Option(metavar="ID", help="Only of the story with this id or beginning.")] = "",
    grep: Annotated[str, typer.Option(metavar="TEXT", help="Only where a value contains this, in any case.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they were written.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the last N; with --follow, to begin with.")] = None,
) -> None:
    """Show the events that were written, the oldest first; with --follow, those that come."""
    now_ns = time.time_ns()
    chosen = Filter(
        actions=frozenset(_one_of("--action", each.upper(), _ACTIONS) for each in action or ()),
        categories=frozenset(_one_of("--category", each.lower(), _CATEGORIES) for each in category or ()),
        minimum_score=min_score,
        since_ns=_time_ns("--since", since, now_ns),
        until_ns=_time_ns("--until", until, now_ns),
        correlation_id=story,
        text=decode(os.fsencode(grep)),
        pid=pid,
        rule=rule,
    )
    path = file or default_path()
    damages = Damages()
    show = print_json if as_json else _Lines().show
    with reading(path), quiet_end():
        if following:
            from_start = bool(since or limit)
            _follow(follow(path, damages, from_start=from_start), chosen, show, limit)
        else:
            wanted = (entry for entry in entries(path, damages) if chosen.matches(entry.event))
            for entry in wanted if limit is None else deque(wanted, limit):
                show(entry)
    damages.tell()


class Damages:
    """Tells of lines that aren't events on stderr, the first few one by one, the rest as a number."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, damage: Damage) -> None:
        """Count `damage` and tell of it while there were few."""
        self._count += 1
        if self._count <= _DAMAGES_SHOWN:
            told = f"shield: {damage.file}:{damage.line}: not an event, skipped: {damage.reason}"
            print(fit(told, _UNCUT, wording.ASCII), file=sys.stderr)

    def tell(self) -> None:
        """Tell how many there were besides those told of."""
        if self._count > _DAMAGES_SHOWN:
            print(f"shield: {self._count - _DAMAGES_SHOWN:,} more lines were not events", file=sys.stderr)


@contextmanager
def reading(path: Path) -> Generator[None, None, None]:
    """Turn what goes wrong in opening `path` into a refusal that says what to do."""
    try:
        yield
    except FileNotFoundError:
        fail(f"{path}: no events there; start the agent with `shield run`, or name a file with --file")
    except PermissionError as error:
        fail(f"{error.filename}: permission denied; run as root or as a member of the file's group", 3)
    except OSError as error:
        fail(f"{path}: {error.strerror}; name a file of events with --file")


def print_json(entry: Entry) -> None:
    """Print the line `entry` was read from: its bytes; on a terminal, what could do harm there as JSON escapes."""
    raw = wording.harmless_json(entry.raw) if sys.stdout.isatty() else entry.raw
    sys.stdout.buffer.write(raw + b"\n")


class _Lines:
    """Prints events one a line: cut to the terminal's width, or in full into a file or pipe."""

    def __init__(self) -> None:
        self._console = OutputConsole()
        self._glyphs = glyphs_of(self._console)

    def show(self, entry: Entry) -> None:
        """Print one event."""
        if self._console.is_terminal:
            text = self._line(entry.event, self._console.width)
            self._console.print(text, soft_wrap=True, highlight=False)
        else:
            print(self._line(entry.event, 0).plain)

    def _line(self, event: Event, width: int) -> Text:
        """Lay the line out for `width` cells, 0 for no limit."""
        clock, narrow = when(event.ts_ns), 0 < width < _NARROW
        style = CATEGORY_STYLES.get(event.category)
        label = event.category.upper() if style else event.action
        text = Text(no_wrap=True, end="\n")
        text.append(f"{clock[5:-1].replace('T', ' ') if width else clock} ", "dim")
        text.append(f"{label:<6} {event.score:>3}", style or VERDICT_STYLES[event.action])
        text.append(f" {event.event_id[:_ID_SHOWN] if width else event.event_id} ", "cyan")
        if not narrow:
            text.append(f"{fit(_user(event), 10, self._glyphs):<10} ")
        told = "  ".join(filter(None, (_why(event, in_full=not width), _told(event))))
        text.append(fit(told, max(10, width - text.cell_len) if width else _UNCUT, self._glyphs))
        return text


def _user(event: Event) -> str:
    user = event.data.user
    if not user:
        return "-"
    return user.name or ("-" if user.id is None else str(user.id))


def _why(event: Event, in_full: bool) -> str:
    """Return the rationale, or its weightiest signal and how many there are besides."""
    ranked = wording.reasons(event)
    if not ranked or in_full:
        return event.rationale if ranked else ""
    return ranked[0].name + (f" +{len(ranked) - 1}" if len(ranked) > 1 else "")


def _told(event: Event) -> str:
    process = event.data.process
    if process and event.category == "process_start":
        return process.cmdline or wording.image(process)
    return wording.told(event)


def _follow(stream: Iterable[Entry | None], chosen: Filter, show: Callable[[Entry], None], limit: int | None) -> None:
    """Show the last `limit` of what is there, if any is asked for, then everything new."""
    held = deque[Entry](maxlen=limit) if limit else None
    for entry in stream:
        if entry is None:
            for each in held or ():
                show(each)
            held = None
            sys.stdout.flush()
        elif not chosen.matches(entry.event):
            continue
        elif held is None:
            show(entry)
        else:
            held.append(entry)


def _one_of(option: str, value: str, known: tuple[T, ...]) -> T:
    found = [each for each in known if each == value]
    if not found:
        fail(f"{option} {value}: no such value; write one of {', '.join(map(str, known))}")
    return found[0]


def _time_ns(option: str, value: str, now_ns: int) -> int | None:
    """Return the Unix nanoseconds of `10m` ago or of an ISO 8601 time, in UTC where it names no zone."""
    if not value:
        return None
    ago = _AGO.fullmatch(value)
    if ago:
        return now_ns - int(ago[1]) * _UNIT_SECONDS[ago[2]] * _SECOND_NS
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        fail(f"{option} {value}: not a time; write 30s, 10m, 2h or 7d for so long ago, or 2026-01-31T14:03:22Z")
    utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(utc.timestamp()) * _SECOND_NS + utc.microsecond * 1000
