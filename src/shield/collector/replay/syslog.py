"""Classic text logs: auth.log, secure, syslog, messages, cron, and the journal's export (syslog_line has the forms).

A line's fields are `program`, `pid`, `message` and what is known of such lines (syslog_facts). A line that begins with
white space goes on with the one before it; any other that is no line of a log is damaged.

Audit records and events of Sysmon for Linux among the lines are read as what they are.

The year of lines that bear none: a log's first line is taken to be of the newest year in which it is not after the
file's last change (its mtime; 1970 where it has none, as in a pipe), and the year grows where the months wrap. Whoever
knows better says so.
"""

import os
from collections.abc import Iterator
from typing import BinaryIO

from shield.collector.replay import auditd, syslog_line, sysmon_linux
from shield.collector.replay.damage import Damaged, Item
from shield.collector.replay.lines import LINE_MOST, numbered, too_long, whole_lines
from shield.collector.replay.syslog_facts import facts
from shield.collector.replay.syslog_line import Calendar, Dates, Line
from shield.event import LogValue
from shield.record import LogRecord
from shield.text import decode

CHANNEL = "syslog"

_ENTRY_MOST = 1 << 20


def matches(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a text log: most of its lines are, but for continued ones."""
    calendar = Calendar(1970, 0)
    lines = [line for line in whole_lines(head) if line.strip() and line[:1] not in (b" ", b"\t")]
    known = sum(syslog_line.split(line, calendar) is not None for line in lines)
    return known > 0 and known * 4 >= len(lines) * 3


def read(file: BinaryIO, source: str, year: int | None = None) -> Iterator[tuple[bytes, Item]]:
    """Yield the lines of each entry, as they are, with its record or what is wrong with it.

    `source` is the file's name, for errors; `year` is that of the first line, where lines bear none.
    """
    calendar = Calendar(year, _changed_ns(file))
    events = auditd.Events()
    for number, raw in entries(file):
        if len(raw) > LINE_MOST:
            yield raw, too_long(source, number)
            continue
        line = split(raw, calendar)
        if line is None:
            yield raw, Damaged(source, number, "this is no line of a text log (time, host, program)")
        elif audited := auditd.in_syslog(line):
            yield from events.add(raw, audited)
        else:
            yield raw, _item(line, source, number)
    yield from events.rest()


def split(raw: bytes, calendar: Dates) -> Line | None:
    """Return the parts of an entry, with the lines that continue it; None for what is none."""
    head, _, continued = raw.rstrip(b"\r\n\0").partition(b"\n")
    line = syslog_line.split(head.rstrip(b"\r"), calendar)
    return line._replace(message=f"{line.message}\n{decode(continued)}") if line and continued else line


def record(line: Line) -> LogRecord:
    """Return the record of an entry."""
    fields: dict[str, LogValue] = {"program": line.program, "message": line.message}
    if line.pid:
        fields["pid"] = line.pid
    if line.exe:
        fields["exe"] = line.exe
    return LogRecord(
        os="linux",
        ts_ns=line.ts_ns,
        host=line.host,
        provider=line.program,
        channel=CHANNEL,
        message=line.message,
        fields={**facts(line.program, line.message), **fields},
        gaps=() if line.ts_ns else (syslog_line.NO_TIME,),
    )


def _item(line: Line, source: str, number: int) -> Item:
    if line.program == "sysmon" and line.message.startswith(sysmon_linux.START):
        try:
            return sysmon_linux.record(line.message)
        except sysmon_linux.NotSysmon as error:
            return Damaged(source, number, str(error))
    return record(line)


def entries(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each line with those that continue it, and its number."""
    start, size = 0, 0
    held: list[bytes] = []
    for number, line in numbered(file):
        if not line.strip():
            continue
        if not (held and line[:1] in (b" ", b"\t") and size + len(line) <= _ENTRY_MOST):
            if held:
                yield start, b"".join(held)
            start, size, held = number, 0, []
        held.append(line)
        size += len(line)
    if held:
        yield start, b"".join(held)


def _changed_ns(file: BinaryIO) -> int:
    """Return when a file was last changed, in Unix nanoseconds; 0 for what is none."""
    try:
        return max(os.fstat(file.fileno()).st_mtime_ns, 0)
    except (OSError, ValueError, AttributeError):
        return 0
