"""The words that sentences are made of: names, users, addresses and programs, so that none can pretend to be another.

The texts are not yet printable: a terminal gets them through `shield.exporter.wording.fit`.
"""

import re
from collections.abc import Iterable

from shield.event import Data
from shield.exporter.program import oddities, short_name

NAME_MOST = 48
PATH_MOST = 120
TEXT_MOST = 400

_ONE_WORD = re.compile(r'[^\s"]+')
_UNKNOWN = "an unknown process"


def given(text: str, most: int = NAME_MOST) -> str:
    """Return what the host made up as one word: in quotes where it has blanks, its middle left out where it is long."""
    shown = cut(text, most)
    return shown if _ONE_WORD.fullmatch(shown) else '"' + shown.replace('"', '\\"') + '"'


def path(text: str) -> str:
    """Return a path, or what is as long as one, as one word."""
    return given(text, PATH_MOST)


def cut(text: str, most: int = TEXT_MOST) -> str:
    """Return `text` without its middle where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    tail = most * 2 // 5
    return f"{text[: most - tail - 3]}...{text[-tail:]}"


def doer(data: Data) -> str:
    """Return who did it: the name of the program, with what is odd about it."""
    process = data.process
    if process is None:
        return _UNKNOWN
    name = short_name(process)
    shown = given(name) if name else f"pid {process.pid}"
    return shown + noted(map(cut, oddities(process)))


def identity(name: str, number: int | None, kind: str = "uid") -> str:
    """Return a user or a group: `alice (uid 1000)`."""
    if number is None:
        return name
    return f"{name} ({kind} {number})" if name else f"{kind} {number}"


def endpoint(ip: str, port: int, host: str) -> str:
    """Return one end of a connection: `203.0.113.9:443 (example.org)`, `[2001:db8::1]:443`."""
    name = given(ip or host) if ip or host else "an unknown address"
    address = f"[{name}]" if ":" in ip and port else name
    shown = f"{address}:{port}" if port else address
    return f"{shown} ({given(host)})" if ip and host else shown


def noted(notes: Iterable[str]) -> str:
    """Return notes as they stand behind what they are about, ` (one, another)`; `""` for none."""
    told = ", ".join(filter(None, notes))
    return f" ({told})" if told else ""
