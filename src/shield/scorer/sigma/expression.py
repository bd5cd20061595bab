"""The regular expressions of rules.

RE2 matches them: in time linear in the text, whatever the expression, so that no telemetry can be made to stall the
agent. What RE2 doesn't know (look-around, back references) can't be matched so, and is refused.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import re2  # pyright: ignore[reportMissingTypeStubs]: it has none

Search = Callable[[str], int | None]
"""Returns where in a text the first match begins, None where there is none."""

_MEMORY_BYTES = 16 << 20
"""The most that RE2 may use for the states of one expression; it starts anew when that is full."""

_re2 = cast("Any", re2)


@lru_cache(maxsize=4096)
def search(expression: str) -> Search:
    """Return the search for `expression`. Raises re.error where it is none that RE2 knows."""
    try:
        compiled = _re2.compile(expression.encode(), _quiet())
    except (_re2.error, UnicodeEncodeError) as error:
        raise re.error(_reason(error)) from None

    def place(text: str) -> int | None:
        encoded = text.encode("utf-8", "replace")  # RE2 itself works on bytes, and is slower when given text
        match = compiled.search(encoded)
        return len(encoded[: match.start()].decode()) if match else None

    return place


def _reason(error: Exception) -> str:
    told = error.args[0] if error.args else error
    return told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)


def _quiet() -> Any:
    options = _re2.Options()
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    return options
