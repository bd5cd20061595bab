"""A story as a tree: its processes by ancestry, and under each what it did, with the time since the story began."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from shield.event import Ancestor, Event, Process
from shield.exporter import wording
from shield.exporter.cards import CATEGORY_STYLES, VERDICT_STYLES
from shield.exporter.wording import Glyphs, fit, glyphs_of

_OFFSET = 12
_VERDICT = 9
_DEEPEST = 10
_QUIET_SHOWN = 8
_LEAST = 20
_UNCUT = 400
_SECOND_NS = 1_000_000_000

OPENED, UPDATED = "alert opened", "alert updated"


class Branch:
    """One process of a story, in the order of its `events`; of one that is only known as an ancestor there are none."""

    def __init__(self, key: str, told: Process | Ancestor) -> None:
        self.key = key
        self.told = told
        self.parent: Branch | None = None
        self.children: list[Branch] = []
        self.events: list[Event] = []

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was found here or below: such branches may be left out where there are many."""
        return not self.children and all(map(_is_quiet, self.events))

    def is_below(self, other: "Branch") -> bool:
        """Return whether this is `other`, or comes from it."""
        above: Branch | None = self
        while above is not None:
            if above is other:
                return True
            above = above.parent
        return False


class Story(Struct, frozen=True):
    """All events of one story, the oldest first, and its processes as trees; `others` are about no process."""

    correlation_id: str
    events: tuple[Event, ...]
    roots: tuple[Branch, ...]
    origin: tuple[Ancestor | Process, ...]
    others: tuple[Event, ...]

    @property
    def begin_ns(self) -> int:
        """When its first event happened."""
        return self.events[0].ts_ns

    def branches(self) -> Iterator[Branch]:
        """Yield every process, each before those that come from it."""
        waiting = list(reversed(self.roots))
        while waiting:
            branch = waiting.pop()
            yield branch
            waiting.extend(reversed(branch.children))


def story(events: Iterable[Event]) -> Story:
    """Return the story that `events`, at least one, all of the same correlation_id, tell."""
    ordered = sorted(events, key=lambda event: (event.ts_ns, event.seq))
    known: dict[str, Branch] = {}
    others: list[Event] = []
    for event in ordered:
        process = event.data.process
        if process is None:
            others.append(event)
            continue
        branch = known.setdefault(_key(process), Branch(_key(process), process))
        if isinstance(branch.told, Ancestor) or event.category == "process_start":
            branch.told = process
        branch.events.append(event)
        _hang(branch, wording.lineage(event)[::-1], known)
    roots = [branch for branch in known.values() if branch.parent is None]
    roots, origin = _pruned(roots)
    return Story(ordered[0].correlation_id, tuple(ordered), tuple(roots), tuple(origin), tuple(others))


def mark(event: Event) -> str:
    """Return what an event did to its alert: opened or updated it; `""` where it has none."""
    if not event.alert_id:
        return ""
    return OPENED if event.alert_id == event.event_id else UPDATED


def document(told: Story) -> dict[str, Any]:
    """Return a story as plain data; `parent` is the `id` of another process, null for the topmost."""
    return {
        "correlation_id": told.correlation_id,
        "host": told.events[0].host,
        "begin_ns": told.begin_ns,
        "end_ns": told.events[-1].ts_ns,
        "origin": [{"pid": one.pid, "exe": one.exe, "cmdline": one.cmdline} for one in told.origin],
        "processes": [
            {
                "id": branch.key,
                "parent": branch.parent.key if branch.parent else None,
                "pid": branch.told.pid,
                "exe": branch.told.exe,
                "cmdline": branch.told.cmdline,
                "events": [_plain(event, told.begin_ns) for event in branch.events],
            }
            for branch in told.branches()
        ],
        "others": [_plain(event, told.begin_ns) for event in told.others],
    }


def _plain(event: Event, begin_ns: int) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "offset_ns": event.ts_ns - begin_ns,
        "category": event.category,
        "action": event.action,
        "score": event.score,
        "what": wording.what(event),
        "signals": [{"rule_id": one.rule_id, "name": one.name, "points": one.points} for one in event.signals],
        "alert": mark(event),
        "alert_id": event.alert_id,
    }


def _key(process: Process | Ancestor) -> str:
    return process.entity_id or f"pid {process.pid}"


def _hang(branch: Branch, above: Sequence[Ancestor], known: dict[str, Branch]) -> None:
    """Hang a process below its ancestors, the parent first; what hangs already stays where it is."""
    for ancestor in above:
        if branch.parent is not None:
            return
        key = _key(ancestor)
        parent = known.setdefault(key, Branch(key, ancestor))
        if parent.is_below(branch):  # the records contradict each other
            return
        branch.parent = parent
        parent.children.append(branch)
        branch = parent


def _pruned(roots: list[Branch]) -> tuple[list[Branch], list[Ancestor | Process]]:
    """Return the trees without the ancestors on top of a single one that did nothing, and those."""
    origin: list[Ancestor | Process] = []
    while len(roots) == 1 and not roots[0].events and len(roots[0].children) == 1:
        origin.append(roots[0].told)
        roots = roots[0].children
        roots[0].parent = None
    return roots, origin


class Timeline:
    """What is drawn of a story; with `everything`, what nothing was found in, too."""

    def __init__(self, told: Story, *, everything: bool = False) -> None:
        self._story = told
        self._everything = everything

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines for `console`, each as wide as that at most."""
        width = options.max_width if console.is_terminal else _UNCUT
        page = _Page(self._story, width, glyphs_of(console))
        page.heading()
        page.events(self._story.others, "", self._everything)
        page.trees(self._story.roots, self._everything)
        yield page.text


class _Guides(Struct, frozen=True):
    """The lines of a tree."""

    through: str
    child: str
    last: str


_LINES = _Guides(through="│  ", child="├─ ", last="└─ ")
_PLAIN_LINES = _Guides(through="|  ", child="|- ", last="`- ")


class _Page:
    """The lines of a timeline: when, what came of it, and the tree."""

    def __init__(self, told: Story, width: int, glyphs: Glyphs) -> None:
        self.text = Text(no_wrap=True, end="\n")
        self._story = told
        self._width = width
        self._glyphs = glyphs
        self._guides = _LINES if glyphs is wording.UNICODE else _PLAIN_LINES

    def heading(self) -> None:
        """Begin with what the story is, how long it took and where it came from."""
        told = self._story
        took = wording.duration((told.events[-1].ts_ns - told.begin_ns) / _SECOND_NS)
        alerts = len({event.alert_id for event in told.events if event.alert_id})
        highest = max(event.score for event in told.events)
        counts = f"{len(told.events):,} events in {took}, {alerts} alert{'s' * (alerts != 1)}, highest score {highest}"
        self.text.append(
            fit(f"story {told.correlation_id} on {told.events[0].host}", self._width, self._glyphs), "bold"
        )
        self._line(f"{wording.when(told.begin_ns)}  {counts}")
        if told.origin:
            names = [(one.exe.rpartition("/")[2] or one.name or f"pid {one.pid}") for one in told.origin]
            shown = wording.joined(names, self._glyphs.arrow, self._width - 6, self._glyphs)
            self._line(f"from {shown}")

    def trees(self, roots: Sequence[Branch], everything: bool) -> None:
        """Add the processes, each with what it did, and those that come from it."""
        waiting = [(branch, guides, is_last) for branch, guides, is_last in self._rows(roots, "", everything, True)]
        while waiting:
            branch, guides, is_last = waiting.pop()
            if isinstance(branch, int):
                text = f"{self._glyphs.ellipsis} and {branch:,} more without findings"
                self._row("", "", "", guides + self._guides.last, text, "dim")
                continue
            is_root = branch.parent is None
            own = "" if is_root else guides + (self._guides.last if is_last else self._guides.child)
            below = "" if is_root else guides + ("   " if is_last else self._guides.through)
            self._process(branch, own, below + (self._guides.through if branch.children else "   "), everything)
            waiting.extend(self._rows(branch.children, below, everything, False))

    def events(self, events: Sequence[Event], guides: str, everything: bool) -> None:
        """Add what was done, one a row; of those without findings the first few, and how many there are."""
        quiet = [event for event in events if _is_quiet(event)]
        hidden = set(map(id, quiet[_QUIET_SHOWN:])) if not everything else set[int]()
        for event in events:
            if id(event) not in hidden:
                self._row(self._offset(event), _verdict(event), _style(event), guides, wording.what(event), "", event)
        if hidden:
            self._row(
                "", "", "", guides, f"{self._glyphs.ellipsis} and {len(hidden):,} more events without findings", "dim"
            )

    def _rows(
        self, branches: Sequence[Branch], guides: str, everything: bool, are_roots: bool
    ) -> list[tuple[Branch | int, str, bool]]:
        """Return what is drawn below each other, the last first; a number stands for so many quiet ones."""
        quiet = [branch for branch in branches if branch.is_quiet]
        hidden = set(map(id, quiet[_QUIET_SHOWN:])) if not everything and not are_roots else set[int]()
        shown: list[Branch | int] = [branch for branch in branches if id(branch) not in hidden]
        if hidden:
            shown.append(len(hidden))
        return [(branch, guides, branch is shown[-1]) for branch in reversed(shown)]

    def _process(self, branch: Branch, own: str, below: str, everything: bool) -> None:
        """Add a process: its first line is its start, or where that was not seen what is known of it."""
        told = branch.told
        text = f"{told.cmdline or told.exe or told.name or 'unknown program'}  (pid {told.pid}{_end(branch)})"
        events = [event for event in branch.events if not _is_plain_end(event)]
        first = events[0] if events and events[0].category == "process_start" else None
        if first is None:
            self._row("", "", "dim", own, text, "dim")
        else:
            self._row(self._offset(first), _verdict(first), _style(first), own, text, "", first)
        self.events(events[first is not None :], below, everything)

    def _offset(self, event: Event) -> str:
        return f"+{_since((event.ts_ns - self._story.begin_ns) / _SECOND_NS)}"

    def _row(
        self, offset: str, verdict: str, style: str, guides: str, text: str, text_style: str, event: Event | None = None
    ) -> None:
        self.text.append(f"\n{offset:>{_OFFSET}} ", "dim")
        self.text.append(f"{verdict:<{_VERDICT}}", style)
        lines = self._shortened(guides)
        self.text.append(f" {lines}", "dim")
        room = max(_LEAST, self._width - _OFFSET - _VERDICT - 2 - len(lines))
        notes = fit(_notes(event), room // 2, self._glyphs) if event else ""
        self.text.append(fit(text, max(1, room - len(notes)), self._glyphs), text_style)
        self.text.append(notes, "bold" if event and mark(event) else "yellow")

    def _shortened(self, guides: str) -> str:
        """Return the lines of a deep branch without those of its oldest ancestors, so that there is room for text."""
        most = 3 * min(_DEEPEST, max(1, (self._width - _OFFSET - _VERDICT - _LEAST) // 6))
        return guides if len(guides) <= most else self._glyphs.ellipsis + guides[-most:]

    def _line(self, text: str) -> None:
        self.text.append("\n" + fit(text, self._width, self._glyphs), "dim")


def _notes(event: Event) -> str:
    """Return the signals of an event and what it did to its alert."""
    signals = ", ".join(f"+{signal.points} {signal.name}" for signal in event.signals)
    return "".join(f"  [{note}]" for note in (mark(event), signals) if note)


def _verdict(event: Event) -> str:
    return event.category.upper() if event.category in CATEGORY_STYLES else f"{event.action} {event.score}"


def _style(event: Event) -> str:
    return CATEGORY_STYLES.get(event.category) or VERDICT_STYLES[event.action]


def _is_quiet(event: Event) -> bool:
    return event.action == "ALLOW" and not event.signals and event.category not in CATEGORY_STYLES


def _is_plain_end(event: Event) -> bool:
    return event.category == "process_exit" and _is_quiet(event)


def _end(branch: Branch) -> str:
    """Return how a process ended, where that was seen."""
    ends = [event.data.process for event in branch.events if event.category == "process_exit" and event.data.process]
    if not ends:
        return ""
    lifetime, code = ends[-1].lifetime_ns, ends[-1].exit_code
    after = f" after {wording.duration(lifetime / 1e9)}" if lifetime is not None else ""
    return f", ended{after}" + (f" with {code}" if code else "")


def _since(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds < 60 else wording.duration(seconds)
