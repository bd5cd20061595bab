"""An event's parts in words a person reads at a glance: what happened, who did it, where it came from.

All text passes through `shield.text.printable`: nothing that came from the host can move a cursor, forge a line or
change a colour.
"""

import json
import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from rich.cells import cell_len
from rich.console import Console

from shield.event import Ancestor, Container, Event, Health, Loss, Process, Signal, User
from shield.exporter.program import base, image, short_name
from shield.exporter.quantity import duration, some
from shield.exporter.telling.sentence import names_program, sentence
from shield.exporter.telling.word import given, identity
from shield.text import printable

_PART_WIDTH = 32
_LINE_MOST = 1000
_UUID_DIGITS = 32
CONTAINER_DIGITS = 12
"""As many as container tools show of an id."""


class Glyphs(Struct, frozen=True):
    """The few characters outside ASCII, and whether text from the host may hold others."""

    arrow: str
    ellipsis: str
    ascii_only: bool = False


UNICODE = Glyphs(arrow=" → ", ellipsis="…")
PLAIN = Glyphs(arrow=" -> ", ellipsis="...")
ASCII = Glyphs(arrow=" -> ", ellipsis="...", ascii_only=True)


def glyphs_of(console: Console) -> Glyphs:
    """Return what `console` can show: ours only on a terminal, the host's wherever the encoding has them."""
    if not console.encoding.lower().startswith("utf"):
        return ASCII
    return UNICODE if console.is_terminal else PLAIN


def fit(text: str, width: int, glyphs: Glyphs) -> str:
    """Return `text` printable and at most `width` cells wide, its middle left out where it is longer."""
    if len(text) > 2 * width:
        text = text[:width] + "\0" + text[-width:]  # enough of both ends; the middle goes anyway
    shown = printable(text)
    if glyphs.ascii_only:
        shown = shown.encode("ascii", "backslashreplace").decode("ascii")
    if _cells(shown) <= width:
        return shown
    room = max(0, width - len(glyphs.ellipsis))
    tail = room * 2 // 5
    return _head(shown, room - tail) + glyphs.ellipsis[:width] + _head(shown[::-1], tail)[::-1]


def halved(text: str, width: int, glyphs: Glyphs) -> tuple[str, str]:
    """Return `text` printable on two lines of at most `width` cells, the second empty where one is enough."""
    shown = fit(text, 2 * width, glyphs)
    first = _head(shown, width)
    if first == shown:
        return shown, ""
    blank = first.rfind(" ")
    end = blank if blank > len(first) // 2 else len(first)
    return shown[:end], fit(shown[end:].lstrip(), width, glyphs)


def printed(text: str) -> str:
    """Return one line of text as it can be printed anywhere, cut where it is very long."""
    return fit(text, _LINE_MOST, UNICODE)


def as_json(value: object) -> str:
    """Return `value` as indented JSON in ASCII, which no terminal acts on."""
    return json.dumps(msgspec.to_builtins(value), indent=2)


def harmless_json(line: bytes) -> bytes:
    """Return the same JSON with every character a terminal could act on written as an escape (RFC 8259, section 7)."""
    text = line.decode()
    if printable(text) == text:
        return line
    return "".join(each if printable(each) == each else _json_escape(each) for each in text).encode()


def when(ts_ns: int) -> str:
    """Return a time in UTC to the second: `2026-11-24T14:03:22Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ts_ns // 1_000_000_000))


def made_ns(event_id: str) -> int:
    """Return when an event was, to the millisecond, as its version 7 UUID says; 0 where it is no such id."""
    digits = event_id.replace("-", "")
    if len(digits) != _UUID_DIGITS or digits[12:13] != "7":
        return 0
    try:
        return int(digits[:12], 16) * 1_000_000
    except ValueError:
        return 0


def what(event: Event) -> str:
    """Return what happened, without the command line: `/tmp/true, pid 4242`, `curl connected to 203.0.113.9:443`."""
    data = event.data
    if data.loss:
        return loss(data.loss)
    if data.health:
        return health(data.health)
    if data.tamper:
        return ": ".join(filter(None, (data.tamper.what, data.tamper.detail)))
    said = sentence(event)
    if said:
        return said
    program = f"{image(data.process)}, pid {data.process.pid}{_ending(data.process)}" if data.process else ""
    kind = event.category.replace("_", " ")
    return program if event.category == "process_start" and program else ": ".join(filter(None, (kind, program)))


def told(event: Event) -> str:
    """Return what happened on one line, with the process that did it: `curl connected to 192.0.2.9:443  (pid 4242)`."""
    process = event.data.process
    if process and event.category == "process_start":
        return f"{process.cmdline or image(process)}  (pid {process.pid})"
    if not process or not sentence(event):
        return what(event)
    name = short_name(process)
    named = f"{given(name)}, " if name and not names_program(event) else ""
    return f"{what(event)}  ({named}pid {process.pid})"


def doer(event: Event) -> str:
    """Return the process that did what the event tells: `/usr/bin/curl, pid 4242`; empty where `what` is about it."""
    process = event.data.process
    return f"{image(process)}, pid {process.pid}" if process and sentence(event) else ""


def who(event: Event) -> str:
    """Return who did it: `alice (uid 1000) as root (uid 0), container 1f2e3d4c5b6a`; empty where nothing is known."""
    user, container, process = event.data.user, event.data.container, event.data.process
    parts = [
        _user(user) if user else "",
        _container(container) if container else "",
        f"tty {process.tty}" if process and process.tty else "",
    ]
    return ", ".join(filter(None, parts))


def lineage(event: Event) -> tuple[Ancestor, ...]:
    """Return the processes above the event's own, the oldest first, the parent last."""
    parent = event.data.parent
    return event.data.ancestors[::-1] or ((parent,) if parent else ())


def process_name(process: Process) -> str:
    """Return a process's short name, its pid where no more is known of it."""
    return short_name(process) or f"pid {process.pid}"


def ancestor_name(ancestor: Ancestor) -> str:
    """Return an ancestor's short name, its pid where no more is known of it."""
    name = base(ancestor.exe) or ancestor.name
    return name if name and ancestor.known else f"pid {ancestor.pid}"


def reasons(event: Event) -> list[Signal]:
    """Return all signals, this event's and its story's, the weightiest first."""
    return sorted((*event.signals, *event.story), key=lambda signal: -signal.points)


def matched(signal: Signal) -> str:
    """Return the field a signal matched in and the text there: `Image = /tmp/true`."""
    return " = ".join(filter(None, (signal.field, signal.value)))


def parent_command(event: Event) -> str:
    """Return the parent's command line where it tells more than its name does."""
    parent = event.data.parent
    return f"{parent.cmdline}  (pid {parent.pid})" if parent and " " in parent.cmdline else ""


def loss(lost: Loss) -> str:
    """Return what was lost, why, and what to do: `ebpf lost 12 (ring_full 12); REMEDY`."""
    total = sum(lost.dropped.values())
    by_reason = ", ".join(f"{reason} {count:,}" for reason, count in lost.dropped.items())
    return "; ".join(filter(None, (f"{lost.source} lost {total:,} ({by_reason})", lost.remedy)))


def health(own: Health) -> str:
    """Return the agent's own state in one line."""
    events = sum(own.events.values())
    lost = sum(sum(ledger.dropped.values()) for ledger in own.ledgers)
    changes = "".join(f"{change}; " for change in own.changes)
    return (
        f"{changes}{lost:,} lost, {own.alerts:,} alerts, {events:,} events, up {duration(own.uptime_s)}, {own.source}, "
        f"{some(own.rules, 'rule')}, {own.cpu_s:.1f} s CPU, {own.rss_bytes >> 20} MiB"
    )


def joined(parts: Sequence[str], separator: str, width: int, glyphs: Glyphs) -> str:
    """Return `parts` joined to at most `width` cells: the middle ones are left out and counted where they don't fit."""
    parts = [fit(part, _PART_WIDTH, glyphs) for part in parts]
    shown = separator.join(parts)
    keep = len(parts)
    while _cells(shown) > width and keep > 2:
        keep -= 1
        head, tail = (keep + 1) // 2, keep // 2
        hidden = f"{glyphs.ellipsis}{len(parts) - keep} more{glyphs.ellipsis}"
        shown = separator.join((*parts[:head], hidden, *parts[-tail:]))
    return fit(shown, width, glyphs)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _container(container: Container) -> str:
    """Return `container 1f2e3d4c5b6a (docker), pod web/front-1`."""
    runtime = f" ({container.runtime})" if container.runtime else ""
    pod = "/".join(filter(None, (container.pod_namespace, container.pod))) or container.pod_id
    return f"container {container.id[:CONTAINER_DIGITS]}{runtime}" + (f", pod {pod}" if pod else "")


def _ending(process: Process) -> str:
    code = f", exit code {process.exit_code}" if process.exit_code is not None else ""
    return code + (f" after {duration(process.lifetime_ns / 1e9)}" if process.lifetime_ns is not None else "")


def _user(user: User) -> str:
    text = identity(user.name, user.id)
    if user.effective_id not in (None, user.id):
        text += f" as {identity(user.effective_name, user.effective_id)}"
    if user.audit_id not in (None, user.id):
        text += f", logged in as {identity(user.audit_name, user.audit_id)}"
    return text


def _cells(text: str) -> int:
    """Count a character of no width as one, so that a pile of combining marks can't hide in a line."""
    return len(text) if text.isascii() else sum(max(1, cell_len(character)) for character in text)


def _head(text: str, width: int) -> str:
    """Return as much of the beginning of `text` as fits into `width` cells."""
    if text.isascii():
        return text[:width]
    used = 0
    for index, character in enumerate(text):
        used += max(1, cell_len(character))
        if used > width:
            return text[:index]
    return text
