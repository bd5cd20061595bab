"""Tests of rules: what they promise is tried, what they don't keep is told with its reason."""

from pathlib import Path

import pytest

from shield.agent import rulebook, ruletest
from shield.agent.ruletest import Outcome

RULE = """\
title: A shell
name: a_shell
logsource: {product: linux, category: process_creation}
detection:
  shell:
    Image|endswith: /bash
  condition: shell
"""
TESTS = """\
matches:
  - name: bash
    data: {process: {pid: 1, exe: /bin/bash}}
passes:
  - name: cat
    data: {process: {pid: 1, exe: /bin/cat}}
"""
CORRELATION = """\
title: Many shells
correlation:
  type: event_count
  rules: a_shell
  group-by: [user.name]
  timespan: 1m
  condition: {gte: 3}
"""
COURSES = """\
matches:
  - name: three at once
    events:
      - {times: 3, data: {process: {pid: 1, exe: /bin/bash}, user: {name: ann}}}
passes:
  - name: three slowly
    events:
      - {times: 3, every: 40, data: {process: {pid: 1, exe: /bin/bash}, user: {name: ann}}}
  - name: three of different people
    events:
      - {times: 3, data: {process: {pid: 1, exe: /bin/bash}, user: {name: 'ann{n}'}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"a": RULE, "a.test": TESTS, "c": CORRELATION, "c.test": COURSES}.items():
        (tmp_path / f"{name}.yml").write_text(text)
    return tmp_path


def outcome(folder: Path) -> Outcome:
    files, _ = rulebook.contents([str(folder)])
    return ruletest.outcome(rulebook.load([str(folder)]), [path for path, _ in files])


def test_rules_and_correlations_that_keep_their_word_pass(folder: Path) -> None:
    found = outcome(folder)
    assert [(one.examples, one.failures, one.problem) for one in found.tested] == [(2, (), ""), (3, (), "")]
    assert found.untested == ()
    assert found.failed == 0


def test_an_event_that_should_match_and_does_not_is_told_with_the_reason(folder: Path) -> None:
    (folder / "a.yml").write_text(RULE.replace("/bash", "/zsh"))
    failure = outcome(folder).tested[0].failures[0]
    assert (failure.rule, failure.example, failure.wanted) == ("A shell", "bash", True)
    assert failure.why == "Image ends with '/zsh' is not so, it is '/bin/bash'"


def test_an_event_that_should_pass_and_matches_is_told_with_the_evidence(folder: Path) -> None:
    (folder / "a.yml").write_text(RULE.replace("/bash", "/cat"))
    failure = outcome(folder).tested[0].failures[1]
    assert (failure.example, failure.wanted, failure.why) == ("cat", False, "Image is '/bin/cat'")


def test_a_course_in_which_a_correlation_does_not_fire_is_told_with_the_counts(folder: Path) -> None:
    (folder / "c.yml").write_text(CORRELATION.replace("gte: 3", "gte: 4"))
    failure = outcome(folder).tested[1].failures[0]
    assert failure.why == "of 3 events A shell matched 3; asked for event_count gte 4 within 1m for the same user.name"


def test_rules_without_tests_are_named(folder: Path) -> None:
    (folder / "a.test.yml").unlink()
    assert outcome(folder).untested == ("A shell",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("matches: 3\n", "a.test.yml:1: matches: "),
        ("matches:\n  - name: x\n    data: {process: {pid: a}}\n", "a.test.yml:3: matches[0].data.process.pid: "),
        ("matches:\n  - name: x\n    data: {proces: {pid: 1}}\n", "a.test.yml:3: matches[0].data.proces: no event has"),
        ("matches: [\n", "a.test.yml:2: not valid YAML"),
        ("pases: []\n", "a.test.yml:1: pases: there is no such key"),
    ],
)
def test_a_test_file_that_is_wrong_is_a_failure_with_its_line(folder: Path, text: str, told: str) -> None:
    (folder / "a.test.yml").write_text(text)
    found = outcome(folder)
    assert found.failed == 1
    assert told in found.tested[0].problem


def test_a_wrong_event_in_a_course_is_a_failure(folder: Path) -> None:
    (folder / "c.test.yml").write_text("matches:\n  - name: x\n    events:\n      - data: {process: {pid: one}}\n")
    assert "x.events[0].data" in outcome(folder).tested[1].problem


def test_a_rule_that_cannot_be_used_fails_its_tests(folder: Path) -> None:
    (folder / "b.yml").write_text(
        RULE.replace("A shell", "B").replace("name: a_shell\n", "").replace("shell\n", "nothing\n")
    )
    (folder / "b.test.yml").write_text(TESTS)
    assert "can't be used" in outcome(folder).tested[1].problem
