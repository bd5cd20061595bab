"""Reading a rule: what is kept of it, and that what can't be evaluated is refused with its place."""

import pytest

from shield.policy.document import DocumentError
from shield.scorer.sigma.parse import parse

RULE = b"""title: Something odd
id: 6d3f1a0e-54a5-4f0b-9d0c-000000000001
status: test
description: It is odd.
tags:
  - attack.execution
  - attack.t1059.004
  - attack.g0007
  - cve.2021-44228
logsource:
  category: process_creation
  product: linux
detection:
  selection:
    Image|endswith: /odd
  condition: selection
falsepositives:
  - Even ones
level: high
shield:
  name: odd
  points: 33
  next: Even it.
"""


def test_all_that_an_analyst_needs_is_kept() -> None:
    (rule,) = parse(RULE, "odd.yml")
    assert (rule.name, rule.title, rule.level, rule.points) == ("odd", "Something odd", "high", 33)
    assert (rule.next, rule.description, rule.falsepositives) == ("Even it.", "It is odd.", ("Even ones",))
    assert (rule.category, rule.product, rule.service) == ("process_creation", "linux", None)
    assert rule.source == "odd.yml"


def test_only_techniques_are_kept_of_the_tags() -> None:
    assert parse(RULE, "odd.yml")[0].attack == ("T1059.004",)


def test_a_rule_without_shields_own_keys_is_named_by_its_title() -> None:
    (rule,) = parse(RULE.partition(b"shield:")[0], "odd.yml")
    assert (rule.name, rule.points, rule.next) == ("Something odd", None, "")


def test_a_rule_without_a_level_is_informational() -> None:
    assert parse(RULE.replace(b"level: high\n", b""), "odd.yml")[0].level == "informational"


def test_a_file_may_hold_several_rules() -> None:
    assert len(parse(RULE + b"---\n" + RULE, "odd.yml")) == 2


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ((b"points: 33", b"points: 101"), "odd.yml:22: shield.points: "),
        ((b"points: 33", b"pionts: 33"), "odd.yml:22: shield.pionts: "),
        ((b"level: high", b"level: dire"), "odd.yml:19: level: "),
        ((b"status: test", b"status: fine"), "odd.yml:3: status: "),
        ((b"000000000001", b"x"), "odd.yml:2: id: "),
        ((b"condition: selection", b"condition: selection and"), "odd.yml:16: detection.condition: "),
        ((b"condition: selection", b"condition: selektion"), "odd.yml:"),
        ((b"condition: selection", b"condition: 1 of nothing*"), "odd.yml:16: detection.condition: "),
        ((b"condition: selection", b"condition: selection | count() > 5"), "odd.yml:16: detection.condition: "),
        ((b"Image|endswith", b"Image|endwith"), "odd.yml:"),
        ((b"Image|endswith: /odd", b"Image|re: '('"), "odd.yml:"),
        ((b"Image|endswith: /odd", b"Image|cidr: nonsense"), "odd.yml:"),
        ((b"Image|endswith: /odd", b"Image|gt: x"), "odd.yml:"),
        ((b"    Image|endswith: /odd", b"    {}"), "odd.yml:"),
        ((b"title: Something odd\n", b""), "odd.yml:"),
        ((b"logsource:", b"logsauce:"), "odd.yml:"),
        ((b"shield:", b"correlation: {}\nshield:"), "odd.yml:20: correlation: "),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_with_its_place(change: tuple[bytes, bytes], place: str) -> None:
    assert RULE.count(change[0])
    with pytest.raises(DocumentError) as caught:
        parse(RULE.replace(*change, 1), "odd.yml")
    assert str(caught.value).startswith(place)
    assert "; " in str(caught.value)
