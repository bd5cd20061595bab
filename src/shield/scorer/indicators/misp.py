"""MISP's JSON: an event, a list of them, a response of its API, or a list of attributes.

Only attributes that are meant for detection (`to_ids`) count. Of a composite (`filename|sha256`) the part is used that
tells the thing by itself: the hash, the address without its port; of `domain|ip` both.
"""

from collections.abc import Iterator
from typing import cast

import msgspec
from msgspec import Struct

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
from shield.scorer.indicators.value import Refused, normal

# Each part of a type, with the part of the value that it is.
_TYPES: dict[str, tuple[tuple[Kind, int], ...]] = {
    "md5": (("md5", 0),),
    "sha1": (("sha1", 0),),
    "sha256": (("sha256", 0),),
    "filename": (("file_name", 0),),
    "filename|md5": (("md5", 1),),
    "filename|sha1": (("sha1", 1),),
    "filename|sha256": (("sha256", 1),),
    "malware-sample": (("md5", 1),),
    "ip-src": (("ip", 0),),
    "ip-dst": (("ip", 0),),
    "ip-src|port": (("ip", 0),),
    "ip-dst|port": (("ip", 0),),
    "domain": (("domain", 0),),
    "hostname": (("domain", 0),),
    "hostname|port": (("domain", 0),),
    "domain|ip": (("domain", 0), ("ip", 1)),
    "url": (("url", 0),),
    "uri": (("url", 0),),
}
_SHAPE = "export it as MISP JSON: an event, a response or a list of attributes"


_ENVELOPES = ("response", "Event", "Attribute", "Object")
_DEPTH_MOST = 8


class _Attribute(Struct):
    type: str
    value: str
    to_ids: bool = True
    deleted: bool = False
    comment: str | None = None


class _Where(Struct, frozen=True):
    """Where the entry at hand stands, who says it, about what, and how deep in."""

    place: str
    source: str
    note: str = ""
    depth: int = 0

    def inside(self, step: str) -> "_Where":
        return _Where(f"{self.place}{step}".removeprefix("."), self.source, self.note, self.depth + 1)

    def problem(self, problem: str, remedy: str) -> Problem:
        return Problem(self.place or "line 1", problem, remedy)


def read(text: bytes, source: str) -> Iterator[Found]:
    """Yield what is found in each attribute. `source` names the file where no organisation does.

    Raises msgspec.DecodeError where `text` is no JSON.
    """
    yield from _entry(msgspec.json.decode(text), _Where("", source))


def _entry(entry: object, where: _Where) -> Iterator[Found]:
    """Walk down whatever envelope the attributes came in."""
    if isinstance(entry, list) and where.depth < _DEPTH_MOST:
        for number, one in enumerate(cast("list[object]", entry)):
            yield from _entry(one, where.inside(f"[{number}]"))
        return
    fields = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
    envelopes = [name for name in _ENVELOPES if name in fields]
    if "type" in fields and "value" in fields:
        yield from _attribute(fields, where)
    elif envelopes and where.depth < _DEPTH_MOST:
        for name in envelopes:
            yield from _entry(fields[name], _about(fields, where).inside(f".{name}"))
    elif "uuid" not in fields:  # an event without attributes is none to complain about
        yield where.problem("this is no MISP event or attribute", _SHAPE)


def _about(fields: dict[str, object], where: _Where) -> _Where:
    """Return `where` with the organisation and the title of the event that `fields` may be."""
    organisation = fields.get("Orgc")
    name = cast("dict[str, object]", organisation).get("name") if isinstance(organisation, dict) else None
    title = fields.get("info")
    return msgspec.structs.replace(
        where,
        source=name.strip()[:SOURCE_MOST] if isinstance(name, str) and name.strip() else where.source,
        note=title[:NOTE_MOST] if isinstance(title, str) else where.note,
    )


def _attribute(fields: dict[str, object], where: _Where) -> Iterator[Found]:
    try:
        one = msgspec.convert(fields, _Attribute, strict=False)
    except msgspec.ValidationError as error:
        yield where.problem(f"this is no MISP attribute: {error}", "correct it")
        return
    if not one.to_ids or one.deleted:
        yield PassedOver("deleted" if one.deleted else "not for detection (to_ids)")
        return
    parts = _TYPES.get(one.type)
    if parts is None:
        yield PassedOver(f"of a type that Shield can't match: {one.type[:40]}")
        return
    values = one.value.split("|")
    for kind, at in parts:
        try:
            yield _indicator(kind, values[at] if at < len(values) else "", one, where)
        except Refused as refused:
            yield where.problem(refused.problem, refused.remedy)


def _indicator(kind: Kind, text: str, one: _Attribute, where: _Where) -> Indicator:
    if kind == "ip" and "/" in text:
        kind = "cidr"
    elif kind == "file_name" and ("/" in text or "\\" in text):
        kind = "path"
    note = (one.comment or where.note)[:NOTE_MOST]
    return Indicator(kind, normal(kind, text), where.source, level=level(kind, None), note=note)
