"""The rules that Shield comes with keep what the examples beside them promise."""

import uuid
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from shield.event import Data, Event, Platform
from shield.policy import gate
from shield.policy.load import built_in
from shield.scorer.score import Scorer, points
from shield.scorer.sigma.fields import CATEGORIES
from shield.scorer.sigma.matcher import Matcher, applies
from shield.scorer.sigma.parse import parse
from shield.scorer.sigma.ruleset import Ruleset
from shield.scorer.sigma.rule import Rule

FOLDER = Path(__file__).parents[2] / "src" / "shield" / "rules"
FILES = sorted(path for path in FOLDER.rglob("*.yml") if not path.name.endswith(".test.yml"))
SEED = {
    "office_spawns_shell": 30,
    "exec_from_user_writable_path": 20,
    "suspicious_powershell_flags": 25,
    "persistence_intent": 15,
}


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event that a rule is to match or to pass over."""

    name: str
    data: Data
    os: Platform = "linux"


class Examples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The examples of one rule."""

    matches: list[Example]
    passes: list[Example]


def beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.test.yml")


@cache
def rule(path: Path) -> Rule:
    (one,) = parse(path.read_bytes(), str(path))
    return one


@cache
def examples(path: Path) -> Examples:
    return msgspec.convert(yaml.safe_load(beside(path).read_bytes()), Examples)


@cache
def all_rules() -> tuple[Rule, ...]:
    return tuple(rule(path) for path in FILES)


def event(example: Example, about: Rule, story: str = "") -> Event:
    category = CATEGORIES[about.category or ""]
    return Event(1, "web-3", category, "ALLOW", 0, "", example.data, "", "", story, os=example.os)


every_rule = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@every_rule
def test_a_rule_has_examples_that_it_matches_and_such_that_it_passes_over(path: Path) -> None:
    assert beside(path).is_file()
    assert examples(path).matches
    assert examples(path).passes


@every_rule
def test_a_rule_holds_what_its_examples_promise(path: Path) -> None:
    alone = Matcher([rule(path)], {rule(path).id: 1})
    wrong = {
        example.name: expected
        for expected, group in ((True, examples(path).matches), (False, examples(path).passes))
        for example in group
        if bool(alone.match(event(example, rule(path)))) is not expected
    }
    assert wrong == {}


@every_rule
def test_every_example_is_of_an_event_that_the_rule_is_about(path: Path) -> None:
    about = rule(path)
    for example in examples(path).matches + examples(path).passes:
        assert applies(about, CATEGORIES[about.category or ""], example.os), example.name


@every_rule
def test_a_rule_tells_an_analyst_what_to_do_and_what_else_it_may_be(path: Path) -> None:
    about = rule(path)
    assert about.next
    assert about.description
    assert about.falsepositives
    assert about.attack
    assert about.points
    assert about.name == path.stem


@every_rule
def test_no_harmless_example_reaches_watch_with_all_rules_together(path: Path) -> None:
    policy = built_in().policy
    for example in examples(path).passes:
        found = Scorer(Ruleset(tuple(all_rules())), policy).assess(event(example, rule(path)))
        assert gate.action(found.score, policy) == "ALLOW", (example.name, found.rationale)


def test_every_example_file_belongs_to_a_rule() -> None:
    assert set(FOLDER.rglob("*.test.yml")) == {beside(path) for path in FILES}


def test_names_and_ids_are_unique() -> None:
    assert [name for name, count in Counter(one.name for one in all_rules()).items() if count > 1] == []
    assert [one for one, count in Counter(one.id for one in all_rules()).items() if count > 1] == []


def test_ids_are_random_uuids() -> None:
    assert [one.source for one in all_rules() if uuid.UUID(one.id).version != 4] == []


def test_the_seeds_heuristics_are_there_with_their_points() -> None:
    worth = points(all_rules(), built_in().policy)
    by_name: dict[str, Any] = {one.name: worth[one.id] for one in all_rules()}
    assert {name: by_name.get(name) for name in SEED} == SEED
