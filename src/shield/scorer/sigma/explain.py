"""Why a rule matches an event, or doesn't: its condition as a tree in which each part says whether it holds.

Of a part that failed it is told what the event has instead, shortened around where it came nearest to what was asked.
"""

from collections.abc import Iterator
from difflib import SequenceMatcher

from msgspec import Struct

from shield.event import Event
from shield.scorer.sigma import logsource
from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation
from shield.scorer.sigma.evaluate import View, compiled, matched
from shield.scorer.sigma.fields import FieldValue
from shield.scorer.sigma.logsource import LogSource
from shield.scorer.sigma.predicate import place_of
from shield.scorer.sigma.predicate import shown as text_of
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.value import (
    Compare,
    Exists,
    Expression,
    FieldReference,
    Network,
    Null,
    Text,
    TimePart,
    Value,
    Wildcard,
    shown,
)

VALUE_MOST = 120
_COMPARED = 2000
_ALTERNATIVES_TOLD = 3
_FAILED_SHOWN = 12
_WORDS = {"and": "all of these", "or": "at least one of these", "not": "not this"}


class Leaf(Struct, frozen=True):
    """A comparison: what was asked in words, and what the event has there (`""` where that adds nothing)."""

    holds: bool
    asked: str
    found: str
    near: float = 0


class Branch(Struct, frozen=True):
    """Parts joined by `and`, `or` or (a single one) `not`."""

    holds: bool
    word: str
    parts: "tuple[Node, ...]"


Node = Leaf | Branch


class Explanation(Struct, frozen=True):
    """What became of one rule and one event.

    `elsewhere` says what the rule is about where that is not this event, and nothing else is known then. `tree` is the
    condition. `reason` is why it doesn't hold, in words; `exception` the part under a `not` that hid the event.
    """

    matches: bool
    tree: Node | None = None
    elsewhere: str = ""
    reason: str = ""
    exception: Node | None = None


def explain(rule: Rule, event: Event, *, nearly: bool = True) -> Explanation:
    """Return why `rule` matches `event` or not.

    Unless `nearly`, it isn't looked for where a value nearly matched: that takes long where there are many values.
    """
    source = logsource.of(event)
    if not logsource.covers(rule, source):
        return Explanation(
            False, elsewhere=f"the rule is about {_rules_source(rule)}, the event is of {_shown(source)}"
        )
    tree = _node(rule.condition, View(event), nearly)
    if tree.holds:
        return Explanation(True, tree)
    return Explanation(False, tree, reason=_reason(tree), exception=_exception(tree))


def first_failures(node: Node) -> Iterator[Leaf]:
    """Yield the comparisons that failed in the first part that made `node`, which fails, fail; the nearest first."""
    match node:
        case Leaf():
            yield node
        case Branch(word="and"):
            found = (list(first_failures(part)) for part in node.parts if not part.holds)
            yield from next(filter(None, found), ())
        case Branch(word="or"):
            for part in sorted(node.parts, key=nearness, reverse=True):
                yield from first_failures(part)
        case _:
            return


class Line(Struct, frozen=True):
    """One line of a condition written as a tree, `depth` steps in."""

    depth: int
    holds: bool
    text: str


def lines(node: Node, depth: int = 0) -> Iterator[Line]:
    """Yield a condition as lines; of many alternatives that failed, a few stand for all."""
    match node:
        case Leaf():
            yield Line(depth, node.holds, node.asked + (f": {node.found}" if node.found else ""))
        case Branch(word=word):
            yield Line(depth, node.holds, _WORDS[word])
            failed = 0
            for part in node.parts:
                failed += word == "or" and isinstance(part, Leaf) and not part.holds
                if failed <= _FAILED_SHOWN or part.holds or isinstance(part, Branch):
                    yield from lines(part, depth + 1)
            if failed > _FAILED_SHOWN:
                yield Line(depth + 1, False, f"and {failed - _FAILED_SHOWN} more that do not hold")


def nearness(node: Node) -> float:
    """Return how near a part that failed came to holding, from 0 to 1: the alternative that did best is told first."""
    if isinstance(node, Leaf):
        return 1 if node.holds else node.near / 2
    if node.word == "not":
        return float(node.holds)
    found = [nearness(part) for part in node.parts]
    return max(found) if node.word == "or" else sum(found) / len(found)


def readable(clause: Clause) -> Node:
    """Return a condition as a tree that says nothing of any event."""
    match clause:
        case Comparison():
            return Leaf(True, _asked(clause), "")
        case Negation(part):
            return Branch(True, "not", (readable(part),))
        case AllOf(parts):
            return Branch(True, "and", tuple(map(readable, parts)))
        case AnyOf(parts):
            return Branch(True, "or", tuple(map(readable, parts)))


def _node(clause: Clause, view: View, nearly: bool) -> Node:
    match clause:
        case Comparison():
            return _leaf(clause, view, nearly)
        case Negation(part):
            inner = _node(part, view, nearly)
            return Branch(not inner.holds, "not", (inner,))
        case AllOf(parts):
            found = tuple(_node(part, view, nearly) for part in parts)
            return Branch(all(part.holds for part in found), "and", found)
        case AnyOf(parts):
            found = tuple(_node(part, view, nearly) for part in parts)
            return Branch(any(part.holds for part in found), "or", found)


def _leaf(comparison: Comparison, view: View, nearly: bool) -> Leaf:
    holds = compiled(comparison)(view)
    value, asked = comparison.value, _asked(comparison)
    found = view.found(comparison.field)
    if holds:
        text = matched(comparison, view)
        return Leaf(True, asked, _around(text, place_of(value, text)), 1)
    if isinstance(value, FieldReference):
        return Leaf(False, asked, f"{_plain(found)} and {_plain(view.found(value.field))}")
    if found is None or not nearly:
        return Leaf(False, asked, _plain(found))
    best, place, near = _nearest(value, found)
    return Leaf(False, asked, _around(best, place), near)


def _nearest(value: Value, found: FieldValue) -> tuple[str, int, float]:
    """Return the text of `found` nearest to what is asked, where in it that is, and how near, from 0 to 1."""
    candidates = [text_of(one) for one in found] if isinstance(found, tuple) else [text_of(found)]
    pieces = [part for part in value.parts if isinstance(part, str)] if isinstance(value, Text | Expression) else []
    wanted = max(pieces, key=len, default="").casefold()
    best: tuple[str, int, float] = (candidates[0] if candidates else "", 0, 0.0)
    for text in candidates:
        place, near = _likeness(wanted, text)
        if near > best[2]:
            best = text, place, near
    return best


def _likeness(wanted: str, text: str) -> tuple[int, float]:
    """Return where the longest run of characters begins that `text` shares with `wanted`, and its share of `wanted`."""
    if not wanted or not text:
        return 0, 0.0
    folded = text[:_COMPARED].casefold()
    run = SequenceMatcher(None, folded, wanted[:_COMPARED], autojunk=False).find_longest_match()
    return (run.a, run.size / len(wanted)) if run.size > 1 else (0, 0.0)


def _around(text: str, place: int) -> str:
    """Return `text` quoted, or where it is long the part of it around `place`."""
    begin = max(0, place - VALUE_MOST // 3) if len(text) > VALUE_MOST else 0
    end = begin + VALUE_MOST
    return f"{'…' if begin else ''}'{text[begin:end]}'{'…' if end < len(text) else ''}"


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_MOST else f"{text[:VALUE_MOST]}…"


def _plain(found: FieldValue) -> str:
    if found is None:
        return "absent"
    return _around(", ".join(map(text_of, found)) if isinstance(found, tuple) else text_of(found), 0)


def _asked(comparison: Comparison) -> str:
    """Return a comparison in words: `Image ends with '/bash'`."""
    field, value = comparison.field, comparison.value
    match value:
        case Text(parts):
            return f"{field or 'any text'} {_of_text(parts, value)}"
        case Expression():
            return f"{field or 'any text'} matches the expression {_cut(shown(value))}"
        case Null() | Exists(exists=False):
            return f"{field} is absent"
        case Exists():
            return f"{field} is there"
        case Network(cidr):
            return f"{field} is in {cidr}"
        case FieldReference(other, starts, ends):
            verb = {(False, False): "equals", (True, False): "starts with", (False, True): "ends with"}
            return f"{field} {verb.get((starts, ends), 'contains')} the field {other}"
        case Compare() | TimePart():
            return f"{field} {shown(value)}"
        case _:
            return f"{field} is {shown(value)}"


def _of_text(parts: tuple[object, ...], value: Text) -> str:
    cased = " (in this case)" if value.cased else ""
    match parts:
        case ():
            return "is empty"
        case (Wildcard.MANY,):
            return "is there"
        case (Wildcard.MANY, str(inner), Wildcard.MANY):
            return f"contains '{inner}'{cased}"
        case (Wildcard.MANY, str(end)):
            return f"ends with '{end}'{cased}"
        case (str(start), Wildcard.MANY):
            return f"starts with '{start}'{cased}"
        case (str(whole),):
            return f"is '{whole}'{cased}"
        case _:
            return f"is like '{shown(value)}'{cased}"


def _reason(tree: Node) -> str:
    """Return why a condition that fails does, in words."""
    hidden = _exception(tree)
    if hidden is not None:
        told = "; ".join(f"{leaf.asked}{f', {leaf.found}' * bool(leaf.found)}" for leaf in _held(hidden))
        return "an exception hides it" + (f": {told}" if told else "")
    failed = list(first_failures(tree))
    if len(failed) == 1:
        return _told(failed[0])
    begin = "; ".join(_told(leaf) for leaf in failed[:_ALTERNATIVES_TOLD])
    more = len(failed) - _ALTERNATIVES_TOLD
    return f"none of {len(failed)} alternatives holds: {begin}" + (f"; and {more} more" if more > 0 else "")


def _told(leaf: Leaf) -> str:
    return f"{leaf.asked} is not so, it is {leaf.found}"


def _exception(tree: Node) -> Node | None:
    """Return the part under a `not` that holds, and without which `tree` would hold; None where there is none."""
    if isinstance(tree, Leaf):
        return None
    if tree.word == "not":
        return tree.parts[0]
    failed = [part for part in tree.parts if not part.holds]
    exceptions = [_exception(part) for part in failed]
    if not failed or (tree.word == "and" and None in exceptions):
        return None
    return next((one for one in exceptions if one is not None), None)


def _held(node: Node) -> Iterator[Leaf]:
    """Yield the comparisons that make `node`, which holds, hold."""
    match node:
        case Leaf():
            yield node
        case Branch(word="not"):
            return
        case Branch():
            for part in node.parts:
                if part.holds:
                    yield from _held(part)


def _rules_source(rule: Rule) -> str:
    return _shown(LogSource(rule.product or "", rule.service or "", rule.category or "", False))


def _shown(source: LogSource) -> str:
    names = {"product": source.product, "service": source.service, "category": source.category}
    return ", ".join(f"{key} {name}" for key, name in names.items() if name) or "no log source that Sigma names"
