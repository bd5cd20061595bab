"""The rules that Shield comes with keep what the examples beside them promise."""

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from sigma.collection import SigmaCollection
from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR
from sigma.rule import SigmaRule
from sigma.types import SigmaNull, SigmaRegularExpression, SigmaString

from shield.event import Category, Data, Event, Platform
from shield.policy import gate
from shield.policy.load import built_in
from shield.scorer.score import Scorer, points
from shield.scorer.sigma import logsource
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.parse import parse_all
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.ruleset import Ruleset, collected, usable
from shield.scorer.sigma.scan import Databases

FOLDER = Path(__file__).parents[2] / "src" / "shield" / "rules"
FILES = sorted(path for path in FOLDER.rglob("*.yml") if not path.name.endswith(".test.yml"))
SINGLE = [path for path in FILES if path.parent.name != "correlation"]
CORRELATED = [path for path in FILES if path.parent.name == "correlation"]
SEED = {
    "office_spawns_shell": 30,
    "exec_from_user_writable_path": 20,
    "suspicious_powershell_flags": 25,
    "persistence_intent": 15,
}
SECOND = 1_000_000_000
COMPILED = Databases()
"""Scanners that were compiled for one test serve the next."""

NAMES = {"comm", "OriginalFileName", "Description", "Product", "Company", "ProcessName"}
"""Fields that say what a program is called, which is its own choice."""
IMAGES = {"Image", "ParentImage", "SourceImage", "exe", "process.exe", "parent.exe", "ancestors.exe", "process.invoked"}
"""Fields with the path of a program that does something."""
HASHES = {"Hashes", "md5", "sha1", "sha256", "Imphash"}
ABSOLUTE = re.compile(r"/|[A-Za-z]:\\|\\SystemRoot\\|\\\?\?\\[A-Za-z]:\\")
ABSOLUTE_EXPRESSION = re.compile(r"\^(?:/|\(\?:/|[A-Za-z]:\\\\|\(\?:[A-Za-z]:\\\\)")
WRITABLE = ("/tmp", "/var/tmp", "/dev/shm", "/home", "/root", "c:\\users", "c:\\windows\\temp", "c:\\temp")
ABSENT = ("", "-")
"""What logs write where a program is not known."""
COMPARES_NAMES = {"system_tool_renamed": "what a program is called is what this rule compares"}


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event that a rule is to match or to pass over."""

    name: str
    data: Data
    category: Category = "process_start"
    os: Platform = "linux"


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events of an example for a correlation: the first comes `after` seconds, each further one `every` seconds.

    `{n}` in any text of `data` stands for the number of the event, from 1.
    """

    data: dict[str, Any]
    category: Category = "process_start"
    os: Platform = "linux"
    after: float = 0
    times: int = 1
    every: float = 1


class Course(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One course of events in which a correlation is to fire or not."""

    name: str
    events: list[Step]


class Examples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The examples of one rule."""

    matches: list[Example]
    passes: list[Example]


class Courses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The examples of one correlation."""

    matches: list[Course]
    passes: list[Course]


def beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.test.yml")


@cache
def rule(path: Path) -> Rule:
    (one,) = parse_all(path.read_bytes(), str(path))
    assert isinstance(one, Rule)
    return one


@cache
def correlation(path: Path) -> Correlation:
    (one,) = parse_all(path.read_bytes(), str(path))
    assert isinstance(one, Correlation)
    return one


@cache
def plain(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_bytes())


@cache
def examples(path: Path) -> Examples:
    return msgspec.convert(plain(beside(path)), Examples)


@cache
def courses(path: Path) -> Courses:
    return msgspec.convert(plain(beside(path)), Courses)


@cache
def all_rules() -> Ruleset:
    found, clashes = collected([rule(path) for path in SINGLE] + [correlation(path) for path in CORRELATED])
    ready, unusable = usable(found, {})
    assert clashes + unusable == []
    return ready


@cache
def everything() -> Scorer:
    """All rules without correlations, which remember: one event is judged like any other."""
    return Scorer(Ruleset(all_rules().rules), built_in().policy, COMPILED)


def event(example: Example) -> Event:
    return Event(1, "web-3", example.category, "ALLOW", 0, "", example.data, "", "", "", os=example.os)


def numbered(part: Any, number: int) -> Any:
    if isinstance(part, str):
        return part.replace("{n}", str(number))
    if isinstance(part, dict):
        return {key: numbered(value, number) for key, value in part.items()}
    return [numbered(value, number) for value in part] if isinstance(part, list) else part


def happening(course: Course) -> Iterator[Event]:
    now = 1_767_225_600.0
    for step in course.events:
        now += step.after
        for number in range(1, step.times + 1):
            data = msgspec.convert(numbered(step.data, number), Data)
            ts_ns = int(now * SECOND)
            yield Event(
                int(now), "web-3", step.category, "ALLOW", 0, "", data, "", "", "",
                event_id=str(ts_ns), ts_ns=ts_ns, os=step.os,
            )  # fmt: skip
            now += step.every


def fired(path: Path, course: Course) -> bool:
    """Whether the correlation is among the signals while all rules watch a course of events."""
    scorer = Scorer(all_rules(), built_in().policy, COMPILED)
    wanted = correlation(path).id
    return any(signal.rule_id == wanted for one in happening(course) for signal in scorer.assess(one).signals)


def negated(item: object, inside: bool = False) -> Iterator[ConditionFieldEqualsValueExpression]:
    """Yield the comparisons of a condition that keep its rule from matching where they hold."""
    match item:
        case ConditionNOT():
            yield from negated(item.args[0], not inside)
        case ConditionAND() | ConditionOR():
            for part in item.args:
                yield from negated(part, inside)
        case ConditionFieldEqualsValueExpression() if inside:
            yield item
        case _:
            return


def exceptions(path: Path) -> list[ConditionFieldEqualsValueExpression]:
    parsed = SigmaRule.from_dict({key: value for key, value in plain(path).items() if key != "shield"})
    return [one for condition in parsed.detection.parsed_condition for one in negated(condition.parsed)]


def is_whole_path(value: object, owned: bool) -> bool:
    """Whether a value of a path begins at the root, and not where everyone may write, unless the owner is asked too."""
    if isinstance(value, SigmaRegularExpression):
        return ABSOLUTE_EXPRESSION.match(str(value.regexp)) is not None
    if isinstance(value, SigmaString):
        text = str(value.s[0]) if value.s and isinstance(value.s[0], str) else ""
        protected = owned or not text.casefold().startswith(WRITABLE)
        return text in ABSENT or (ABSOLUTE.match(text) is not None and protected)
    return isinstance(value, SigmaNull)


every_rule = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
every_single_rule = pytest.mark.parametrize("path", SINGLE, ids=lambda path: path.stem)
every_correlation = pytest.mark.parametrize("path", CORRELATED, ids=lambda path: path.stem)


@every_rule
def test_a_rule_has_examples_that_it_matches_and_such_that_it_passes_over(path: Path) -> None:
    assert beside(path).is_file()
    found = plain(beside(path))
    assert found["matches"]
    assert len(found["passes"]) >= 2


@every_single_rule
def test_a_rule_holds_what_its_examples_promise(path: Path) -> None:
    alone = Matcher([rule(path)], {rule(path).id: 1}, databases=COMPILED)
    wrong = {
        example.name: expected
        for expected, group in ((True, examples(path).matches), (False, examples(path).passes))
        for example in group
        if bool(alone.match(event(example))) is not expected
    }
    assert wrong == {}


@every_correlation
def test_a_correlation_fires_when_its_examples_say_so(path: Path) -> None:
    wrong = {
        course.name: expected
        for expected, group in ((True, courses(path).matches), (False, courses(path).passes))
        for course in group
        if fired(path, course) is not expected
    }
    assert wrong == {}


@every_single_rule
def test_every_example_is_of_an_event_that_the_rule_is_about(path: Path) -> None:
    found = examples(path)
    about = [logsource.covers(rule(path), logsource.of(event(one))) for one in found.matches + found.passes]
    assert all(about)


@every_rule
def test_a_rule_tells_an_analyst_what_to_do_and_what_else_it_may_be(path: Path) -> None:
    about = correlation(path) if path in CORRELATED else rule(path)
    assert about.next
    assert about.description
    assert about.falsepositives
    assert about.name == path.stem


@every_rule
def test_a_rule_names_a_technique_and_its_tactic(path: Path) -> None:
    tags = plain(path)["tags"]
    assert [tag for tag in tags if re.fullmatch(r"attack\.t\d{4}(\.\d{3})?", tag)]
    assert [tag for tag in tags if re.fullmatch(r"attack\.[a-z]+(-[a-z]+)*", tag)]


@every_single_rule
def test_a_rule_without_points_serves_a_correlation(path: Path) -> None:
    fed = {reference for one in all_rules().correlations for reference in one.rules}
    assert rule(path).points != 0 or rule(path).reference in fed


@every_single_rule
def test_no_harmless_example_reaches_watch_with_all_rules_together(path: Path) -> None:
    policy = built_in().policy
    for example in examples(path).passes:
        found = everything().assess(event(example))
        assert gate.action(found.score, policy) == "ALLOW", (example.name, found.rationale)


@every_single_rule
def test_an_exception_names_the_whole_path_of_a_program(path: Path) -> None:
    """A copy of a program under the name of one that is trusted must not pass."""
    if path.stem in COMPARES_NAMES:
        return
    found = exceptions(path)
    owned = any(one.field == "process.exe_owner" for one in found)
    assert [one.field for one in found if one.field in NAMES or one.field.endswith(".name")] == []
    programs = [one for one in found if one.field in IMAGES]
    assert [(one.field, str(one.value)) for one in programs if not is_whole_path(one.value, owned)] == []


@every_single_rule
def test_an_exception_by_hash_names_the_parent_too(path: Path) -> None:
    fields = {one.field for one in exceptions(path)}
    assert not fields & HASHES or fields & {"ParentImage", "parent.exe"}


def test_every_example_file_belongs_to_a_rule() -> None:
    assert set(FOLDER.rglob("*.test.yml")) == {beside(path) for path in FILES}


def test_names_and_ids_are_unique() -> None:
    both = [*all_rules().rules, *all_rules().correlations]
    for values in ([one.name for one in both], [one.id for one in both], [one.title for one in both]):
        assert [one for one, count in Counter(values).items() if count > 1] == []


def test_ids_are_random_uuids() -> None:
    both = [*all_rules().rules, *all_rules().correlations]
    assert [one.source for one in both if uuid.UUID(one.id).version != 4] == []


def test_other_tools_read_every_rule() -> None:
    documents = [{key: value for key, value in plain(path).items() if key != "shield"} for path in FILES]
    assert SigmaCollection.from_dicts(documents, collect_errors=True).errors == []


def test_the_seeds_heuristics_are_there_with_their_points() -> None:
    worth = points(all_rules().rules, built_in().policy)
    by_name: dict[str, Any] = {one.name: worth[one.id] for one in all_rules().rules}
    assert {name: by_name.get(name) for name in SEED} == SEED
