"""What a Sigma rule means, spelled out slowly from the specification, to judge the real matcher by.

It takes a rule's plain YAML content and knows nothing of how the matcher works: its own reading of conditions, its own
modifiers, no memory. Sentences in quotation marks are the specification's: "Sigma Rules Specification" 2.0.0 and its
modifiers appendix 2.1.0 (https://github.com/SigmaHQ/sigma-specification). Where they leave a choice, it is pySigma's.
"""

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from shield.event import Event
from shield.scorer.sigma.fields import getter, texts


class Refused(ValueError):
    """The rule has no meaning that the specification gives it."""


@dataclass(frozen=True)
class Seen:
    """An event as rules see it: `look` gives a field's value by its name (None where absent), `texts` are all texts."""

    look: Callable[[str], Any]
    texts: Sequence[str]


Test = Callable[[Seen], bool]
Placeholders = Mapping[str, Sequence[str]]


def matches(rule: Mapping[str, Any], event: Event, placeholders: Placeholders | None = None) -> bool:
    """Return whether the detection of `rule` matches `event`; its log source is not looked at."""
    return read_rule(rule, placeholders)(seen(event))


def matches_fields(
    rule: Mapping[str, Any], fields: Mapping[str, Any], placeholders: Placeholders | None = None
) -> bool:
    """Return whether the detection of `rule` matches an event that has just these fields."""
    words = [str(one) for value in fields.values() for one in elements(value) if one is not None]
    return read_rule(rule, placeholders)(Seen(fields.get, words))


def seen(event: Event) -> Seen:
    return Seen(lambda name: getter(name)(event), texts(event))


def read_rule(rule: Mapping[str, Any], placeholders: Placeholders | None = None) -> Test:
    """Read `rule` once, to ask it about many events.

    "The condition can be a list [...] They are logically linked with OR."
    """
    detection = rule["detection"]
    searches = {
        name: search_test(search, placeholders or {}) for name, search in detection.items() if name != "condition"
    }
    return any_of([Condition(text, searches).test() for text in as_list(detection["condition"])])


# ---- conditions ----


class Condition:
    """Reads a condition from left to right.

    "Operator Precedence (least to most binding): or, and, not, x of search-identifier, ( expression )"
    """

    def __init__(self, text: str, searches: Mapping[str, Test]) -> None:
        if "|" in text:
            raise Refused("aggregations are gone; correlation rules took their place")
        self._words = re.findall(r"[()]|[^\s()]+", text)
        self._searches = searches

    def test(self) -> Test:
        result = self._disjunction()
        if self._words:
            raise Refused(f"what is {self._words[0]!r} doing here?")
        return result

    def _disjunction(self) -> Test:
        parts = [self._conjunction()]
        while self._next("or"):
            parts.append(self._conjunction())
        return any_of(parts)

    def _conjunction(self) -> Test:
        parts = [self._negation()]
        while self._next("and"):
            parts.append(self._negation())
        return all_of(parts)

    def _negation(self) -> Test:
        if self._next("not"):
            return negation(self._negation())
        return self._operand()

    def _operand(self) -> Test:
        if self._next("("):
            inside = self._disjunction()
            if not self._next(")"):
                raise Refused("a bracket is not closed")
            return inside
        word = self._taken()
        if word in ("1", "any", "all") and self._next("of"):
            return (all_of if word == "all" else any_of)(self._matching(self._taken()))
        if word not in self._searches:
            raise Refused(f"there is no search {word!r}")
        return self._searches[word]

    def _matching(self, pattern: str) -> list[Test]:
        """The searches that a pattern, or `them`, stands for.

        "Matching is done with * wildcards (any number of characters) at arbitrary positions in the pattern."
        "Detections starting with underscores are excluded by convention", unless the pattern does too.
        """
        wanted = "*" if pattern == "them" else pattern
        found = [
            test
            for name, test in self._searches.items()
            if fnmatchcase(name, wanted) and (wanted.startswith("_") or not name.startswith("_"))
        ]
        if not found:
            raise Refused(f"no search is called {pattern!r}")
        return found

    def _next(self, word: str) -> bool:
        if self._words[:1] != [word]:
            return False
        self._words.pop(0)
        return True

    def _taken(self) -> str:
        if not self._words:
            raise Refused("the condition ends too early")
        return self._words.pop(0)


def any_of(parts: Sequence[Test]) -> Test:
    return lambda seen: any(part(seen) for part in parts)


def all_of(parts: Sequence[Test]) -> Test:
    return lambda seen: all(part(seen) for part in parts)


def negation(part: Test) -> Test:
    return lambda seen: not part(seen)


# ---- searches ----


def search_test(search: Any, placeholders: Placeholders) -> Test:
    """A search is a map, a list, or a single keyword.

    "All elements of a map are joined with a logical 'AND'." "All map items of a list are logically linked with 'OR'."
    Lists of strings "are applied to the full log message and are linked with a logical 'OR'."
    """
    if isinstance(search, Mapping):
        if not search:
            raise Refused("a search is empty")
        return all_of([item_test(key, values, placeholders) for key, values in search.items()])
    if isinstance(search, list):
        if not search:
            raise Refused("a search is empty")
        return any_of([search_test(one, placeholders) for one in search])
    return item_test("", search, placeholders)


def item_test(key: str, values: Any, placeholders: Placeholders) -> Test:
    """One field with its modifiers and its value or values; without a field's name, keywords.

    "Normally, lists of values are linked with *OR* [...]. This modifier [all] changes this to *AND*."
    "`neq`: The field is different from the specified values."
    """
    field, *modifiers = key.split("|")
    value_tests = [
        any_of([alternative_test(field, one) for one in alternatives(value, modifiers, placeholders)])
        for value in as_list(values)
    ]
    if not value_tests:  # pySigma reads an empty list as null
        value_tests = [alternative_test(field, Null())]
    joined = (all_of if "all" in modifiers else any_of)(value_tests)
    return negation(joined) if "neq" in modifiers else joined


def alternative_test(field: str, value: "Value") -> Test:
    """A field that is a list matches where any of its elements does; a keyword where any text of the event does."""
    if not field:
        if isinstance(value, Exists | Null):
            raise Refused("only a field can be absent")
        keyword = value.within()
        return lambda seen: any(keyword.matches(text, seen) for text in seen.texts)
    return lambda seen: any(value.matches(found, seen) for found in elements(seen.look(field)))


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def elements(found: Any) -> Sequence[Any]:
    return found if isinstance(found, list | tuple) else [found]


# ---- values ----


class Value:
    """One value of a rule, after its modifiers."""

    def matches(self, found: Any, seen: Seen) -> bool:
        """Return whether the value that an event has (None where it has none) is what the rule asks for."""
        raise NotImplementedError

    def within(self) -> "Value":
        """Return what a keyword of this value looks for in a text."""
        return self


@dataclass(frozen=True)
class Null(Value):
    """ "A null value is defined with `null`": the field is absent."""

    def matches(self, found: Any, seen: Seen) -> bool:
        return found is None


@dataclass(frozen=True)
class Truth(Value):
    """A boolean, which logs write in many ways: true, True, "TRUE"."""

    truth: bool

    def matches(self, found: Any, seen: Seen) -> bool:
        return shown(found).casefold() == shown(self.truth)

    def within(self) -> Value:
        return Text((shown(self.truth),)).within()


@dataclass(frozen=True)
class Number(Value):
    """ "The value is a string or integer value"; the log may have it as a number or as the text of one."""

    number: int | float

    def matches(self, found: Any, seen: Seen) -> bool:
        return number_in(found) == self.number

    def within(self) -> Value:
        return Text((str(int(self.number) if self.number == int(self.number) else self.number),)).within()


@dataclass(frozen=True)
class Compared(Value):
    """ "Field is less than the value", and so on. `unit` is the part of a date that is compared, if one is named."""

    operator: str
    number: int | float
    unit: str = ""

    def matches(self, found: Any, seen: Seen) -> bool:
        there = date_part(found, self.unit) if self.unit else number_in(found)
        if there is None:
            return False
        wanted = self.number
        return {
            "eq": there == wanted,
            "lt": there < wanted,
            "lte": there <= wanted,
            "gt": there > wanted,
            "gte": there >= wanted,
        }[self.operator]


ANY, ONE = "ANY", "ONE"


@dataclass(frozen=True)
class Special:
    """A wildcard: ANY number of characters, or exactly ONE; or the name of a placeholder."""

    kind: str
    name: str = ""


@dataclass(frozen=True)
class Text(Value):
    """ "All values are treated as case-insensitive strings", with wildcards: runs of characters between specials."""

    parts: tuple[str | Special, ...]
    cased: bool = False
    marked: bool = False  # a byte order mark stands before it

    def matches(self, found: Any, seen: Seen) -> bool:
        """ "An empty value is defined with `''`": a field that is absent or empty. Any other value must be present."""
        if found is None:
            return not self.parts
        pattern = (("\ufeff",) if self.marked else ()) + self.parts
        if self.cased:
            return covers(pattern, shown(found))
        return covers([one.casefold() if isinstance(one, str) else one for one in pattern], shown(found).casefold())

    def within(self) -> Value:
        return self.between(before=True, after=True)

    def between(self, before: bool = False, after: bool = False) -> "Text":
        star = (Special(ANY),)
        parts = (("\ufeff",) if self.marked else ()) + self.parts
        return replace(self, parts=(star if before else ()) + parts + (star if after else ()), marked=False)

    def plain(self) -> bytes:
        """The bytes of a text that must not have wildcards."""
        if any(isinstance(part, Special) for part in self.parts):
            raise Refused("a text that is encoded can't have wildcards")
        return (b"\xff\xfe" if self.marked else b"") + "".join(map(str, self.parts)).encode()


@dataclass(frozen=True)
class Expression(Value):
    """ "Value is handled as a regular expression [...]. Regex is matched case-sensitive by default."

    It is looked for anywhere in the text.
    """

    source: str
    flags: frozenset[str] = frozenset()
    at_start: bool = False
    at_end: bool = False

    def matches(self, found: Any, seen: Seen) -> bool:
        return found is not None and self.compiled().search(shown(found)) is not None

    def compiled(self) -> re.Pattern[str]:
        letters = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
        inline, rest = re.fullmatch(r"((?:\(\?[ims]+\))*)(.*)", self.source, re.DOTALL).groups()  # type: ignore[union-attr]
        source = as_pcre(rest, multiline="m" in self.flags or "m" in inline)
        source = inline + ("\\A" if self.at_start else "") + f"(?:{source})" + ("\\Z" if self.at_end else "")
        try:
            return re.compile(source, sum((letters[name] for name in self.flags), re.NOFLAG))
        except re.error as error:
            raise Refused(str(error)) from None


@dataclass(frozen=True)
class Network(Value):
    """ "The value is handled as an CIDR [...]. Supports both IPv4 and IPv6 notations." """

    network: ipaddress.IPv4Network | ipaddress.IPv6Network

    def matches(self, found: Any, seen: Seen) -> bool:
        try:
            return ipaddress.ip_address(shown(found)) in self.network
        except ValueError:
            return False


@dataclass(frozen=True)
class Exists(Value):
    """ "Defines that a certain field has to exist or must not exist [...]. Only verifies the presence of a field." """

    there: bool

    def matches(self, found: Any, seen: Seen) -> bool:
        return (found is not None) is self.there


@dataclass(frozen=True)
class Reference(Value):
    """ "A field reference can be used to compare fields of matched events": both must be there."""

    field: str
    before: bool = False
    after: bool = False

    def matches(self, found: Any, seen: Seen) -> bool:
        others = [other for other in elements(seen.look(self.field)) if other is not None]
        return found is not None and any(
            Text((shown(other),)).between(self.before, self.after).matches(found, seen) for other in others
        )


def covers(pattern: Sequence[str | Special], text: str) -> bool:
    """Whether `pattern` is the whole of `text`; `reached` is how much of it the parts so far can be.

    "`?` to replace a single mandatory character. `*` to replace an unbounded length wildcard."
    """
    reached = {0}
    for part in pattern:
        if isinstance(part, str):
            reached = {start + len(part) for start in reached if text.startswith(part, start)}
        elif part.kind == ONE:
            reached = {start + 1 for start in reached if start < len(text)}
        else:
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
    return len(text) in reached


def as_pcre(source: str, multiline: bool) -> str:
    """Write an expression of PCRE's for Python: there, classes (\\w, \\d, \\s, \\b) are about ASCII, cases are not.

    Engines differ on whether `$` also stands before a newline that ends the text; here it doesn't.
    """
    pieces = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", source, re.DOTALL)
    return "".join(
        r"\Z" if piece == "$" and not multiline else f"(?a:{piece})" if re.search(r"\\[wWdDsSbB]", piece) else piece
        for piece in pieces
    )


def shown(found: Any) -> str:
    if isinstance(found, bool):
        return str(found).lower()
    return "" if found is None else str(found)


def number_in(found: Any) -> int | float | None:
    """Telemetry has numbers, or texts of them: decimal digits, perhaps with a point, or hexadecimal ones after 0x."""
    if isinstance(found, bool):
        return None
    if isinstance(found, int | float):
        return found
    if isinstance(found, str) and re.fullmatch("[+-]?[0-9]+", found):
        return int(found)
    if isinstance(found, str) and re.fullmatch(r"[+-]?[0-9]+\.[0-9]+", found):
        return float(found)
    if isinstance(found, str) and re.fullmatch("0[xX][0-9a-fA-F]+", found):
        return int(found, 16)
    return None


def date_part(found: Any, unit: str) -> int | None:
    """ "Extracts a numeric value from a date. [...] Not designed to handle timezone or format conversions." """
    try:
        date = datetime.fromisoformat(found)
    except (TypeError, ValueError):
        return None
    return date.isocalendar().week if unit == "week" else int(getattr(date, unit))


# ---- from a rule's plain value to alternatives ----


def alternatives(value: Any, modifiers: Sequence[str], placeholders: Placeholders) -> list[Value]:
    """ "The value modifiers are applied in the given order to the value." "A value might also expand into
    multiple values", of which one has to match.
    """
    if "re" in modifiers and not (modifiers[0] == "re" and isinstance(value, str)):
        raise Refused("re is for unmodified texts")
    values: list[Value] = [Expression(value) if "re" in modifiers else read(value)]
    for name in modifiers:
        if name not in ("all", "neq", "re"):
            values = [new for old in values for new in modified(old, name, placeholders)]
    return values


def read(value: Any) -> Value:
    if value is None:
        return Null()
    if isinstance(value, bool):
        return Truth(value)
    if isinstance(value, int | float):
        return Number(value)
    if isinstance(value, str):
        return Text(tuple(wildcards(value)))
    raise Refused(f"a value can't be a {type(value).__name__}")


def wildcards(value: str) -> list[str | Special]:
    """ "The backslash character is used for escaping of wildcards `*` and `?` as well as the backslash itself."

    "Plain backslash not followed by a wildcard can be expressed as single or double backslash."
    """
    parts: list[str | Special] = []
    for token in re.findall(r"\\[\\*?]|.", value, re.DOTALL):
        if token in ("*", "?"):
            parts.append(Special(ANY if token == "*" else ONE))
        else:
            parts.append(token[-1])
    return in_runs(parts)


def in_runs(parts: Sequence[str | Special]) -> list[str | Special]:
    """The same with neighbouring characters put together."""
    runs: list[str | Special] = []
    for part in parts:
        if isinstance(part, str) and runs and isinstance(runs[-1], str):
            runs[-1] += part
        elif part != "":
            runs.append(part)
    return runs


def modified(value: Value, name: str, placeholders: Placeholders) -> list[Value]:
    """Apply one modifier. What it gives are alternatives."""
    if name == "expand" and isinstance(value, Text):
        return [replace(value, parts=tuple(in_runs(one))) for one in expanded(value.parts, placeholders)]
    if name == "expand" and isinstance(value, Expression):
        return [replace(value, source="".join(map(str, one))) for one in expanded((value.source,), placeholders, False)]
    change = MODIFIERS.get(type(value), {}).get(name)
    if change is None:
        raise Refused(f"there is no modifier {name} for a {type(value).__name__}")
    return change(value)


def placed(value: Text | Expression | Reference, before: bool = False, after: bool = False) -> Value:
    """ "Puts `*` wildcards around the values": before and after, or on one side only."""
    if isinstance(value, Text):
        return value.between(before, after)
    if isinstance(value, Expression):
        return replace(value, at_start=value.at_start or not before, at_end=value.at_end or not after)
    return replace(value, before=before, after=after)


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise Refused(str(error)) from None


DASHES = "-/\u2013\u2014\u2015"


def characters(parts: Sequence[str | Special]) -> list[str | Special]:
    return [one for part in parts for one in (part if isinstance(part, str) else [part])]


def dashed(letters: Sequence[str | Special]) -> list[list[str | Special]]:
    """ "Creates all possible permutations of the `-`, `/`, en dash, em dash, and horizontal bar characters."

    pySigma takes a dash or slash for one that begins an option where it stands before a word and not within one.
    """
    for place, letter in enumerate(letters):
        if letter in ("-", "/") and not is_word(letters, place - 1) and is_word(letters, place + 1):
            before, after = list(letters[:place]), dashed(letters[place + 1 :])
            return [[*before, dash, *rest] for dash in DASHES for rest in after]
    return [list(letters)]


def is_word(letters: Sequence[str | Special], place: int) -> bool:
    letter = letters[place] if 0 <= place < len(letters) else None
    return isinstance(letter, str) and (letter.isalnum() or letter == "_")


def expanded(
    parts: Sequence[str | Special], placeholders: Placeholders, patterns: bool = True
) -> list[list[str | Special]]:
    """ "Replacement of placeholders with a single, multiple or-linked values or patterns."

    "A plain percent character can be used by escaping it with a backslash." "If the tool isn't able to handle
    placeholders, it must reject the rule." In a regular expression what stands in its place is plain text.
    """
    results: list[list[str | Special]] = [[]]
    for part in parts:
        for piece in re.split(r"(\\%|%[^%\\]+%)", part) if isinstance(part, str) else [part]:
            choices: list[list[str | Special]]
            if piece == "\\%":
                choices = [["%"]]
            elif isinstance(piece, str) and re.fullmatch(r"%[^%\\]+%", piece):
                if not placeholders.get(piece[1:-1]):
                    raise Refused(f"nothing is known to put in place of {piece}")
                choices = [wildcards(one) if patterns else [re.escape(one)] for one in placeholders[piece[1:-1]]]
            else:
                choices = [[piece]]
            results = [[*before, *choice] for before in results for choice in choices]
    return results


def encoded(value: Text, encoding: str) -> Text:
    """ "Transforms value to UTF16-LE encoding, e.g. `cmd` > `63 00 6d 00 64 00`": bytes that are then read as UTF-8."""
    try:
        parts = [part.encode(encoding).decode() if isinstance(part, str) else part for part in value.parts]
    except UnicodeDecodeError:
        raise Refused("bytes that are no text") from None
    return replace(value, parts=tuple(parts))


def offsets(data: bytes) -> list[str]:
    """ "There are three variants for shifts by zero to two bytes and except the first and last byte the encoded values
    have a static part in the middle that can be recognized": the characters all of whose six bits are the value's.
    """
    variants: list[str] = []
    for shift in range(3):
        first_bit, last_bit = 8 * shift, 8 * (shift + len(data))
        text = base64.b64encode(b" " * shift + data).decode()
        variants.append("".join(text[at] for at in range(len(text)) if first_bit <= 6 * at and 6 * at + 6 <= last_bit))
    return variants


# ---- which modifier makes what of which value ----

LETTERS = {"i": "i", "ignorecase": "i", "m": "m", "multiline": "m", "s": "s", "dotall": "s"}
OPERATORS = ("lt", "lte", "gt", "gte")
UNITS = ("minute", "hour", "day", "week", "month", "year")
Change = Callable[[Any], list[Value]]


def each(names: Sequence[str], change: Callable[[Any, str], Value]) -> dict[str, Change]:
    return {name: lambda value, name=name: [change(value, name)] for name in names}


PLACES: dict[str, Change] = {
    "contains": lambda value: [placed(value, before=True, after=True)],
    "startswith": lambda value: [placed(value, after=True)],
    "endswith": lambda value: [placed(value, before=True)],
}
MODIFIERS: dict[type[Value], dict[str, Change]] = {
    Text: PLACES
    | {
        "cased": lambda text: [replace(text, cased=True)],
        "windash": lambda text: [replace(text, parts=tuple(in_runs(one))) for one in dashed(characters(text.parts))],
        "wide": lambda text: [encoded(text, "utf-16-le")],
        "utf16le": lambda text: [encoded(text, "utf-16-le")],
        "utf16be": lambda text: [encoded(text, "utf-16-be")],
        "utf16": lambda text: [replace(encoded(text, "utf-16-le"), marked=True)],
        "base64": lambda text: [replace(text, parts=(base64.b64encode(text.plain()).decode(),), marked=False)],
        "base64offset": lambda text: [replace(text, parts=(one,), marked=False) for one in offsets(text.plain())],
        "cidr": lambda text: [Network(network(text.plain().decode()))],
        "fieldref": lambda text: [Reference(text.plain().decode())],
    },
    Expression: PLACES
    | each(tuple(LETTERS), lambda expression, name: replace(expression, flags=expression.flags | {LETTERS[name]})),
    Reference: PLACES,
    Truth: {"exists": lambda value: [Exists(value.truth)]},
    Number: each(OPERATORS, lambda value, name: Compared(name, value.number))
    | each(UNITS, lambda value, name: Compared("eq", value.number, unit=name)),
    Compared: each(OPERATORS, lambda value, name: replace(value, operator=name)),
}
