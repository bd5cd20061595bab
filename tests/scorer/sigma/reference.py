"""What a Sigma rule means, spelled out slowly from the specification, to compare the real matcher with.

It reads the rule's plain YAML content and takes an event as a mapping of field names to values. No parser, no compiler,
no memory: https://sigmahq.io/docs/basics/rules.html, conditions.html and modifiers.html.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

ANY, ONE = object(), object()
DASHES = "-/\u2013\u2014\u2015"


def matches(rule: Mapping[str, Any], event: Mapping[str, Any], texts: list[str]) -> bool:
    """Whether `rule` matches an event of these fields, all of whose texts are `texts`."""
    detection = rule["detection"]
    searches = {name: search for name, search in detection.items() if name not in ("condition", "timeframe")}
    conditions = detection["condition"]
    return any(
        Condition(condition, searches, event, texts).holds()
        for condition in (conditions if isinstance(conditions, list) else [conditions])
    )


class Condition:
    """Reads a condition from left to right: `or` binds least, then `and`, then `not`."""

    def __init__(self, text: str, searches: Mapping[str, Any], event: Mapping[str, Any], texts: list[str]) -> None:
        self._words = re.findall(r"[()]|[^\s()]+", text)
        self._searches = searches
        self._event = event
        self._texts = texts

    def holds(self) -> bool:
        result = self._either()
        assert not self._words
        return result

    def _either(self) -> bool:
        results = [self._both()]
        while self._next("or"):
            results.append(self._both())
        return any(results)

    def _both(self) -> bool:
        results = [self._one()]
        while self._next("and"):
            results.append(self._one())
        return all(results)

    def _one(self) -> bool:
        if self._next("not"):
            return not self._one()
        if self._next("("):
            result = self._either()
            assert self._next(")")
            return result
        word = self._words.pop(0)
        if self._next("of"):
            return self._quantified(word, self._words.pop(0))
        return search_holds(self._searches[word], self._event, self._texts)

    def _quantified(self, quantity: str, names: str) -> bool:
        named = [
            search_holds(search, self._event, self._texts)
            for name, search in self._searches.items()
            if not name.startswith("_") and (names == "them" or fnmatchcase(name, names))
        ]
        return all(named) if quantity == "all" else any(named)

    def _next(self, word: str) -> bool:
        if self._words[:1] != [word]:
            return False
        self._words.pop(0)
        return True


def search_holds(search: Any, event: Mapping[str, Any], texts: list[str]) -> bool:
    """A mapping: all of its items. A list: one of its mappings or keywords."""
    if isinstance(search, Mapping):
        return all(item_holds(key, values, event, texts) for key, values in search.items())
    if isinstance(search, list):
        return any(search_holds(one, event, texts) for one in search)
    return item_holds("", search, event, texts)


def item_holds(key: str, values: Any, event: Mapping[str, Any], texts: list[str]) -> bool:
    """One of the values, with `all` each of them, must match the field; a keyword is looked for in every text."""
    field, *modifiers = key.split("|")
    found = event.get(field) if field else texts
    keyword = not field
    results = [
        any(value_holds(value, modifiers, one, keyword) for one in (found if isinstance(found, list) else [found]))
        for value in (values if isinstance(values, list) else [values])
    ]
    return all(results) if "all" in modifiers else any(results)


def value_holds(value: Any, modifiers: list[str], found: Any, keyword: bool) -> bool:
    """Whether one value of a rule matches one value of an event, None where the event has none."""
    for modifier, test in (("exists", exists), ("re", expression), ("cidr", network)):
        if modifier in modifiers:
            return test(value, modifiers, found)
    if value is None:
        return found is None
    if isinstance(value, bool):
        return shown(found) == str(value).lower()
    if isinstance(value, int) and not keyword:
        return compared(value, modifiers, found)
    return text_holds(str(value), modifiers, found, keyword)


def text_holds(value: str, modifiers: list[str], found: Any, keyword: bool) -> bool:
    if value == "" and not {"contains", "startswith", "endswith"} & set(modifiers):
        return found in (None, "")
    if found is None:
        return False
    text = shown(found) if "cased" in modifiers else shown(found).casefold()
    for spelling in spellings(tokens(value), "windash" in modifiers):
        pattern = spelling if "cased" in modifiers else [t.casefold() if isinstance(t, str) else t for t in spelling]
        before = [ANY] if keyword or {"contains", "endswith"} & set(modifiers) else []
        after = [ANY] if keyword or {"contains", "startswith"} & set(modifiers) else []
        if wildcard([*before, *pattern, *after], text):
            return True
    return False


def tokens(value: str) -> list[Any]:
    """The characters of a value, with `*` and `?` as wildcards unless a backslash stands before them."""
    result: list[Any] = []
    rest = value
    while rest:
        if rest[0] == "\\" and rest[1:2] in ("\\", "*", "?") and rest[1:2]:
            result.append(rest[1])
            rest = rest[2:]
        else:
            result.append({"*": ANY, "?": ONE}.get(rest[0], rest[0]))
            rest = rest[1:]
    return result


def spellings(pattern: list[Any], windash: bool) -> Iterator[list[Any]]:
    """With windash, every dash or slash that begins an option may be any of five characters."""
    for place, token in enumerate(pattern):
        if windash and token in ("-", "/") and begins_option(pattern, place):
            for dash in DASHES:
                for rest in spellings(pattern[place + 1 :], windash):
                    yield [*pattern[:place], dash, *rest]
            return
    yield pattern


def begins_option(pattern: list[Any], place: int) -> bool:
    before, after = (pattern[at : at + 1] if at >= 0 else [] for at in (place - 1, place + 1))
    return not any(map(is_word, before)) and any(map(is_word, after))


def is_word(token: Any) -> bool:
    return isinstance(token, str) and (token.isalnum() or token == "_")


def wildcard(pattern: list[Any], text: str) -> bool:
    """Whether a pattern covers a whole text; `reached` are the lengths of text that its parts so far can cover."""
    reached = {0}
    for token in pattern:
        if token is ANY:
            reached = {end for start in reached for end in range(start, len(text) + 1)}
        elif token is ONE:
            reached = {start + 1 for start in reached if start < len(text)}
        else:
            reached = {start + len(token) for start in reached if text.startswith(token, start)}
    return len(text) in reached


def exists(value: Any, modifiers: list[str], found: Any) -> bool:
    return (found is not None) is value


def expression(value: Any, modifiers: list[str], found: Any) -> bool:
    letters = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
    flags = sum((letters[name] for name in modifiers if name in letters), re.ASCII)
    if "m" not in modifiers:
        value = value.replace("$", r"\Z")  # the end itself: engines differ on a newline before it
    return found is not None and re.search(value, shown(found), flags) is not None


def network(value: Any, modifiers: list[str], found: Any) -> bool:
    try:
        return ipaddress.ip_address(shown(found)) in ipaddress.ip_network(value)
    except ValueError:
        return False


def compared(value: int, modifiers: list[str], found: Any) -> bool:
    if isinstance(found, bool) or found is None:
        return False
    try:
        number = int(found, 0) if isinstance(found, str) else found
    except ValueError:
        return False
    results = {"gt": number > value, "gte": number >= value, "lt": number < value, "lte": number <= value}
    return next((results[name] for name in modifiers if name in results), number == value)


def shown(found: Any) -> str:
    if isinstance(found, bool):
        return str(found).lower()
    return "" if found is None else str(found)
