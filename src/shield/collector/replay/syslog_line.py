"""One line of a text log, taken apart into when, where, who and what.

Understood are RFC 3164 lines as daemons and rsyslog write them (with or without priority, host and year), RFC 5424,
the ISO 8601 lines of newer rsyslog and of `journalctl -o short-iso`, the entries of `journalctl -o json`, and what
vsftpd and clamd write into logs of their own (a full date as ctime(3) gives it).

Times without a zone are taken for UTC. Lines without a year are dated by a `Calendar`, or whatever gives `Dates`.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from shield.collector.replay.timestamp import unix_ns
from shield.text import decode

NO_TIME = "its time can't be read"

_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400 * _SECOND_NS
_FIRST_YEAR, _LAST_YEAR = 1970, 2261
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name: number for number, name in enumerate(_MONTHS, 1)}

_BSD = re.compile(
    r"(?:<\d{1,3}>)?(?:(?P<year>\d{4}) )?(?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]?\d) (?:(?P<late_year>\d{4}) )?"
    r"(?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))? (?P<rest>.*)",
    re.ASCII | re.DOTALL,
)
_ISO = re.compile(
    r"(?:<\d{1,3}>)?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?) (.*)", re.ASCII | re.DOTALL
)
_RFC_5424 = re.compile(
    r"<\d{1,3}>1 (\S{1,64}) (\S{1,255}) (\S{1,128}) (\S{1,128}) \S{1,128} "
    r'(?:-|(?:\[(?:[^"\]]++|"(?:[^"\\]++|\\.)*+")*+\])++)(?: (?:\ufeff)?(.*))?',
    re.ASCII | re.DOTALL,
)
_CTIME = re.compile(
    r"[A-Z][a-z]{2} (?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) (?P<clock>\d\d:\d\d:\d\d) (?P<year>\d{4}) "
    r"(?:-> (?P<clamd>.*)|\[pid (?P<pid>\d{1,10})\] (?P<vsftpd>.*))",
    re.ASCII | re.DOTALL,
)
_TAG = re.compile(r"([^\s:\[]{1,128})(?:\[([^\]\s]{0,32})\])?:(?: (.*)|$)", re.DOTALL)
_PAM = re.compile(r"\([\w-]+\)$")
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)


class Line(NamedTuple):
    """A line's parts. `program` is the writer's name without path, pid 0 where none is given, time 0 likewise.

    `program` is what the writer calls itself; `exe` is the program that really wrote, where the journal saw that.
    """

    ts_ns: int
    host: str
    program: str
    pid: int
    message: str
    exe: str = ""


class Dates(Protocol):
    """What gives lines without a year one."""

    def ns(self, month: int, day: int, clock: str) -> int:
        """Return a time in Unix nanoseconds, 0 where there is no such time."""
        ...


class Calendar:
    """Gives lines without a year one: the log goes forward in time, and wraps when it steps back by half a year.

    The first line's year is `year`; without one the newest in which that line is not after `newest_ns` (Unix
    nanoseconds; a day of tolerance, for zones), when the log was last written to.
    """

    def __init__(self, year: int | None, newest_ns: int) -> None:
        self._year = year
        self._newest_ns = newest_ns
        self._month = 0

    def ns(self, month: int, day: int, clock: str) -> int:
        """Return a time in Unix nanoseconds, 0 where there is no such time."""
        if self._year is None:
            self._year = self._newest(month, day, clock)
        year = self._year
        if self._month - month > 6:
            year = self._year = year + 1
        elif self._month and month - self._month > 6:
            return _existing_ns(year - 1, month, day, clock)
        self._month = month
        return _existing_ns(year, month, day, clock)

    def _newest(self, month: int, day: int, clock: str) -> int:
        year = datetime.fromtimestamp(self._newest_ns // _SECOND_NS, UTC).year
        return max(year - (_existing_ns(year, month, day, clock) > self._newest_ns + _DAY_NS), _FIRST_YEAR)


def split(line: bytes, calendar: Dates) -> Line | None:
    """Return the parts of `line` (without its newline), None for what is no line of a log."""
    if line[:1] == b"{":
        return _journal(line)
    text = decode(line)
    for pattern, taken in _FORMS:
        if found := pattern.fullmatch(text):
            return taken(found, calendar)
    return None


def _bsd(found: re.Match[str], calendar: Dates) -> Line | None:
    month, year = _MONTH.get(found["month"]), found["year"] or found["late_year"]
    if month is None:
        return None
    if year:
        ns = _ns(int(year), month, int(found["day"]), found["clock"])
    else:
        ns = calendar.ns(month, int(found["day"]), found["clock"])
    return _tagged(ns + int((found["fraction"] or "0").ljust(9, "0")) if ns else 0, found["rest"])


def _iso(found: re.Match[str], calendar: Dates) -> Line:
    return _tagged(_iso_ns(found[1]), found[2])


def _rfc_5424(found: re.Match[str], calendar: Dates) -> Line:
    time, host, program, process, message = found.groups()
    return Line(_iso_ns(time), _given(host), _bare(_given(program)), _pid(process), message or "")


def _ctime(found: re.Match[str], calendar: Dates) -> Line | None:
    month = _MONTH.get(found["month"])
    if month is None:
        return None
    ns = _ns(int(found["year"]), month, int(found["day"]), found["clock"])
    program = "clamd" if found["vsftpd"] is None else "vsftpd"
    return Line(ns, "", program, _pid(found["pid"] or ""), found["clamd"] or found["vsftpd"] or "")


_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Dates], Line | None]], ...] = (
    (_RFC_5424, _rfc_5424),
    (_BSD, _bsd),
    (_ISO, _iso),
    (_CTIME, _ctime),
)


def _tagged(ts_ns: int, rest: str) -> Line:
    """Take `host program[pid]: message` apart; host and program may lack."""
    host, _, behind = rest.lstrip(" ").partition(" ")
    if host.endswith(":") and (tag := _TAG.match(rest.lstrip(" "))):
        host = ""
    else:
        tag = _TAG.match(behind.lstrip(" "))
    if tag is None:
        return Line(ts_ns, host, "", 0, behind)
    program, process, message = tag.groups()
    return Line(ts_ns, host, _bare(program), _pid(process or ""), message or "")


def _bare(program: str) -> str:
    """Return `su(pam_unix)` as su and `/usr/sbin/cron` as cron; `postfix/smtpd` is a name of its own."""
    program = _PAM.sub("", program) or program
    return program.rpartition("/")[2] or program if program.startswith("/") else program


def _journal(line: bytes) -> Line | None:
    """Return an entry of `journalctl -o json` (systemd's "Journal JSON Format"); bytes that aren't text are arrays."""
    try:
        entry: Any = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(entry, dict) or "MESSAGE" not in entry:
        return None
    fields = cast("dict[str, object]", entry)

    def text(*names: str) -> str:
        return next((_journal_text(fields[name]) for name in names if fields.get(name) is not None), "")

    stamp = text("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP")
    return Line(
        int(stamp) * 1000 if re.fullmatch(r"\d{1,16}", stamp, re.ASCII) else 0,
        text("_HOSTNAME"),
        _bare(text("SYSLOG_IDENTIFIER", "_COMM")) or ("kernel" if text("_TRANSPORT") == "kernel" else ""),
        _pid(text("_PID", "SYSLOG_PID")),
        text("MESSAGE"),
        text("_EXE"),
    )


def _journal_text(value: object) -> str:
    if isinstance(value, list):
        members = cast("list[object]", value)
        numbers = [member for member in members if isinstance(member, int) and 0 <= member <= 255]
        if len(numbers) == len(members):
            return decode(bytes(numbers))
        return " ".join(str(member) for member in members)
    return value if isinstance(value, str) else str(value)


def _given(text: str) -> str:
    return "" if text == "-" else text


def _pid(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0


def _iso_ns(text: str) -> int:
    try:
        return unix_ns(text)
    except ValueError:
        return 0


def _existing_ns(year: int, month: int, day: int, clock: str) -> int:
    """Return the time; 29 February in the leap year before, or else the first there is."""
    if (month, day) == (2, 29):
        year -= year % 4
        year = 1972 if year < _FIRST_YEAR else year
    return _ns(year, month, day, clock)


@lru_cache(maxsize=4096)
def _ns(year: int, month: int, day: int, clock: str) -> int:
    hour, minute, second = (int(part) for part in clock.split(":"))
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return 0
    return int(moment.timestamp()) * _SECOND_NS if _FIRST_YEAR <= year <= _LAST_YEAR else 0
