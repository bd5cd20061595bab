"""The whole story of one event: every reason with its arithmetic, everything known about who, what and where from."""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from rich.cells import chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from shield.event import Ancestor, Event, Process, Signal
from shield.exporter import wording
from shield.exporter.cards import CATEGORY_STYLES, VERDICT_STYLES
from shield.exporter.particulars import Particular, of, parts
from shield.exporter.wording import Glyphs, fit, glyphs_of, reasons

_VALUE_LIMIT = 4000
_HOST_WIDTH = 40
_LABEL = 11
_WIDE_LABEL = 20
_ENTRY = 7
_DEEPEST = 24
_SUMMANDS = 12
_CONTAINER = {
    "container": "id",
    "cgroup": "cgroup",
    "runtime": "runtime",
    "pod": "pod",
    "namespace": "pod_namespace",
    "pod uid": "pod_id",
}
_DIFFERENCE_MOST = 200
_DIFFERENCE_INDENT = 4
_DIFFERENCE_STYLES = {"+": "green", "-": "red", "@": "cyan"}


class Worth(Struct, frozen=True):
    """What the policy at hand says: its label, its thresholds, and by rule id where the points are from.

    `from_where` has for each rule a few words: `its own`, `level high`, `weights.NAME`.
    """

    label: str
    watch: int
    alert: int
    from_where: Mapping[str, str] = {}


def explain(event: Event, worth: Worth | None = None) -> "Explanation":
    """Return the full story of `event` for a rich console; values over 4,000 characters lose their middle.

    `worth` is what the policy at hand says; it is told only as far as it is the policy that decided.
    """
    return Explanation(event, worth)


class Explanation:
    """What `explain` returns: on a terminal, long values go on below themselves; in a file, a value stays on its line.

    Print it with `soft_wrap=True`.
    """

    def __init__(self, event: Event, worth: Worth | None = None) -> None:
        self._event = event
        self._worth = worth

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines for `console`."""
        writer = _Writer(options.max_width if console.is_terminal else 0, glyphs_of(console))
        event = self._event
        _verdict(writer, event)
        _reasons(writer, event, self._worth)
        _happening(writer, event)
        _particulars(writer, event)
        _ancestry(writer, event)
        _record(writer, event)
        yield writer.text


def _verdict(writer: "_Writer", event: Event) -> None:
    style = CATEGORY_STYLES.get(event.category) or VERDICT_STYLES[event.action]
    writer.heading(f" {event.action} {event.score} ", style)
    writer.text.append(f"  {wording.when(event.ts_ns)}  ")
    writer.text.append(fit(event.host, _HOST_WIDTH, writer.glyphs), "bold")
    writer.value("severity", event.severity)
    writer.value("category", event.category)


def _reasons(writer: "_Writer", event: Event, worth: Worth | None) -> None:
    """Every signal with its points, their running sum, and the verdict they led to."""
    ranked = reasons(event)
    writer.section("Why")
    total = 0
    decided = worth if worth and worth.label == event.policy_version else None
    for signal in ranked:
        total += signal.points
        _reason(writer, event, signal, total, decided.from_where.get(signal.rule_id, "") if decided else "")
    writer.value("sum", _sum(event, ranked, total))
    writer.value("verdict", _arithmetic(event, total, len(ranked), decided))
    writer.value("policy", event.policy_version)
    if worth and not decided:
        writer.value("", f"not the one at hand, {worth.label}: its thresholds and weights are not known here", "dim")
    if not event.evidence_complete:
        writer.value("gaps", "; ".join(event.gaps) or "the evidence is incomplete", "yellow")


def _reason(writer: "_Writer", event: Event, signal: Signal, total: int, from_where: str) -> None:
    writer.entry(f"+{signal.points:<3}", f"{signal.name}  (sum {total})")
    within = writer.within_entry
    within("title", signal.title)
    within("points", from_where)
    within("left", _left(event, signal))
    within("rule", signal.rule_id)
    within("level", signal.level)
    within("technique", ", ".join(signal.attack))
    within("field", signal.field)
    within("value", signal.value, "bold")
    within("pattern", signal.pattern)
    for evidence in signal.further:
        within("and field", evidence.field)
        within("value", evidence.value, "bold")
        within("pattern", evidence.pattern)
    within("seen on", f"the earlier event {signal.event_id}" if signal.event_id else "")


def _left(event: Event, signal: Signal) -> str:
    """Return what time has left of an earlier signal's points: `40 of 60 points left after 3 min 20 s`."""
    if not signal.event_id:
        return ""
    full = signal.full_points or signal.points
    seen_ns = wording.made_ns(signal.event_id)
    after = f" after {wording.duration((event.ts_ns - seen_ns) / 1e9)}" if seen_ns and seen_ns <= event.ts_ns else ""
    return f"{signal.points} of {full} points left{after}"


def _sum(event: Event, ranked: list[Signal], total: int) -> str:
    """Return the sum as people write it: `60 + 40 + 20 = 120, capped at 100`."""
    if len(ranked) < 2 and total == event.score:
        return ""
    shown = [str(signal.points) for signal in ranked[:_SUMMANDS]]
    rest = sum(signal.points for signal in ranked[_SUMMANDS:])
    if len(ranked) > _SUMMANDS:
        shown.append(f"{rest} from {len(ranked) - _SUMMANDS} more")
    return f"{' + '.join(shown)} = {total}" + (", capped at 100" if total > event.score == 100 else "")


def _arithmetic(event: Event, total: int, signals: int, worth: Worth | None) -> str:
    asked = f" (WATCH from {worth.watch}, ALERT from {worth.alert})" if worth else ""
    if not signals:
        return f"no signal, score {event.score}: {event.action}{asked}"
    counted = f"{signals} signal{'s' * (signals != 1)}, sum {total}"
    capped = ", capped" if total > event.score == 100 else ""
    return f"{counted}{capped}, score {event.score}: {event.action}{asked}"


def _happening(writer: "_Writer", event: Event) -> None:
    writer.section("What")
    writer.value("what", wording.what(event))
    writer.value("by", wording.doer(event))
    process = event.data.process
    if process:
        _process(writer, process)
    writer.value("who", wording.who(event))
    container = event.data.container
    if container:
        for label, name in _CONTAINER.items():
            writer.value(label, getattr(container, name))


def _particulars(writer: "_Writer", event: Event) -> None:
    """All that the event says of what it is about, part by part, and of where its program comes from."""
    process = event.data.process
    program = (process.provenance, process.pe) if process else ()
    if any(program):
        _part(writer, "Program", [one for part in program if part for one in of(part)])
    for name, particulars in parts(event.data):
        _part(writer, name, particulars)


def _part(writer: "_Writer", name: str, particulars: Sequence[Particular]) -> None:
    writer.section(name)
    for label, value, lines in particulars:
        writer.value(label, value, label_width=_WIDE_LABEL)
        writer.difference(lines)


def _process(writer: "_Writer", process: Process) -> None:
    writer.value("command", process.cmdline)
    shown = f"{process.args_length:,} bytes" + (", not all of it recorded" if process.truncated else "")
    writer.value("arguments", shown if process.args_length else "")
    writer.value("invoked as", process.invoked if process.invoked != process.exe else "")
    writer.value("directory", process.cwd)
    writer.value("started", wording.when(process.start_ns) if process.start_ns else "")
    for algorithm, digest in process.hashes.items():
        writer.value("hash", f"{algorithm} {digest}")
    for name, value in process.env.items():
        writer.value("variable", f"{name}={value}")


def _ancestry(writer: "_Writer", event: Event) -> None:
    """The processes above it as a tree, the oldest on top, the process itself at the bottom."""
    ancestors = wording.lineage(event)
    if not ancestors:
        return
    writer.section("From")
    for depth, ancestor in enumerate(ancestors):
        writer.branch(depth, ancestor.pid, _ancestor(ancestor))
    process = event.data.process
    if process:
        writer.branch(len(ancestors), process.pid, process.cmdline or wording.image(process), "bold")


def _ancestor(ancestor: Ancestor) -> str:
    if not ancestor.known:
        return "ended before it was seen"
    told = ancestor.cmdline or ancestor.exe or ancestor.name
    return f"{told}  ({ancestor.user})" if ancestor.user else told


def _record(writer: "_Writer", event: Event) -> None:
    writer.section("Record")
    writer.value("event", event.event_id)
    writer.value("story", event.correlation_id)
    writer.value("alert", _alert(event))
    writer.value("repeats", event.dedupe_key)
    writer.value("entity", event.data.process.entity_id if event.data.process else "")
    writer.value("technique", ", ".join(event.attack))
    writer.value("agent", f"{event.agent_id}, event {event.seq:,} of its run" if event.agent_id else "")


def _alert(event: Event) -> str:
    if event.alert_id in ("", event.event_id):
        return "opened by this event" if event.alert_id else ""
    return f"{event.alert_id}, which this event adds to"


class _Writer:
    """Lines with a label on the left; a value goes on below itself after `width` cells, 0 for never."""

    def __init__(self, width: int, glyphs: Glyphs) -> None:
        self.text = Text(end="\n")
        self._width = width
        self.glyphs = glyphs

    def heading(self, value: str, style: str) -> None:
        """Begin with `value`."""
        self.text.append(value, style)

    def section(self, name: str) -> None:
        """Begin a part of the story."""
        self.text.append(f"\n\n{name}", "bold underline")

    def entry(self, mark: str, value: str) -> None:
        """Add one of several things, which the values after it belong to."""
        self.text.append(f"\n  {mark} ", "bold")
        self._wrapped(value, _ENTRY, "bold")

    def within_entry(self, label: str, value: str, style: str = "") -> None:
        """Add a labelled value that belongs to the last entry."""
        self.value(label, value, style, _ENTRY)

    def value(self, label: str, value: str, style: str = "", indent: int = 2, label_width: int = _LABEL) -> None:
        """Add a labelled value, `indent` cells from the left; nothing where it is empty."""
        if value:
            self.text.append(f"\n{' ' * indent}{label:<{label_width}}", "dim")
            self._wrapped(value, label_width + indent, style)

    def difference(self, lines: Sequence[str]) -> None:
        """Add the lines of a unified diff, each on one of its own; of very many the first and how many there are."""
        for line in lines[:_DIFFERENCE_MOST]:
            self.text.append("\n" + " " * _DIFFERENCE_INDENT)
            self._wrapped(line, _DIFFERENCE_INDENT, _DIFFERENCE_STYLES.get(line[:1], "dim"))
        if len(lines) > _DIFFERENCE_MOST:
            self.text.append(f"\n{' ' * _DIFFERENCE_INDENT}and {len(lines) - _DIFFERENCE_MOST:,} more lines", "dim")

    def branch(self, depth: int, pid: int, value: str, style: str = "") -> None:
        """Add a process of the tree, further right the deeper it is."""
        indent = 2 + min(2 * depth, _DEEPEST)
        number = f"{pid:<7} "
        self.text.append("\n" + " " * indent + number, "dim")
        self._wrapped(value, indent + len(number), style)

    def _wrapped(self, value: str, indent: int, style: str) -> None:
        shown = fit(value, _VALUE_LIMIT, self.glyphs)
        lines = chop_cells(shown, max(20, self._width - indent)) if self._width else [shown]
        self.text.append(("\n" + " " * indent).join(lines), style)
