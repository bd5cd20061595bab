"""The regular expressions of rules.

RE2 matches them: in time linear in the text, whatever the expression, so that no telemetry can be made to stall the
agent. What RE2 doesn't know (look-around, back references) falls to Python's `re`.
"""

import re
from collections.abc import Callable
from typing import Any, cast

import re2  # pyright: ignore[reportMissingTypeStubs]: it has none

Search = Callable[[str], int | None]
"""Returns where in a text the first match begins, None where there is none."""

_MEMORY_BYTES = 16 << 20
"""The most that RE2 may use for the states of one expression; it starts anew when that is full."""

_END = r"\Z"
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
_CLASS = re.compile(r"\\[wWdDsSbB]")
_MULTILINE = re.compile(r"\(\?[a-z]*m")

_re2 = cast("Any", re2)


def search(expression: str) -> Search:
    """Return the search for `expression`. Raises re.error where it is no regular expression."""
    linear = _linear(expression)
    if linear is None:
        return _python(re.compile(_as_re2_reads_it(expression)))

    def place(text: str) -> int | None:
        encoded = text.encode("utf-8", "replace")  # RE2 itself works on bytes, and is slower when given text
        match = linear.search(encoded)
        return len(encoded[: match.start()].decode()) if match else None

    return place


def _python(expression: re.Pattern[str]) -> Search:
    def place(text: str) -> int | None:
        match = expression.search(text)
        return match.start() if match else None

    return place


def is_linear(expression: str) -> bool:
    """Return whether no text can take `expression` longer than in proportion to its length."""
    return _linear(expression) is not None


def _as_re2_reads_it(expression: str) -> str:
    """Return `expression` for Python's `re` with RE2's meaning.

    That is, `$` is the very end of the text, not before a last newline, and classes (`\\w`, `\\d`) are about ASCII.
    """
    is_multiline = _MULTILINE.match(expression)
    pieces: list[str] = _PIECE.findall(expression)
    return "".join(_END if piece == "$" and not is_multiline else _of_ascii(piece) for piece in pieces)


def _of_ascii(piece: str) -> str:
    return f"(?a:{piece})" if _CLASS.search(piece) else piece


def _linear(expression: str) -> Any | None:
    try:
        return _re2.compile(expression.encode(), _quiet())
    except (_re2.error, UnicodeEncodeError):
        return None


def _quiet() -> Any:
    options = _re2.Options()
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    return options
