"""CSV with a header that names the columns, as threat feeds and spreadsheets write it.

The header may be a comment (`# first_seen,ip,malware`). One column holds the values, under one of the usual names, and
another may hold their type; or each kind of value has a column of its own (`md5`, `sha256`, `ip`, ...).
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from msgspec import Struct

from shield.event import Severity
from shield.scorer.indicators.indicator import (
    NOTE_MOST,
    SOURCE_MOST,
    Found,
    Indicator,
    Kind,
    PassedOver,
    Problem,
    level,
)
from shield.scorer.indicators.value import Refused, guess, normal

_VALUE = ("indicator", "indicatorvalue", "value", "ioc", "iocvalue", "observable", "observablevalue", "artifact")
_TYPE = ("type", "indicatortype", "ioctype", "observabletype", "valuetype", "kind")
_EXPIRY = (
    *("expiration", "expirationdate", "expirationtime", "expires", "expiresat", "expiry", "expirydate"),
    *("validuntil", "expireson", "expirationdatetime"),
)
_NOTE = (
    *("description", "comment", "note", "notes", "title", "malware", "malwareprintable", "threat", "threatname"),
    *("signature", "family", "tags"),
)
_CONFIDENCE = ("confidence", "confidencelevel", "confidencescore", "score")
_LEVEL = ("level", "severity")
_SOURCE = ("source", "feed", "provider", "sourcename")

_OWN_COLUMN: dict[str, Kind | None] = {
    "md5": "md5",
    "md5hash": "md5",
    "filehashmd5": "md5",
    "sha1": "sha1",
    "sha1hash": "sha1",
    "filehashsha1": "sha1",
    "sha256": "sha256",
    "sha256hash": "sha256",
    "filehashsha256": "sha256",
    "hash": None,
    "filehash": None,
    "ip": "ip",
    "ipaddress": "ip",
    "ipaddr": "ip",
    "ipv4": "ip",
    "ipv6": "ip",
    "dstip": "ip",
    "destinationip": "ip",
    "cidr": "cidr",
    "network": "cidr",
    "domain": "domain",
    "domainname": "domain",
    "hostname": "domain",
    "fqdn": "domain",
    "host": None,
    "url": "url",
    "uri": "url",
    "filename": "file_name",
    "filepath": "path",
}
# Those of MISP, OTX, ThreatFox, Microsoft Defender and STIX, without case and punctuation. None is: look at the value.
_TYPES: dict[str, Kind | None] = {
    **_OWN_COLUMN,
    "filemd5": "md5",
    "filesha1": "sha1",
    "filesha256": "sha256",
    "ipsrc": "ip",
    "ipdst": "ip",
    "address": "ip",
    "ipport": None,
    "ipsrcport": None,
    "ipdstport": None,
    "ipv4addr": None,
    "ipv6addr": None,
    "ipv4cidr": "cidr",
    "iprange": "cidr",
    "hostnameport": None,
    "domainnamevalue": "domain",
    "path": "path",
    "file": None,
    "urlvalue": "url",
    "other": None,
    "": None,
}
_NAMES = {*_VALUE, *_OWN_COLUMN}
_PUNCTUATION = re.compile(r"[^a-z0-9]+")
_DATES = ("%Y/%m/%d", "%d.%m.%Y", "%Y%m%d")
_NEVER = {"", "-", "never", "none", "null", "n/a"}
_ROW_LINES_MOST = 50
_SECOND_NS = 1_000_000_000
_LATEST_NS = (1 << 63) - 2
_SEVERITIES: dict[str, Severity] = {
    "informational": "informational",
    "info": "informational",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "critical": "critical",
}
_CONFIDENCES = {"low": 30, "medium": 60, "moderate": 60, "high": 90, "certain": 100}


class _Columns(Struct, frozen=True):
    """Where a table keeps what. `values` are columns with the kind that all values there have, None for any."""

    values: tuple[tuple[int, Kind | None], ...]
    type: int | None
    expiry: int | None
    note: tuple[int, ...]
    confidence: int | None
    level: int | None
    source: int | None


def is_header(line: str) -> bool:
    """Return whether a line, perhaps a comment, names a column that holds indicators, among others."""
    cells = _names(line)
    return len(cells) > 1 and not _NAMES.isdisjoint(cells)


def delimiter(line: str) -> str:
    """Return what separates the columns of a header."""
    return max(",;\t|", key=line.count)


def read(lines: Iterable[str], source: str) -> Iterator[Found]:
    """Yield what is found in each row. `source` names the table."""
    rows = _Numbered(lines)
    header = next((line for line in rows if is_header(line)), None)
    if header is None:
        yield Problem("line 1", "no header names a column of indicators", f"name it, for example {_VALUE[0]}")
        return
    columns = _columns(_names(header))
    reader = csv.reader(rows, delimiter=delimiter(header), skipinitialspace=True)
    row_of = _Row(columns, source)
    while True:
        begin = rows.number + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield Problem(f"line {begin}", f"not valid CSV: {error}", "mend the line")
            continue
        if row is None:
            return
        if rows.number - begin >= _ROW_LINES_MOST:
            told = f"a quote is opened and not closed; lines {begin} to {rows.number} are left out"
            yield Problem(f"line {begin}", told, "close it")
        elif any(row) and not row[0].startswith("#"):
            yield from row_of.found(row, begin)


class _Row:
    """Makes indicators of rows."""

    def __init__(self, columns: _Columns, source: str) -> None:
        self._columns = columns
        self._source = source
        self._times: dict[str, int] = {}

    def found(self, row: list[str], line: int) -> Iterator[Found]:
        columns = self._columns
        present = False
        for column, kind in columns.values:
            if column < len(row) and (text := row[column].strip()) and text.lower() not in _NEVER:
                present = True
                try:
                    yield self._indicator(row, text, kind)
                except Refused as refused:
                    yield Problem(f"line {line}", refused.problem, refused.remedy)
        if not present:
            yield Problem(f"line {line}", "the row holds no indicator", "complete it or take it out")

    def _indicator(self, row: list[str], text: str, kind: Kind | None) -> Indicator | PassedOver:
        columns = self._columns
        if kind is None and columns.type is not None:
            kind = _kind(_cell(row, columns.type))
        kind, value = (kind, _normal(kind, text)) if kind else guess(text)
        if kind == "ip" and "/" in value:
            kind = "cidr"
        return Indicator(
            kind,
            value,
            _cell(row, columns.source)[:SOURCE_MOST] or self._source,
            expires_ns=self._expiry(_cell(row, columns.expiry)),
            level=_level(kind, _cell(row, columns.level), _cell(row, columns.confidence)),
            note=", ".join(filter(None, (_cell(row, at) for at in columns.note)))[:NOTE_MOST],
        )

    def _expiry(self, text: str) -> int:
        if not text:
            return 0
        known = self._times.get(text)
        if known is None:
            if len(self._times) > 4096:
                self._times.clear()
            known = self._times[text] = time_ns(text)
        return known


def time_ns(text: str) -> int:
    """Return a time in ISO 8601, a plain date, or Unix seconds or milliseconds, as Unix ns; 0 for never.

    A time without a zone is in UTC. Raises Refused.
    """
    text = text.strip()
    if text.lower() in _NEVER:
        return 0
    if text.isascii() and text.isdecimal() and 9 <= len(text) <= 13:
        return _bounded(int(text) * (1_000_000 if len(text) >= 12 else _SECOND_NS))
    for parse in (datetime.fromisoformat, *(_by(form) for form in _DATES)):
        try:
            moment = parse(text.removesuffix(" UTC"))
            return _bounded(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * _SECOND_NS)
        except (ValueError, OverflowError):
            continue
    raise Refused(f"{text[:40]!r} is no time", "write it as 2030-12-31T00:00:00Z")


def _bounded(ns: int) -> int:
    """Return a time that a signed 64-bit number holds, and that isn't never."""
    return min(max(1, ns), _LATEST_NS)


def _by(form: str) -> Callable[[str], datetime]:
    return lambda text: datetime.strptime(text, form)  # noqa: DTZ007  the caller sets the zone


def _normal(kind: Kind, text: str) -> str:
    if kind == "ip" and "/" in text:
        return normal("cidr", text)
    if kind == "file_name" and ("/" in text or "\\" in text):
        raise Refused(f"{text[:80]!r} is a path, not a file's name", "give it the type path")
    return normal(kind, text)


def _kind(text: str) -> Kind | None:
    name = _PUNCTUATION.sub("", text.lower())
    if name not in _TYPES:
        known = "md5, sha1, sha256, ip, cidr, domain, url, filename or path"
        raise Refused(f"type {text[:40]!r} is not one that Shield can match", f"use {known}")
    return _TYPES[name]


def _level(kind: Kind, severity: str, confidence: str) -> Severity:
    named = _SEVERITIES.get(severity.lower())
    if named:
        return named
    if not confidence:
        return level(kind, None)
    sure = _CONFIDENCES.get(confidence.lower())
    if sure is None:
        try:
            sure = int(float(confidence.removesuffix("%")))
        except (ValueError, OverflowError):
            raise Refused(f"confidence {confidence[:40]!r} is no number from 0 to 100") from None
    return level(kind, sure)


def _columns(names: list[str]) -> _Columns:
    value = _first(names, _VALUE)
    own: tuple[tuple[int, Kind | None], ...] = tuple(
        (at, _OWN_COLUMN[name]) for at, name in enumerate(names) if name in _OWN_COLUMN
    )
    return _Columns(
        values=own if value is None else ((value, None),),
        type=_first(names, _TYPE),
        expiry=_first(names, _EXPIRY),
        note=tuple(at for at, name in enumerate(names) if name in _NOTE)[:3],
        confidence=_first(names, _CONFIDENCE),
        level=_first(names, _LEVEL),
        source=_first(names, _SOURCE),
    )


def _first(names: list[str], known: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _names(line: str) -> list[str]:
    text = line.strip().lstrip("#;/ \ufeff")
    try:
        cells = next(csv.reader([text], delimiter=delimiter(text), skipinitialspace=True), list[str]())
    except csv.Error:
        return []
    return [_PUNCTUATION.sub("", cell.lower()) for cell in cells]


def _cell(row: list[str], column: int | None) -> str:
    return row[column].strip() if column is not None and column < len(row) else ""


class _Numbered:
    """Lines that know how many of them have been read."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.number = 0
        self._lines = iter(lines)

    def __iter__(self) -> "_Numbered":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        return line
