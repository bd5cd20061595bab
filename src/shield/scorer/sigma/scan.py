"""One pass over a text for many expressions at once, whose cost hardly grows with their number (RE2's Set)."""

import re
from collections.abc import Sequence
from typing import Any, Protocol, cast

import re2  # pyright: ignore[reportMissingTypeStubs]: it has none

_MEMORY_BYTES = 16 << 20
"""The most that RE2 may use for the states of one set; it starts anew when that is full."""

_READ_DIFFERENTLY = re.compile(r"(?![\x00-\x7f])\w|\{,|\[:")
"""Letters beyond ASCII (case folds by other rules), `{,n}` (a text to RE2) and `[:alpha:]` (a class to RE2 alone)."""

_re2 = cast("Any", re2)


class _Set(Protocol):
    """What is used of re2.Set."""

    def Add(self, pattern: str) -> int: ...  # noqa: N802
    def Compile(self) -> None: ...  # noqa: N802
    def Match(self, text: str) -> list[int] | None: ...  # noqa: N802


class Scan:
    """Proposes which of `expressions`, in Python's syntax, a text may match.

    A proposal is to be tested again: it may be wrong, but none is missing for a text of printable ASCII, where RE2 and
    Python agree. An expression that RE2 refuses, or might read in another way, is always proposed.
    """

    def __init__(self, expressions: Sequence[str]) -> None:
        self._always: list[int] = []
        self._scanned: list[int] = []
        self._set = _new_set()
        for index, expression in enumerate(expressions):
            if self._added(expression):
                self._scanned.append(index)
            else:
                self._always.append(index)
        if self._scanned:
            self._set.Compile()

    def _added(self, expression: str) -> bool:
        if _READ_DIFFERENTLY.search(expression):
            return False
        try:
            self._set.Add(expression)
        except _re2.error:
            return False
        return True

    def candidates(self, text: str) -> list[int]:
        """Return the indices of the expressions that `text` may match."""
        found = self._set.Match(text) if self._scanned else None
        if found is None:
            return self._always
        return self._always + [self._scanned[index] for index in found]


def _new_set() -> _Set:
    options = _re2.Options()
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    return _re2.Set.SearchSet(options)
