"""The tests of rules: events that a rule must match and such that it must pass over, in NAME.test.yml beside NAME.yml.

A plain rule is tried by itself on each single event. A correlation is tried on courses of events, while all rules that
it refers to watch; it must fire in the course of one or must not.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

from shield.agent.rulebook import Rulebook
from shield.event import Category, Data, Event, Platform
from shield.policy.document import Document, DocumentError, documents, read
from shield.scorer.sigma import taxonomy
from shield.scorer.sigma.correlation import Correlations
from shield.scorer.sigma.correlation.chain import chain
from shield.scorer.sigma.correlation.match import duration
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.explain import Explanation, explain
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.rule import Rule

T = TypeVar("T")

_SECOND_NS = 1_000_000_000
_BEGIN_S = 1_767_225_600
_LARGEST = 16 << 20
_HOST = "web-3"


class Example(Struct, frozen=True, forbid_unknown_fields=True):
    """One event that a rule is to match or to pass over."""

    name: str
    data: Data
    category: Category = "process_start"
    os: Platform = "linux"


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """Events of a course: the first comes `after` seconds, each further one `every` seconds.

    `{n}` in any text of `data` stands for the number of the event, from 1.
    """

    data: dict[str, Any]
    category: Category = "process_start"
    os: Platform = "linux"
    after: float = 0
    times: int = 1
    every: float = 1


class Course(Struct, frozen=True, forbid_unknown_fields=True):
    """One course of events in which a correlation is to fire or not."""

    name: str
    events: list[Step]


class Examples(Struct, frozen=True, forbid_unknown_fields=True):
    """The examples of a plain rule."""

    matches: list[Example] = []
    passes: list[Example] = []


class Courses(Struct, frozen=True, forbid_unknown_fields=True):
    """The examples of a correlation."""

    matches: list[Course] = []
    passes: list[Course] = []


class Failure(Struct, frozen=True):
    """An example that a rule didn't keep: `wanted` is whether it was to match. `why` tells, `explained` shows more."""

    file: str
    rule: str
    example: str
    wanted: bool
    why: str
    explained: Explanation | None = None


class Tested(Struct, frozen=True):
    """What became of the tests of the rules in one file; `problem` is why its test file can't be used, if it can't."""

    source: str
    examples: int = 0
    failures: tuple[Failure, ...] = ()
    problem: str = ""


class Outcome(Struct, frozen=True):
    """What became of all tests; `untested` names the rules without any."""

    tested: tuple[Tested, ...]
    untested: tuple[str, ...]

    @property
    def failed(self) -> int:
        """How many files have a test that failed, or can't be used."""
        return sum(bool(one.failures or one.problem) for one in self.tested)


def test_file(source: str) -> Path:
    """Return where the tests of the rules in the file `source` are."""
    path = Path(source)
    return path.with_name(f"{path.stem}.test{path.suffix}")


def outcome(book: Rulebook, sources: Iterable[str]) -> Outcome:
    """Return what becomes of the tests of the rules in the files `sources`, and which rules of `book` have none."""
    return Outcome(tuple(run(book, sources)), untested(book))


def run(book: Rulebook, sources: Iterable[str]) -> Iterator[Tested]:
    """Yield what becomes of the tests of the rules of `book` in each of the files `sources` that has any."""
    rules = _by_source(book.rules)
    correlations = _by_source(book.correlations)
    for source in sources:
        path = test_file(source)
        if not path.exists():
            continue
        try:
            if source in correlations:
                yield _tried(source, _courses(book, correlations[source], path))
            else:
                yield _tried(source, _examples(rules.get(source, []), path))
        except DocumentError as error:
            yield Tested(source, problem=str(error))
        except OSError as error:
            yield Tested(source, problem=f"{path}: can't be read: {error.strerror}; check its owner and mode")


def untested(book: Rulebook) -> tuple[str, ...]:
    """Return the names of the rules whose file has no tests beside it."""
    both: tuple[Rule | Correlation, ...] = (*book.rules, *book.correlations)
    return tuple(one.name for one in both if not test_file(one.source).exists())


def read_examples(path: Path) -> Examples:
    """Return the examples of a plain rule. Raises DocumentError, OSError."""
    return _read(path, Examples)


def read_courses(path: Path) -> Courses:
    """Return the examples of a correlation. Raises DocumentError, OSError."""
    return _read(path, Courses)


def _read(path: Path, kind: type[T]) -> T:
    content = _content(path)
    found = read(content, kind, str(path))
    for document in documents(content, str(path)):
        _refuse_misspelt(document, (), document.plain)
    return found


def _refuse_misspelt(document: Document, steps: tuple[str | int, ...], part: Any, kind: Any = None) -> None:
    """Refuse a field that no event has: an example that lacks what it seems to have would prove nothing."""
    if isinstance(part, list):
        for number, element in enumerate(cast("list[Any]", part)):
            _refuse_misspelt(document, (*steps, number), element, kind)
    elif isinstance(part, dict):
        for key, value in cast("dict[Any, Any]", part).items():
            place = (*steps, str(key))
            known = Data if kind is None and key == "data" else kind and taxonomy.inner(kind, str(key))
            if kind is not None and known is None:
                raise document.error(place, "no event has such a field", "see the fields of events, or correct it")
            _refuse_misspelt(document, place, value, known)


def event(example: Example) -> Event:
    """Return the event of an example."""
    return Event(1, _HOST, example.category, "ALLOW", 0, "", example.data, "", "", "", os=example.os)


def events(course: Course, name: str = "") -> Iterator[Event]:
    """Yield the events of a course, in their order. Raises DocumentError, whose file is `name`, where one is none."""
    now = float(_BEGIN_S)
    for number, step in enumerate(course.events):
        now += step.after
        for count in range(1, step.times + 1):
            try:
                data = msgspec.convert(_numbered(step.data, count), Data)
            except msgspec.ValidationError as error:
                key = f"{course.name}.events[{number}].data"
                raise DocumentError(name, 0, key, str(error), "correct the value") from None
            ts_ns = int(now * _SECOND_NS)
            yield Event(
                *(int(now), _HOST, step.category, "ALLOW", 0, "", data, "", "", ""),
                event_id=str(ts_ns),
                ts_ns=ts_ns,
                os=step.os,
            )
            now += step.every


def _tried(source: str, results: Iterable[Failure | None]) -> Tested:
    found = list(results)
    return Tested(source, len(found), tuple(one for one in found if one is not None))


def _examples(rules: Sequence[Rule], path: Path) -> Iterator[Failure | None]:
    """Yield for each example of the plain rules in a file, one of which is to match, what went wrong."""
    read_in = read_examples(path)
    if not rules:
        raise DocumentError(str(path), 0, "", "the rule beside it can't be used", "see `shield rules check`")
    matcher = Matcher(rules, {rule.id: 1 for rule in rules}, engine="pure")
    for wanted, group in ((True, read_in.matches), (False, read_in.passes)):
        for example in group:
            made = event(example)
            signals = matcher.match(made)
            if bool(signals) is wanted:
                yield None
                continue
            at_fault = rules[0] if wanted else next(rule for rule in rules if rule.id == signals[0].rule_id)
            told = explain(at_fault, made)
            found = (
                (
                    f"{one.field or 'any text'} is '{one.value}'"
                    for one in (signals[0], *signals[0].further)
                    if one.value
                )
                if signals
                else ()
            )
            why = told.elsewhere or told.reason or "; ".join(found)
            yield Failure(str(path), at_fault.name, example.name, wanted, why, told)


def _courses(book: Rulebook, correlations: Sequence[Correlation], path: Path) -> Iterator[Failure | None]:
    """Yield for each course of the correlations in a file, one of which is to fire, what went wrong."""
    read_in = read_courses(path)
    for wanted, group in ((True, read_in.matches), (False, read_in.passes)):
        for course in group:
            fired, why = watched(book, correlations, events(course, str(path)))
            if (fired > 0) is wanted:
                yield None
            else:
                yield Failure(str(path), correlations[0].name, course.name, wanted, why)


def watched(book: Rulebook, correlations: Sequence[Correlation], happening: Iterable[Event]) -> tuple[int, str]:
    """Return how often `correlations`, at least one, fire over events, and in words what they had to go by."""
    needed, rules = _referred(book, correlations)
    wanted = {one.id for one in correlations}
    watching = Correlations([msgspec.structs.replace(one, generate=True) for one in needed], rules)
    matcher = Matcher(rules, {rule.id: 1 for rule in rules}, engine="pure")
    counts = dict.fromkeys((rule.name for rule in rules), 0)
    fired = seen = 0
    for event in happening:
        seen += 1
        matched = matcher.matching(event)
        for rule in matched:
            counts[rule.name] += 1
        fired += sum(match.correlation.id in wanted for match in watching.observe(event, matched))
    return fired, _counted(correlations[0], counts, seen)


def _counted(correlation: Correlation, counts: dict[str, int], seen: int) -> str:
    """Return what a correlation had to go by, in words."""
    told = ", ".join(f"{name} matched {count}" for name, count in counts.items()) or "no rule it refers to is loaded"
    by = f" for the same {', '.join(correlation.group_by)}" if correlation.group_by else ""
    asked = f"{correlation.kind} {correlation.condition} within {duration(correlation.timespan_ns)}{by}"
    return f"of {seen} events {told}; asked for {asked}"


def _referred(book: Rulebook, correlations: Sequence[Correlation]) -> tuple[list[Correlation], list[Rule]]:
    """Return the correlations and rules that `correlations` refer to, themselves included."""
    targets = chain(book.correlations, book.rules).targets
    wanted = {one.id for one in correlations}
    waiting = list(wanted)
    while waiting:
        for target in targets.get(waiting.pop(), ()):
            if target not in wanted:
                wanted.add(target)
                waiting.append(target)
    return [one for one in book.correlations if one.id in wanted], [one for one in book.rules if one.id in wanted]


def _numbered(part: Any, number: int) -> Any:
    if isinstance(part, str):
        return part.replace("{n}", str(number))
    if isinstance(part, dict):
        return {key: _numbered(value, number) for key, value in cast("dict[Any, Any]", part).items()}
    return [_numbered(value, number) for value in cast("list[Any]", part)] if isinstance(part, list) else part


def _by_source(rules: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for rule in rules:
        found.setdefault(rule.source, []).append(rule)
    return found


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError(0, f"larger than {_LARGEST >> 20} MiB, which no test file is")
    return content
