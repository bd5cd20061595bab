"""What is wrong with a rule, or could be better: found by reading it, without any event.

An error keeps a rule from being used, or from ever doing what it says; a warning is what a reviewer would ask about.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Literal, cast

from msgspec import Struct

from shield.policy.document import Document, DocumentError
from shield.scorer.sigma import taxonomy
from shield.scorer.sigma.condition import comparisons
from shield.scorer.sigma.correlation.chain import Names, chain
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.filter_rule import ANY, Filter, covers
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.value import Expression, NoSuchPlaceholder, Placeholder, expanded

Severity = Literal["error", "warning"]
Item = Rule | Correlation | Filter
Steps = tuple[str | int, ...]

_REPEATS_MOST = 1000
"""RE2 counts no further, and each count is a state of its own."""
_EXPRESSION_SHOWN = 60

_CONDITION_WORDS = frozenset(("and", "or", "not", "of", "all", "any", "1", "them"))
_WORD = re.compile(r"[^\s()|,]+")
_TECHNIQUE = re.compile(r"t\d{4}(\.\d{3})?")
_OTHER_OF_ATTACK = re.compile(r"(?:[gsc]|ds)\d{4}")
_COUNTED = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")


class Finding(Struct, frozen=True):
    """One thing that a review found: where, what, and what to do about it."""

    severity: Severity
    file: str
    line: int
    key: str
    problem: str
    remedy: str

    @property
    def text(self) -> str:
        """The finding in a line, the way compilers write: `FILE:LINE: SEVERITY: KEY: PROBLEM; REMEDY`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.severity}: {f'{self.key}: ' if self.key else ''}{self.problem}; {self.remedy}"


class Subject(Struct, frozen=True):
    """What of a rule is needed to judge it together with others: it, and where its id and its references stand."""

    item: Item
    where: DocumentError
    references: tuple[tuple[str, DocumentError], ...] = ()


def refusal(error: DocumentError) -> Finding:
    """Return the finding that a document can't be read."""
    return _finding("error", error)


def review(document: Document, item: Item, placeholders: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Yield what is wrong with one rule by itself; `placeholders` are the policy's."""
    for check in _CHECKS[type(item)]:
        yield from check(document, item)
    if isinstance(item, Rule):
        yield from _without_values(document, item, placeholders)


def subject(document: Document, item: Item) -> Subject:
    """Return what `review_all` needs to know of a rule."""
    where = document.error(("id",), "", "")
    if isinstance(item, Rule) or (isinstance(item, Filter) and item.rules == ANY):
        return Subject(item, where)
    steps: Steps = ("correlation" if isinstance(item, Correlation) else "filter", "rules")
    listed = isinstance(_at(document.plain, steps), list)
    places = [document.error((*steps, number) if listed else steps, "", "") for number in range(len(item.rules))]
    return Subject(item, where, tuple(zip(item.rules, places, strict=True)))


def review_all(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Yield what is wrong with rules as parts of a whole: the same id twice, references that lead nowhere."""
    first: dict[str, Subject] = {}
    for one in subjects:
        known = first.setdefault(one.item.id, one)
        if known is not one:
            place = f"{known.where.name}:{known.where.line}"
            yield _placed("error", one.where, f"{one.item.id} is the id of {place} already", "give each its own")
    rules = [one.item for one in first.values() if isinstance(one.item, Rule)]
    correlations = [one.item for one in first.values() if isinstance(one.item, Correlation)]
    names = Names([*rules, *correlations])
    lost: set[str] = set()
    for one in first.values():
        found = list(_unresolved(one, names, {rule.id: rule for rule in rules}))
        yield from found
        if found:
            lost.add(one.item.id)
    yield from _circles([one for one in first.values() if one.item.id not in lost], correlations, rules)


def _unresolved(one: Subject, names: Names, rules: Mapping[str, Rule]) -> Iterator[Finding]:
    for reference, place in one.references:
        try:
            target = names.id_of(reference)
        except LookupError as error:
            problem, _, remedy = str(error.args[0]).partition("; ")
            yield _placed("error", place, problem, remedy)
            continue
        if isinstance(one.item, Filter) and (target not in rules or not covers(one.item, rules[target])):
            remedy = "correct the filter's logsource, or take the rule out"
            yield _placed("error", place, f"{reference!r} has another log source", remedy)


def _circles(left: Sequence[Subject], correlations: Sequence[Correlation], rules: Sequence[Rule]) -> Iterator[Finding]:
    """Yield a finding for each correlation whose references are all there, and which can't be used all the same."""
    problems = chain(correlations, rules).problems
    for one in left:
        begin = f"{one.item.source}: correlation {one.item.title!r}: "
        for problem in problems:
            if isinstance(one.item, Correlation) and problem.startswith(begin):
                told, _, remedy = problem.removeprefix(begin).rpartition("; ")
                yield _placed("error", one.where, told, remedy, "correlation.rules")


def _tags(document: Document, item: Item) -> Iterator[Finding]:
    """Yield malformed ATT&CK tags, and that no technique is named."""
    found = _at(document.plain, ("tags",))
    tags = cast("list[Any]", found) if isinstance(found, list) else []
    techniques = 0
    for number, tag in enumerate(tags):
        if not isinstance(tag, str) or not tag.lower().startswith("attack."):
            continue
        name = tag[len("attack.") :]
        techniques += bool(_TECHNIQUE.fullmatch(name.lower()))
        problem, remedy = _wrong_with(name)
        if problem:
            yield _warning(document, ("tags", number), f"{tag!r} {problem}", remedy)
    if not techniques:
        yield _warning(document, ("tags",), "no ATT&CK technique is named", "add one, as in attack.t1059.004")


def _wrong_with(name: str) -> tuple[str, str]:
    """Return what is wrong with an ATT&CK tag less its `attack.`, and what to write instead; nothing if it is right."""
    lower = name.lower()
    if name == lower and (name in taxonomy.TACTICS or _TECHNIQUE.fullmatch(name) or _OTHER_OF_ATTACK.fullmatch(name)):
        return "", ""
    meant = lower.replace("_", "-")
    if meant in taxonomy.TACTICS or _TECHNIQUE.fullmatch(meant):
        return "is not how Sigma writes it", f"write attack.{meant}"
    if re.match(r"t\d", lower):
        return "is no technique", "write it as in attack.t1059 or attack.t1059.004"
    close = get_close_matches(meant, taxonomy.TACTICS, 1)
    return "is no tactic", f"did you mean attack.{close[0]}?" if close else "see https://attack.mitre.org/tactics/"


def _described(document: Document, item: Item) -> Iterator[Finding]:
    """Yield which of the parts that people rely on are missing."""
    plain = cast("dict[str, Any]", document.plain)
    if not plain.get("id"):
        yield _warning(document, ("id",), "there is none", "add a fresh UUID, as uuidgen makes it")
    if isinstance(item, Filter):
        return
    if not plain.get("level"):
        yield _warning(document, ("level",), "there is none, so it counts as informational", "add one")
    if not any(str(note).strip() for note in item.falsepositives):
        remedy = "say what harmless things match, or what you looked at and found none"
        yield _warning(document, ("falsepositives",), "none are named", remedy)


def _source(document: Document, item: Item) -> Iterator[Finding]:
    """Yield that Shield reads no log of this kind."""
    if isinstance(item, Correlation):
        return
    unread = taxonomy.unread(item.product, item.service, item.category)
    if unread:
        key = unread.partition(":")[0]
        known: Mapping[str, object] = {"category": taxonomy.FIELDS, "product": taxonomy.SERVICES}.get(key, {})
        wanted = unread.partition(": ")[2]
        names = list(known) or [name for services in taxonomy.SERVICES.values() for name in services]
        close = get_close_matches(wanted, names, 1)
        remedy = f"did you mean {close[0]}?" if close else "leave it out, or know that it stays silent"
        yield _warning(document, ("logsource", key), f"Shield reads no log of {unread}", remedy)


def _fields(document: Document, item: Item) -> Iterator[Finding]:
    """Yield the fields that no event of the rule's log source has."""
    if isinstance(item, Correlation):
        return
    category = item.category if item.category in taxonomy.FIELDS else None
    if category is None and item.category:
        return
    for steps, name in _named(_detections(document, item)):
        if not _is_known(category, name):
            about = f"events of {category}" if category else "events"
            names = taxonomy.FIELDS[category] if category else ()
            close = next((one for one in names if one.lower() == name.lower()), None)
            similar = [close] if close else get_close_matches(name, names, 1)
            remedy = f"did you mean {similar[0]}?" if similar else "see the fields in the documentation of rules"
            yield _warning(document, steps, f"{about} have no field {name!r}", remedy)


def _is_known(category: str | None, name: str) -> bool:
    if category:
        return taxonomy.knows(category, name)
    return taxonomy.leads_somewhere(name) if taxonomy.is_path(name) else True


def _unused(document: Document, item: Item) -> Iterator[Finding]:
    """Yield the detections that no condition names."""
    if isinstance(item, Correlation):
        return
    base, detections = _detections(document, item)
    found = detections.get("condition")
    conditions = cast("list[Any]", found) if isinstance(found, list) else [found]
    words = {word for condition in conditions for word in _WORD.findall(str(condition))}
    for name in detections:
        if name not in ("condition", "timeframe", "rules") and not _names(words, str(name)):
            yield _warning(document, (*base, name), "no condition names it", "use it, or take it out")


def _names(words: set[str], detection: str) -> bool:
    if detection in words or ("them" in words and not detection.startswith("_")):
        return True
    return any("*" in word and fnmatchcase(detection, word) for word in words - _CONDITION_WORDS)


def _expressions(document: Document, item: Item) -> Iterator[Finding]:
    """Yield the regular expressions that are slow."""
    if isinstance(item, Correlation):
        return
    places = {name: steps for steps, name in reversed(list(_named(_detections(document, item), "re")))}
    for one in dict.fromkeys(comparisons(item.condition)):
        if isinstance(one.value, Expression):
            text = "".join("x" if isinstance(part, Placeholder) else part for part in one.value.parts)
            problem, remedy = slowness(text)
            if problem:
                shown = text if len(text) <= _EXPRESSION_SHOWN else f"{text[:_EXPRESSION_SHOWN]}..."
                yield _warning(document, places.get(one.field, ("detection",)), f"{shown!r} {problem}", remedy)


def slowness(expression: str) -> tuple[str, str]:
    """Return why a regular expression is slow, and the remedy; nothing if it is not.

    What would take time out of proportion to the text (look-around, back references) RE2 refuses, and so does `parse`.
    """
    repeats = max((_most(match) for match in _COUNTED.finditer(expression)), default=0)
    if repeats < _REPEATS_MOST:
        return "", ""
    return f"counts up to {repeats} repeats, which takes much memory and time", "count fewer, or write + or *"


def _most(counted: re.Match[str]) -> int:
    return int(counted[2] or counted[1])


def _without_values(document: Document, rule: Rule, placeholders: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    for one in comparisons(rule.condition):
        try:
            expanded(one.value, placeholders)
        except NoSuchPlaceholder as error:
            remedy = f"give it values in the policy (placeholders.{error})"
            yield _finding("error", document.error(("detection",), f"%{error}% has no values", remedy))
            return


def _detections(document: Document, item: Item) -> tuple[Steps, dict[str, Any]]:
    """Return where a rule's detections stand, and them."""
    base = "filter" if isinstance(item, Filter) else "detection"
    found = _at(document.plain, (base,))
    return (base,), cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _named(detections: tuple[Steps, dict[str, Any]], modifier: str = "") -> Iterator[tuple[Steps, str]]:
    """Yield every field that detections name, and where; only those with `modifier` if one is given."""
    base, found = detections
    waiting: list[tuple[Steps, Any]] = [((*base, key), value) for key, value in found.items() if key != "condition"]
    while waiting:
        steps, part = waiting.pop(0)
        if isinstance(part, list):
            waiting += [((*steps, number), inner) for number, inner in enumerate(cast("list[Any]", part))]
        elif isinstance(part, dict):
            for key in cast("dict[Any, Any]", part):
                name, *modifiers = str(key).split("|")
                if name and (not modifier or modifier in modifiers):
                    yield (*steps, str(key)), name


def _at(plain: Any, steps: Steps) -> Any:
    for step in steps:
        plain = cast("dict[Any, Any]", plain).get(step) if isinstance(plain, dict) else None
    return plain


def _warning(document: Document, steps: Sequence[str | int], problem: str, remedy: str) -> Finding:
    return _finding("warning", document.error(steps, problem, remedy))


def _finding(severity: Severity, error: DocumentError) -> Finding:
    return Finding(severity, error.name, error.line, error.key, error.problem, error.remedy)


def _placed(severity: Severity, place: DocumentError, problem: str, remedy: str, key: str = "") -> Finding:
    return Finding(severity, place.name, place.line, key or place.key, problem, remedy)


_Check = Callable[[Document, Item], Iterator[Finding]]
_CHECKS: dict[type[Item], tuple[_Check, ...]] = {
    Rule: (_described, _tags, _source, _fields, _unused, _expressions),
    Correlation: (_described, _tags),
    Filter: (_described, _source, _fields, _unused, _expressions),
}
