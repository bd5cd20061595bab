"""Filters: how they are read, which rules they are joined to, and what they then make of them."""

import msgspec
import pytest
from sigma.collection import SigmaCollection
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from shield.policy.document import DocumentError, documents
from shield.scorer.sigma.condition import AllOf, Comparison, Negation
from shield.scorer.sigma.filter_rule import ANY, Filter, apply, filter_of
from shield.scorer.sigma.parse import parse
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.value import shown

ADMINISTRATORS = """title: Filter Administrator account
description: The valid administrator account start with adm_
logsource:
  category: process_creation
  product: windows
filter:
  rules:
    - 6f3e2987-db24-4c78-a860-b4f4095a7095 # Data Compressed - rar.exe
    - df0841c0-9846-4e9f-ad8a-7df91571771b # Login on jump host
  selection:
    User|startswith: 'adm_'
  condition: not selection
"""
ARCHIVER = """title: Data Compressed - rar.exe
id: 6f3e2987-db24-4c78-a860-b4f4095a7095
name: archiver
logsource:
  category: process_creation
  product: windows
detection:
  selection:
    Image|endswith: rar.exe
  condition: selection
"""
JUMP_HOST = ARCHIVER.replace("6f3e2987-db24-4c78-a860-b4f4095a7095", "df0841c0-9846-4e9f-ad8a-7df91571771b").replace(
    "archiver", "jump_host"
)
OTHER = ARCHIVER.replace("6f3e2987-db24-4c78-a860-b4f4095a7095", "00000000-0000-4000-8000-000000000001").replace(
    "archiver", "other"
)
ON_LINUX = OTHER.replace("000000000001", "000000000002").replace("windows", "linux").replace("other", "on_linux")


def read(text: str) -> Filter:
    return filter_of(documents(text.encode(), "f.yml")[0])


def rules(*texts: str) -> list[Rule]:
    return [rule for text in texts for rule in parse(text.encode(), "r.yml")]


def filtered(text: str, *texts: str) -> tuple[list[str], list[str]]:
    """Return the names of the rules that a filter was joined to, and the problems."""
    before = rules(*texts)
    after, problems = apply([read(text)], before)
    assert [rule.id for rule in after] == [rule.id for rule in before]
    return [new.reference for old, new in zip(before, after, strict=True) if new != old], problems


def test_a_filter_as_in_the_specification_is_read() -> None:
    found = read(ADMINISTRATORS)
    assert (found.title, found.id) == ("Filter Administrator account", "Filter Administrator account")
    assert (found.category, found.product, found.service) == ("process_creation", "windows", None)
    assert found.rules == ("6f3e2987-db24-4c78-a860-b4f4095a7095", "df0841c0-9846-4e9f-ad8a-7df91571771b")
    assert isinstance(found.condition, Negation)
    assert isinstance(found.condition.part, Comparison)
    assert (found.condition.part.field, shown(found.condition.part.value)) == ("User", "adm_*")
    assert found.source == "f.yml"


def test_a_filter_is_joined_by_and_to_the_rules_it_names() -> None:
    (rule,) = rules(ARCHIVER)
    found = read(ADMINISTRATORS.replace("    - df0841c0-9846-4e9f-ad8a-7df91571771b # Login on jump host\n", ""))
    (joined,), problems = apply([found], [rule])
    assert joined == msgspec.structs.replace(rule, condition=AllOf((rule.condition, found.condition)))
    assert problems == []


def test_rules_that_a_filter_does_not_name_stay_as_they_are() -> None:
    assert filtered(ADMINISTRATORS, ARCHIVER, JUMP_HOST, OTHER) == (["archiver", "jump_host"], [])


def test_rules_are_named_by_name_too() -> None:
    text = ADMINISTRATORS.replace("    - df0841c0-9846-4e9f-ad8a-7df91571771b", "    - other")
    assert filtered(text, ARCHIVER, OTHER)[0] == ["archiver", "other"]


@pytest.mark.parametrize("word", ["any", "Any", "[]", "[any]"])
def test_any_means_every_rule_about_the_log_source(word: str) -> None:
    head, _, tail = ADMINISTRATORS.partition("  rules:\n")
    text = f"{head}  rules: {word}\n{tail[tail.index('  selection') :]}"
    assert read(text).rules == ANY
    assert filtered(text, ARCHIVER, OTHER, ON_LINUX) == (["archiver", "other"], [])


def test_a_narrower_log_source_than_a_rules_own_is_not_the_rules() -> None:
    text = ADMINISTRATORS.replace("  product: windows\n", "  product: windows\n  service: sysmon\n")
    changed, problems = filtered(text, ARCHIVER, JUMP_HOST)
    assert changed == []
    assert len(problems) == 2
    assert "has another log source; correct the filter's logsource" in problems[0]


def test_a_filter_that_names_no_rule_is_a_problem_with_a_remedy_and_still_filters_the_others() -> None:
    changed, (problem,) = filtered(ADMINISTRATORS, ARCHIVER)
    assert changed == ["archiver"]
    assert problem.startswith("f.yml: filter 'Filter Administrator account': there is no rule 'df0841c0-")
    assert "; load the rule that is meant" in problem


def test_several_filters_all_count() -> None:
    (rule,) = rules(ARCHIVER)
    more = ADMINISTRATORS.replace("adm_", "svc_")
    (joined,), _ = apply([read(ADMINISTRATORS), read(more)], [rule])
    assert joined.condition == AllOf((rule.condition, read(ADMINISTRATORS).condition, read(more).condition))


@pytest.mark.parametrize("condition", ["not selection", "selection", "not 1 of selection*", "not (selection or more)"])
def test_the_joined_condition_is_the_one_that_pysigma_makes(condition: str) -> None:
    text = ADMINISTRATORS.replace("condition: not selection", f"more: {{User: SYSTEM}}\n  condition: {condition}")
    theirs = SigmaRule.from_yaml(ARCHIVER)
    SigmaFilter.from_yaml(text).apply_on_rule(theirs)
    (ours, _), _ = apply([read(text)], rules(ARCHIVER, JUMP_HOST))
    clauses = [parsed.parsed for parsed in theirs.detection.parsed_condition]
    assert len(clauses) == 1
    assert isinstance(ours.condition, AllOf)
    assert len(clauses[0].args) == len(ours.condition.parts) == 2


def test_a_filter_survives_being_written_down() -> None:
    found = read(ADMINISTRATORS)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Filter) == found


def test_pysigma_reads_the_same_document() -> None:
    assert len(SigmaCollection.from_yaml(f"{ARCHIVER}---\n{ADMINISTRATORS}").rules) == 1


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (("title: Filter Administrator account\n", ""), "f.yml:1: .*title"),
        (("  category: process_creation\n  product: windows\n", "  {}\n"), "f.yml:3: logsource"),
        (("  category: process_creation\n", "  category: [a]\n"), "f.yml:4: logsource.category"),
        (("  condition: not selection\n", ""), "f.yml:6: filter: .*condition"),
        (("condition: not selection", "condition: not nothing"), "f.yml:6: filter: .*nothing"),
        (("condition: not selection", "condition: [a, b]"), "f.yml:12: filter.condition"),
        (("  rules:\n", "  rule:\n"), "f.yml:6: filter: .*rules"),
        (("    User|startswith: 'adm_'", "    User|nonsense: 'adm_'"), "f.yml:6: filter: .*nonsense"),
        (("    User|startswith: 'adm_'", "    User|re: '('"), "f.yml:6: filter: "),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(change: tuple[str, str], place: str) -> None:
    assert change[0] in ADMINISTRATORS
    with pytest.raises(DocumentError, match=place) as refusal:
        read(ADMINISTRATORS.replace(*change))
    assert ";" in str(refusal.value)
