"""Plain lists: one value a line, its kind guessed from its look.

`#`, `;` and `//` begin comments. A second word is a comment too, but for the lines of a hosts file
(`0.0.0.0 evil.example`), where it is the value. What sha256sum(1) prints is such a list.
"""

from collections.abc import Iterable, Iterator

from shield.scorer.indicators.indicator import NOTE_MOST, Found, Indicator, Problem, level
from shield.scorer.indicators.value import Refused, guess

_COMMENT = ("#", ";", "//")
_SINKS = ("0.0.0.0", "127.0.0.1", "::", "::1")  # noqa: S104  what hosts files lead bad names to


def read(lines: Iterable[str], source: str) -> Iterator[Found]:
    """Yield what is found on each line; blank lines and comments are nothing. `source` names the list."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith(_COMMENT):
            continue
        try:
            yield _indicator(text, source)
        except Refused as refused:
            yield Problem(f"line {number}", refused.problem, refused.remedy)


def _indicator(text: str, source: str) -> Indicator:
    value, *rest = text.split(maxsplit=1)
    note = rest[0] if rest else ""
    if value in _SINKS and note and not note.startswith(_COMMENT):
        value, *rest = note.split(maxsplit=1)
        note = rest[0] if rest else ""
    elif value.startswith(("/", "\\")) or value[1:3] == ":\\":
        value, note = text, ""  # a path may hold spaces
    kind, form = guess(value.strip("\"',"))
    return Indicator(kind, form, source, level=level(kind, None), note=note.lstrip("#;/ ")[:NOTE_MOST])
