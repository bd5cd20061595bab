"""Regular expressions of rules, one by one (`search`) or many in one pass over a text (`Scan`).

RE2 matches them: in time linear in the text, whatever the expression, so that no telemetry can be made to stall the
agent, and many at once at hardly more than the cost of one. What RE2 doesn't know (look-around, back references) falls
to Python's `re`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import re2  # pyright: ignore[reportMissingTypeStubs]: it has none

Search = Callable[[str], int | None]
"""Returns where in a text the first match begins, None where there is none."""

_MEMORY_BYTES = 16 << 20
"""The most that RE2 may use for the states of one set; it starts anew when that is full."""

_re2 = cast("Any", re2)


class _Set(Protocol):
    """What is used of re2.Set."""

    def Add(self, pattern: str) -> int: ...  # noqa: N802
    def Compile(self) -> None: ...  # noqa: N802
    def Match(self, text: str) -> list[int] | None: ...  # noqa: N802


def search(expression: str) -> Search:
    """Return the search for `expression`. Raises re.error where it is no regular expression."""
    linear = _linear(expression)
    find = re.compile(expression).search if linear is None else linear.search

    def place(text: str) -> int | None:
        match = find(text)
        return match.start() if match else None

    return place


def _linear(expression: str) -> Any | None:
    try:
        return _re2.compile(expression, _quiet())
    except _re2.error:
        return None


class Scan:
    """Says which of `expressions` a text matches, for those that RE2 knows; the others are named for every text."""

    def __init__(self, expressions: Sequence[str]) -> None:
        self._always: list[int] = []
        self._scanned: list[int] = []
        self._set: _Set = _re2.Set.SearchSet(_quiet())
        for index, expression in enumerate(expressions):
            if self._added(expression):
                self._scanned.append(index)
            else:
                self._always.append(index)
        if self._scanned and not self._compiled():  # more than RE2's memory holds
            self._always, self._scanned = list(range(len(expressions))), []

    def candidates(self, text: str) -> list[int]:
        """Return the indices of the expressions that `text` matches, or that only a `search` can tell of."""
        found = self._set.Match(text) if self._scanned else None
        if found is None:
            return self._always
        return self._always + [self._scanned[index] for index in found]

    def _added(self, expression: str) -> bool:
        try:
            self._set.Add(expression)
        except _re2.error:
            return False
        return True

    def _compiled(self) -> bool:
        try:
            self._set.Compile()
        except _re2.error:
            return False
        return True


def _quiet() -> Any:
    options = _re2.Options()
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    return options
