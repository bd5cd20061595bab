"""From what files say to what can be matched: filters, placeholders, ids."""

from shield.event import Data, Event, Process
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.parse import parse_all
from shield.scorer.sigma.ruleset import Ruleset, collected, usable

RULE = b"""
title: Admin tool
id: 11111111-1111-4111-8111-111111111111
logsource: {category: process_creation, product: linux}
detection:
  tool: {Image|endswith|expand: '/%tools%'}
  condition: tool
level: high
"""
FILTER = b"""
title: Known job
logsource: {category: process_creation, product: linux}
filter:
  rules: [11111111-1111-4111-8111-111111111111]
  job: {CommandLine|contains: nightly}
  condition: not job
"""


def read(*texts: bytes) -> tuple[Ruleset, list[str]]:
    return collected(item for number, text in enumerate(texts) for item in parse_all(text, f"{number}.yml"))


def matches(rules: Ruleset, exe: str, cmdline: str = "") -> bool:
    process = Process(pid=1, exe=exe, cmdline=cmdline)
    event = Event(1, "h", "process_start", "ALLOW", 0, "", Data(process=process), "", "", "")
    return bool(Matcher(rules.rules, {rule.id: 1 for rule in rules.rules}).match(event))


def test_placeholders_take_their_values_from_the_policy_with_wildcards() -> None:
    rules, problems = usable(read(RULE)[0], {"tools": ("nc", "so?at")})
    assert problems == []
    assert matches(rules, "/usr/bin/nc")
    assert matches(rules, "/usr/bin/socat")
    assert not matches(rules, "/usr/bin/ncat")


def test_a_placeholder_without_values_leaves_the_rule_out_and_names_the_remedy() -> None:
    rules, problems = usable(read(RULE)[0], {})
    assert rules.rules == ()
    assert problems == [
        "0.yml: the placeholder %tools% has no values; give it values in the policy (placeholders.tools)"
    ]


def test_a_filter_takes_out_what_its_condition_excludes() -> None:
    rules, problems = usable(read(RULE, FILTER)[0], {"tools": ("nc",)})
    assert problems == []
    assert matches(rules, "/usr/bin/nc", "nc -l")
    assert not matches(rules, "/usr/bin/nc", "nc nightly-backup 99")


def test_a_second_rule_with_the_same_id_is_told_of_and_the_first_stays() -> None:
    rules, problems = read(RULE, RULE)
    assert [rule.source for rule in rules.rules] == ["0.yml"]
    assert problems == ["1.yml: the id 11111111-1111-4111-8111-111111111111 is 0.yml's already; give each rule its own"]
