"""Why a rule doesn't match: always the truth that matching tells, in words that name the field and what it has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.event import Data, Event, Log, Process
from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation
from shield.scorer.sigma.evaluate import View, compiled
from shield.scorer.sigma.explain import Explanation, explain, lines, readable
from shield.scorer.sigma.parse import parse
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.value import Exists, Null, Number, Text, Wildcard

MANY = Wildcard.MANY


def rule(condition: str, detections: str, source: str = "{product: linux, category: process_creation}") -> Rule:
    text = f"title: T\nlogsource: {source}\ndetection:\n{detections}\n  condition: {condition}\n"
    (one,) = parse(text.encode(), "t.yml")
    return one


def event(exe: str = "", cmdline: str = "", args: tuple[str, ...] = (), log: Log | None = None) -> Event:
    data = Data(process=Process(pid=7, exe=exe, cmdline=cmdline, args=args), log=log)
    return Event(1, "h", "process_start", "ALLOW", 0, "", data, "", "", "")


SHELL = """\
  shell:
    Image|endswith: /bash
    CommandLine|contains: ' -i '
  known:
    CommandLine|contains: /opt/job"""


def test_a_match_is_a_match() -> None:
    explained = explain(rule("shell and not known", SHELL), event("/bin/bash", "bash -i now"))
    assert explained.matches
    assert [line.text for line in lines(explained.tree)][2] == "Image ends with '/bash': '/bin/bash'"


def test_the_first_clause_that_failed_is_told_with_what_the_event_has() -> None:
    explained = explain(rule("shell and not known", SHELL), event("/bin/bash", "bash --login"))
    assert explained.reason == "CommandLine contains ' -i ' is not so, it is 'bash --login'"
    assert explained.exception is None


def test_the_exception_that_hid_an_event_is_told() -> None:
    explained = explain(rule("shell and not known", SHELL), event("/bin/bash", "bash -i /opt/job/run"))
    assert not explained.matches
    assert explained.exception is not None
    assert explained.reason == "an exception hides it: CommandLine contains '/opt/job', 'bash -i /opt/job/run'"


def test_an_exception_is_not_blamed_where_more_failed() -> None:
    explained = explain(rule("not known and shell", SHELL), event("/bin/sh", "sh /opt/job/run"))
    assert explained.exception is None
    assert explained.reason == "Image ends with '/bash' is not so, it is '/bin/sh'"


def test_the_alternative_that_came_nearest_is_told_first() -> None:
    detections = """\
  a:
    Image|endswith: /python3
    CommandLine|contains: evil
  b:
    Image|endswith: /perl
    CommandLine|contains: worse"""
    explained = explain(rule("1 of *", detections), event("/usr/bin/perl", "perl -e 1"))
    assert explained.reason.startswith("none of 2 alternatives holds: CommandLine contains 'worse' is not so")


def test_a_rule_about_another_log_source_is_said_to_be() -> None:
    explained = explain(rule("a", "  a:\n    User: root", "{product: linux, service: sshd}"), event("/bin/sh"))
    assert explained == Explanation(
        False,
        elsewhere="the rule is about product linux, service sshd, "
        "the event is of product linux, category process_creation",
    )


def test_a_long_value_is_shown_around_where_it_nearly_matched() -> None:
    explained = explain(
        rule("a", "  a:\n    CommandLine|contains: mimikatz"), event("/x", "a" * 500 + "mimikat" + "b" * 500)
    )
    assert "mimikat" in explained.reason
    assert len(explained.reason) < 250


def test_what_is_absent_is_said_to_be() -> None:
    assert explain(rule("a", "  a:\n    OriginalFileName: x"), event("/x")).reason.endswith("it is absent")


def test_a_field_with_several_values_shows_the_nearest() -> None:
    explained = explain(
        rule("a", "  a:\n    process.args: --no-check-certificates"), event(args=("-q", "--no-check", "-O"))
    )
    assert explained.reason.endswith("it is '--no-check'")


def test_many_alternatives_are_cut_in_the_tree() -> None:
    values = "".join(f"\n      - value-{number}" for number in range(50))
    explained = explain(rule("a", f"  a:\n    CommandLine:{values}"), event(cmdline="other"))
    shown = [line.text for line in lines(explained.tree)]
    assert len(shown) < 20
    assert shown[-1] == "and 38 more that do not hold"


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        (Comparison("F", Text((MANY, "a", MANY))), "F contains 'a'"),
        (Comparison("F", Text(("a", MANY))), "F starts with 'a'"),
        (Comparison("F", Text(("a",), cased=True)), "F is 'a' (in this case)"),
        (Comparison("F", Text(())), "F is empty"),
        (Comparison("F", Text(("a", MANY, "b"))), "F is like 'a*b'"),
        (Comparison("F", Null()), "F is absent"),
        (Comparison("F", Exists(True)), "F is there"),
        (Comparison("F", Number(3)), "F is 3"),
        (Comparison("", Text((MANY, "a", MANY))), "any text contains 'a'"),
    ],
)
def test_a_comparison_reads_like_a_sentence(comparison: Comparison, words: str) -> None:
    assert [line.text for line in lines(readable(comparison))] == [words]


FIELDS = st.sampled_from(["Image", "CommandLine", "process.args", "Missing", ""])
VALUES = st.one_of(
    st.builds(lambda text: Text((text,)), st.sampled_from(["a", "b", "/x"])),
    st.builds(lambda text: Text((MANY, text, MANY)), st.sampled_from(["a", "b"])),
    st.sampled_from([Null(), Exists(True), Exists(False), Text(()), Number(1)]),
)
CLAUSES: st.SearchStrategy[Clause] = st.recursive(
    st.builds(Comparison, FIELDS, VALUES),
    lambda inner: st.one_of(
        st.builds(Negation, inner),
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


@given(CLAUSES, st.text(max_size=6), st.text("ab/x \x1b", max_size=6), st.lists(st.text("ab", max_size=3), max_size=3))
def test_an_explanation_never_contradicts_the_matcher(clause: Clause, exe: str, cmdline: str, args: list[str]) -> None:
    about = Rule("i", "n", "t", "low", None, None, None, clause)
    happened = event(exe, cmdline, tuple(args))
    explained = explain(about, happened)
    assert explained.matches is compiled(clause)(View(happened))
    assert explained.matches is (explained.reason == "")
