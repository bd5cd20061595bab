"""What rules cover of ATT&CK, and which see nothing on a host."""

import pytest

from shield.agent.coverage import live
from shield.scorer.sigma.coverage import idle, lacks, layer, techniques
from shield.scorer.sigma.parse import parse
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.ruleset import Ruleset


def rule(source: str, fields: str = "{Image: x}", number: int = 1, tags: str = "[attack.t1059]") -> Rule:
    text = f"title: T{number}\ntags: {tags}\nlogsource: {source}\ndetection: {{a: {fields}, condition: a}}\n"
    (one,) = parse(text.encode(), "t.yml")
    return one


STARTS = "{product: linux, category: process_creation}"


NOT_LIVE = "only read by `shield replay`, not collected here"


@pytest.mark.parametrize(
    ("about", "why"),
    [
        (rule(STARTS), ""),
        (rule("{category: process_creation}"), ""),
        (rule("{product: windows, category: process_creation}"), "about windows; this host is linux"),
        (rule("{product: macos, category: process_creation}"), "Shield reads no log of product: macos"),
        (rule("{product: linux, service: sshd}"), ""),
        (rule("{product: linux, service: auditd}"), f"needs the log auditd: {NOT_LIVE}"),
        (rule("{product: linux, category: file_event}"), ""),
        (rule("{product: linux, category: registry_set}", "{TargetObject: x}"), f"needs registry events: {NOT_LIVE}"),
        (rule(STARTS, "{OriginalFileName: x}"), "needs the field OriginalFileName: no live source fills it"),
        (rule(STARTS, "[{OriginalFileName: x}, {Image: x}]"), ""),
        (rule(STARTS, "{OriginalFileName: null, Image: x}"), ""),
        (rule(STARTS, "{process.env.LD_PRELOAD: x, User: root}"), ""),
    ],
)
def test_a_rule_that_sees_nothing_is_told_why(about: Rule, why: str) -> None:
    assert lacks(about, live("linux")) == why
    assert [one.kind for one in idle(Ruleset((about,)), live("linux"))] == ([why] if why else [])


def test_what_this_host_can_not_be_watched_for_no_rule_can_see() -> None:
    of_files = rule("{product: linux, category: file_event}", "{TargetFilename: x}")
    assert lacks(of_files, live("linux", {"process"})) == f"needs file events: {NOT_LIVE}"
    assert lacks(of_files, live("linux", {"process", "file"})) == ""
    assert (
        lacks(rule("{product: linux, service: sshd}"), live("linux", {"process"})) == f"needs the log sshd: {NOT_LIVE}"
    )


def test_techniques_are_counted_under_each_tactic() -> None:
    rules = (
        rule(STARTS, number=1, tags="[attack.execution, attack.persistence, attack.t1059]"),
        rule(STARTS, number=2, tags="[attack.execution, attack.t1059, attack.t1105]"),
        rule(STARTS, number=3, tags="[attack.t1003.001]"),
    )
    assert techniques(Ruleset(rules)) == {
        "execution": {"T1059": 2, "T1105": 1},
        "persistence": {"T1059": 1},
        "": {"T1003.001": 1},
    }


def test_a_layer_has_the_number_of_rules_as_score() -> None:
    made = layer(Ruleset((rule(STARTS, number=1), rule(STARTS, number=2))), "mine")
    assert made["versions"]["layer"] == "4.5"
    assert made["domain"] == "enterprise-attack"
    assert made["gradient"]["maxValue"] == 2
    assert [(one["techniqueID"], one["score"], one["comment"]) for one in made["techniques"]] == [
        ("T1059", 2, "T1\nT2")
    ]
