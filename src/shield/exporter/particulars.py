"""Everything that the parts of an event say, as labelled values: nothing that was recorded is left out."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from msgspec import NODEFAULT, Struct, structs

from shield.event import Data
from shield.exporter.quantity import duration, permissions, size, some
from shield.exporter.wording import when

_FIELDS_MOST = 64
_SECOND_NS = 1_000_000_000

_TOLD_ELSEWHERE = frozenset(("process", "parent", "ancestors", "user", "container", "loss", "health", "tamper"))
_ITS_OWN_LINES = "diff"


class Particular(NamedTuple):
    """A value with its label; `lines` are those of a value that is a text of several, such as a difference."""

    label: str
    value: str
    lines: tuple[str, ...] = ()


def parts(data: Data) -> Iterator[tuple[str, list[Particular]]]:
    """Yield the name of each part that an event is about, and all it says; those about processes and users are not."""
    for name in data.__struct_fields__:
        part = getattr(data, name)
        if part is not None and name not in _TOLD_ELSEWHERE:
            yield name.capitalize() if name != "dns" else "DNS", list(of(part))


def of(part: Struct) -> Iterator[Particular]:
    """Yield each value of a part that is not as it is where nobody knows it."""
    for field in structs.fields(part):
        value = getattr(part, field.name)
        unknown = field.default if field.default_factory is NODEFAULT else field.default_factory()
        if value not in ("", unknown):
            yield from _told(field.name, value)


def _told(name: str, value: object) -> Iterator[Particular]:
    label = name.removesuffix("_ns").replace("_", " ")
    if name == _ITS_OWN_LINES:
        lines = tuple(str(value).split("\n"))
        yield Particular(label, some(len(lines), "line"), lines)
    elif isinstance(value, Mapping):
        pairs = list(cast("Mapping[str, object]", value).items())
        for key, one in pairs[:_FIELDS_MOST]:
            yield Particular(label, f"{key} = {_text('', one)}")
        if len(pairs) > _FIELDS_MOST:
            yield Particular(label, f"and {len(pairs) - _FIELDS_MOST:,} more")
    else:
        yield Particular(label, _text(name, value))


def _text(name: str, value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(str(each) for each in cast("tuple[object, ...]", value))
        case int() if name.endswith("mode"):
            return permissions(value)
        case int() if name in ("duration_ns", "shift_ns"):
            return f"{'-' * (value < 0)}{duration(abs(value) / _SECOND_NS)}"
        case int() if name.endswith("_ns"):
            return when(value)
        case int() if "bytes" in name or name.endswith("size"):
            return f"{size(value)}, {value:,} bytes" if value >= 1000 else size(value)
        case _:
            return str(value)
