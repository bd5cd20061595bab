"""Which format a file of indicators has, told from its content, and the one way to read them all."""

import io
import re
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from shield.scorer.indicators import misp, plain, stix, table
from shield.scorer.indicators.indicator import Found, Problem

JsonFormat = Literal["stix", "misp"]
LineFormat = Literal["list", "csv"]
Format = JsonFormat | LineFormat

HEAD_LINES = 200
"""How many lines at the beginning may be comments before a table's header."""

_JSON = re.compile(r"\s*[\[{]\s*[\[{\"\]}]")
_STIX = re.compile(r'"(?:spec_version|pattern|pattern_type|objects)"\s*:|"type"\s*:\s*"(?:bundle|indicator|identity)"')
_MISP = re.compile(r'"(?:Event|Attribute|response|to_ids|Orgc)"\s*:')
_OFFSET = re.compile(r"\(byte (\d+)\)")
_COMMENT = ("#", ";", "//")


def detect(head: str) -> Format:
    """Return the format of the text that begins with `head`, some 64 KiB of it."""
    if _JSON.match(head):
        places = {
            name: mark.start() for name, mark in (("stix", _STIX.search(head)), ("misp", _MISP.search(head))) if mark
        }
        return "stix" if places and min(places, key=lambda name: places[name]) == "stix" else "misp"
    header = ""
    for line in head.splitlines()[:HEAD_LINES]:
        comment = line.lstrip().startswith(_COMMENT)
        if table.is_header(line):
            if not comment:
                return "csv"
            header = line
        elif line.strip() and not comment:
            return "csv" if header and table.delimiter(header) in line else "list"
    return "csv" if header else "list"


def read_lines(lines: Iterable[str], kind: LineFormat, source: str) -> Iterator[Found]:
    """Yield what is found in the lines of a list or a table. `source` names it."""
    return table.read(lines, source) if kind == "csv" else plain.read(lines, source)


def read_json(text: bytes, kind: JsonFormat, source: str) -> Iterator[Found]:
    """Yield what is found in a JSON document; damage is one problem, and then nothing of it is used."""
    try:
        yield from stix.read(text, source) if kind == "stix" else misp.read(text, source)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        yield Problem(_place(text, error), f"not valid JSON: {error or type(error).__name__}", "fetch the file again")


def read(text: bytes, source: str) -> Iterator[Found]:
    """Yield what is found in `text`, of whatever format. `source` names it."""
    shown = text.decode("utf-8", "backslashreplace").removeprefix("\ufeff")
    kind = detect(shown[:65536])
    if kind == "stix" or kind == "misp":
        return read_json(shown.encode(), kind, source)
    return read_lines(io.StringIO(shown, newline=None), kind, source)


def _place(text: bytes, error: Exception) -> str:
    """Return the line of the byte at which JSON is broken, `the end` where it ends too early."""
    found = _OFFSET.search(str(error))
    if not found:
        return "the end"
    line = text.count(b"\n", 0, int(found[1])) + 1
    return f"line {line}"
