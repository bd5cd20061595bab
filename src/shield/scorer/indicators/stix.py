"""STIX 2.1 bundles (OASIS, section 4.7 and 9): the indicators whose pattern is one or more comparisons joined by OR.

Other patterns (AND, FOLLOWEDBY, LIKE, qualifiers, objects that Shield doesn't see) are told as unsupported as a whole:
half a pattern would match what its author did not mean.
"""

import re
from collections.abc import Iterator

import msgspec
from msgspec import Raw, Struct

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
from shield.scorer.indicators.table import time_ns
from shield.scorer.indicators.value import Refused, normal

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*')
    |(?P<path>[A-Za-z0-9-]+:[\w-]+(?:\.(?:[\w-]+|'[^']*'|"[^"]*")|\[\w+\]|\[\*\])*)
    |(?P<word>[A-Za-z]+)|(?P<number>-?\d+(?:\.\d+)?)|(?P<mark>!=|<=|>=|[\[\]()=<>,]))""",
    re.DOTALL | re.VERBOSE,
)
_UNSUPPORTED = {"AND", "FOLLOWEDBY", "NOT", "WITHIN", "REPEATS", "START"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SUPPORTED = "use comparisons with = of hashes, addresses, domains, URLs and file names, joined by OR"
_PATHS: dict[str, Kind] = {
    "file:hashes.md5": "md5",
    "file:hashes.sha-1": "sha1",
    "file:hashes.sha1": "sha1",
    "file:hashes.sha-256": "sha256",
    "file:hashes.sha256": "sha256",
    "artifact:hashes.md5": "md5",
    "artifact:hashes.sha-1": "sha1",
    "artifact:hashes.sha-256": "sha256",
    "ipv4-addr:value": "ip",
    "ipv6-addr:value": "ip",
    "network-traffic:dst_ref.value": "ip",
    "network-traffic:src_ref.value": "ip",
    "domain-name:value": "domain",
    "url:value": "url",
    "file:name": "file_name",
}


class _Object(Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    description: str = ""
    pattern: str = ""
    pattern_type: str = "stix"
    valid_until: str = ""
    created_by_ref: str = ""
    confidence: int | None = None
    revoked: bool = False
    indicator_types: list[str] = []


class _Typed(Struct):
    type: str = ""


class _Bundle(Struct):
    objects: list[Raw]


_objects = msgspec.json.Decoder(_Object)
_types = msgspec.json.Decoder(_Typed)


def read(text: bytes, source: str) -> Iterator[Found]:
    """Yield what is found in each indicator of a bundle, a TAXII envelope or a list of objects.

    `source` names it where no identity does. Raises msgspec.DecodeError where `text` is no such JSON.
    """
    bundle = msgspec.json.decode(text, type=_Bundle | list[Raw])
    objects = bundle.objects if isinstance(bundle, _Bundle) else bundle
    names = dict(_identities(objects))
    for number, raw in enumerate(objects):
        place = f"objects[{number}]"
        try:
            if _types.decode(raw).type != "indicator":
                continue
            one = _objects.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            yield Problem(place, f"this is no STIX object: {error}", "correct it")
            continue
        yield from _found(one, place, names.get(one.created_by_ref, source))


def parse(pattern: str) -> list[tuple[Kind, str]]:
    """Return the kinds and values that `pattern` compares with. Raises Refused where it is unsupported."""
    return _Pattern(pattern).alternatives()


def _identities(objects: list[Raw]) -> Iterator[tuple[str, str]]:
    for raw in objects:
        try:
            if _types.decode(raw).type == "identity":
                one = _objects.decode(raw)
                if one.id and one.name.strip():
                    yield one.id, one.name.strip()[:SOURCE_MOST]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue  # told of by `read`


def _found(one: _Object, place: str, source: str) -> Iterator[Found]:
    if one.revoked or "benign" in one.indicator_types:
        yield PassedOver("revoked or benign")
        return
    if one.pattern_type != "stix":
        yield Problem(f"{place}.pattern_type", f"{one.pattern_type[:40]!r} is unsupported", "use stix")
        return
    try:
        expires_ns = time_ns(one.valid_until)
    except Refused as refused:
        yield Problem(f"{place}.valid_until", refused.problem, refused.remedy)
        return
    try:
        alternatives = parse(one.pattern)
    except Refused as refused:
        yield Problem(f"{place}.pattern", refused.problem, refused.remedy)
        return
    note = (one.name or one.description)[:NOTE_MOST]
    for kind, text in alternatives:
        try:
            value = normal(kind, text)
            yield Indicator(kind, value, source, expires_ns, level(kind, one.confidence), note)
        except Refused as refused:
            yield Problem(f"{place}.pattern", refused.problem, refused.remedy)


class _Pattern:
    """Reads one pattern, token by token."""

    def __init__(self, pattern: str) -> None:
        self._tokens = list(_tokens(pattern))
        self._at = 0

    def alternatives(self) -> list[tuple[Kind, str]]:
        found = self._observation()
        while self._at < len(self._tokens):
            self._take("OR")
            found += self._observation()
        return found

    def _observation(self) -> list[tuple[Kind, str]]:
        self._take("[")
        found = self._comparisons()
        self._take("]")
        return found

    def _comparisons(self) -> list[tuple[Kind, str]]:
        found = self._comparison()
        while self._peek() == "OR":
            self._take("OR")
            found += self._comparison()
        return found

    def _comparison(self) -> list[tuple[Kind, str]]:
        path = self._next()
        kind = _PATHS.get(re.sub("['\"]", "", path).lower())
        if kind is None:
            raise Refused(f"the pattern has {path[:60]!r}, which is unsupported", _SUPPORTED)
        operator = self._next()
        if operator == "ISSUBSET" and kind == "ip":
            return [_addressed(self._text())]
        if operator == "IN":
            texts = self._texts()
        elif operator == "=":
            texts = [self._text()]
        else:
            raise Refused(f"the pattern has {operator[:60]!r}, which is unsupported", _SUPPORTED)
        return [_addressed(text) if kind == "ip" else (kind, text) for text in texts]

    def _texts(self) -> list[str]:
        self._take("(")
        found = [self._text()]
        while self._peek() == ",":
            self._take(",")
            found.append(self._text())
        self._take(")")
        return found

    def _text(self) -> str:
        token = self._next()
        if not token.startswith("'"):
            raise Refused(f"the pattern has {token[:60]!r} where a text in single quotes is due", _SUPPORTED)
        return _ESCAPE.sub(r"\1", token[1:-1])

    def _take(self, due: str) -> None:
        token = self._next()
        if token in _UNSUPPORTED:
            raise Refused(f"the pattern has {token}, which is unsupported", _SUPPORTED)
        if token != due:
            raise Refused(f"the pattern has {token[:60]!r} where {due!r} is due", _SUPPORTED)

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise Refused("the pattern ends too early", _SUPPORTED)
        self._at += 1
        return token


def _addressed(text: str) -> tuple[Kind, str]:
    return ("cidr" if "/" in text else "ip"), text


def _tokens(pattern: str) -> Iterator[str]:
    at = 0
    pattern = pattern.rstrip()
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if not found:
            raise Refused(f"the pattern can't be read at {pattern[at : at + 20]!r}", _SUPPORTED)
        at = found.end()
        yield found[0].strip() if found.lastgroup != "text" else found["text"]
