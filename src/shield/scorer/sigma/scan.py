"""Finding many literals and expressions in a text at once.

Hyperscan does it in one pass, for all at little more than the cost of one. Where its library isn't available (it
needs an x86-64 CPU), `Trigrams` gives the same answers in plain Python.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple, cast

try:
    import hyperscan  # pyright: ignore[reportMissingTypeStubs]: it has none
except ImportError:
    hyperscan = None

_hyperscan = cast("Any", hyperscan)
_UTF8: int = _hyperscan.HS_FLAG_UTF8 if hyperscan else 0
_CASELESS: int = _hyperscan.HS_FLAG_CASELESS if hyperscan else 0
_GRAM = 3
_NEEDLE_MOST = 64
"""As much of a literal is looked for; whether the rest is there too, a rule's condition will tell."""

_COUNTED = re.compile(r"\{[0-9]*,?([0-9]+),?\}")
_NESTED_MOST = 16
_COUNT_MOST = 64
_COUNTS_MOST = 1024

Engine = Literal["hyperscan", "pure"]
ENGINE: Engine = "hyperscan" if hyperscan else "pure"
"""What is used here unless told otherwise."""


class Needle(NamedTuple):
    """What is looked for: a literal, case-folded, anywhere, at the start or at the end; or an expression."""

    text: str
    at_start: bool = False
    at_end: bool = False
    is_expression: bool = False

    def is_in(self, text: str) -> bool:
        """Return whether the literal is in a case-folded `text`."""
        if self.at_start:
            return text.startswith(self.text)
        return text.endswith(self.text) if self.at_end else self.text in text


Scanner = Callable[[str, str], list[int]]
"""Returns the indices of all needles in a text, given as it is and case-folded; perhaps of some that are not in it."""


class Databases:
    """Compiled scanners as bytes, by the digest of what they look for; `fresh` says that there are new ones to keep."""

    def __init__(self, known: dict[str, bytes] | None = None) -> None:
        self.known = dict(known or {})
        self.fresh = False
        self._loaded: dict[str, Any] = {}

    def get(self, digest: str, compile_it: Callable[[], bytes]) -> bytes:
        """Return the database of that digest, compiled now if it isn't known."""
        found = self.known.get(digest)
        if found is None:
            found = self.known[digest] = compile_it()
            self.fresh = True
        return found

    def loaded(self, digest: str, compile_it: Callable[[], bytes]) -> Any:
        """Return the database of that digest, ready to scan: the very same for all who look for the same."""
        found = self._loaded.get(digest)
        if found is None:
            try:
                found = _loaded(self.get(digest, compile_it))
            except _hyperscan.HyperscanError:  # it was made for another processor
                del self.known[digest]
                found = _loaded(self.get(digest, compile_it))
            self._loaded[digest] = found
        return found


def scanner(needles: Sequence[Needle], databases: Databases, engine: Engine = ENGINE) -> Scanner:
    """Return the scanner for `needles`."""
    return _by_hyperscan(needles, databases) if engine == "hyperscan" else Trigrams(needles).found


def caseless_scanner(literals: Sequence[str], databases: Databases) -> Callable[[bytes], list[int]]:
    """Return the function that names the ASCII literals in a text in ASCII, whatever the case of either."""
    escaped = {at: re.escape(literal[:_NEEDLE_MOST]) for at, literal in enumerate(literals)}
    return _pass(escaped, _CASELESS, databases)


def _by_hyperscan(needles: Sequence[Needle], databases: Databases) -> Scanner:
    """Return a scanner with one pass over the folded text for literals, and one over the text for expressions."""
    expressions = {at: needle.text for at, needle in enumerate(needles) if needle.is_expression}
    literals = {at: _anchored(needle) for at, needle in enumerate(needles) if not needle.is_expression}
    in_folded = _pass(literals, 0, databases)
    if not expressions:
        return lambda text, folded: in_folded(folded.encode("utf-8", "surrogatepass"))
    known = _scannable(expressions, databases)
    always = [at for at in expressions if at not in known]
    in_text = _pass(known, _UTF8, databases)

    def found(text: str, folded: str) -> list[int]:
        in_both = in_folded(folded.encode("utf-8", "surrogatepass"))
        in_both += in_text(text.encode("utf-8", "replace"))
        return in_both + always

    return found


def _pass(expressions: Mapping[int, str], flags: int, databases: Databases) -> Callable[[bytes], list[int]]:
    """Return the function that names, by their numbers, the expressions that a text matches."""
    if not expressions:
        return lambda text: []
    database = databases.loaded(_digest(expressions, flags), lambda: _compiled(expressions, flags))
    scan, scratch = database.scan, _hyperscan.Scratch(database)

    def found(text: bytes) -> list[int]:
        hits: list[int] = []
        scan(text, _note, 0, hits, scratch)
        return hits

    return found


def _note(number: int, begin: int, end: int, flags: int, hits: list[int]) -> None:
    hits.append(number)


def _digest(expressions: Mapping[int, str], flags: int) -> str:
    wanted = repr((_hyperscan.__version__, flags, sorted(expressions.items())))
    return hashlib.sha256(wanted.encode("utf-8", "surrogatepass")).hexdigest()


def _loaded(serialized: bytes) -> Any:
    return _hyperscan.loadb(serialized, mode=_hyperscan.HS_MODE_BLOCK)


class Trigrams:
    """Literals by the rarest three characters in them; those shorter than that one by one."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self._needles = needles
        self._always = [at for at, needle in enumerate(needles) if needle.is_expression]
        literals = [(at, needle) for at, needle in enumerate(needles) if not needle.is_expression]
        self._short = [(at, needle) for at, needle in literals if len(needle.text) < _GRAM]
        grams = {at: _grams(needle.text) for at, needle in literals if len(needle.text) >= _GRAM}
        usual = Counter(gram for found in grams.values() for gram in found)
        self._by_gram: dict[str, list[tuple[int, Needle]]] = {}
        for at, found in grams.items():
            rarest = min(sorted(found), key=lambda gram: usual[gram])
            self._by_gram.setdefault(rarest, []).append((at, needles[at]))

    def found(self, text: str, folded: str) -> list[int]:
        """Return the indices of the literals found, and of all expressions."""
        by_gram = self._by_gram
        likely = [one for gram in _grams(folded) if gram in by_gram for one in by_gram[gram]]
        return [at for at, needle in chain(likely, self._short) if needle.is_in(folded)] + self._always


def _grams(text: str) -> set[str]:
    return {text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)}


def _anchored(needle: Needle) -> str:
    if needle.at_end and not needle.at_start:
        return re.escape(needle.text[-_NEEDLE_MOST:]) + r"\z"
    literal = re.escape(needle.text[:_NEEDLE_MOST])
    return rf"\A{literal}" if needle.at_start else literal


def _compiled(expressions: Mapping[int, str], flags: int) -> bytes:
    """Return a database for `expressions`, empty where Hyperscan doesn't know one of them."""
    database = _hyperscan.Database(mode=_hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=[text.replace("\0", r"\x00").encode("utf-8", "surrogatepass") for text in expressions.values()],
            ids=list(expressions),
            elements=len(expressions),
            flags=flags | _hyperscan.HS_FLAG_SINGLEMATCH | (0 if flags == _UTF8 else _hyperscan.HS_FLAG_DOTALL),
        )
    except _hyperscan.HyperscanError:
        return b""
    return _hyperscan.dumpb(database)


def _scannable(expressions: Mapping[int, str], databases: Databases) -> dict[int, str]:
    """Return those of `expressions` of which Hyperscan tells what RE2 would; the others are left to RE2."""
    small = {at: text for at, text in expressions.items() if _is_small(text)}
    if not small or databases.get(_digest(small, _UTF8), lambda: _compiled(small, _UTF8)):
        return small
    return {at: text for at, text in small.items() if databases.get(_digest({0: text}, _UTF8), _compiler(text))}


def _compiler(expression: str) -> Callable[[], bytes]:
    return lambda: _compiled({0: expression}, _UTF8)


def _is_small(expression: str) -> bool:
    """Return whether Hyperscan compiles `expression` in a moment: large counted repeats can take it minutes."""
    counts = [int(most) for most in _COUNTED.findall(expression)]
    largest = _NESTED_MOST if "){" in expression else _COUNT_MOST if len(counts) > 1 else _COUNTS_MOST
    return "\0" not in expression and max(counts, default=0) <= largest and sum(counts) <= _COUNTS_MOST
