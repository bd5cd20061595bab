"""A review finds what keeps a rule from being used, and what a reviewer would ask about; each with its line."""

import pytest

from shield.normalizer import linux_log, windows_log, windows_service
from shield.policy.document import documents
from shield.scorer.sigma import taxonomy
from shield.scorer.sigma.parse import item_of
from shield.scorer.sigma.review import Finding, review, review_all, subject

GOOD = """\
title: A shell
id: 6b1d1a0e-6f0c-4d0e-9a57-2f9a1c2c0b11
name: a_shell
tags:
  - attack.execution
  - attack.t1059.004
logsource:
  product: linux
  category: process_creation
detection:
  shell:
    Image|endswith: /bash
  filter_one:
    process.env.LD_PRELOAD: x
  condition: shell and not 1 of filter_*
falsepositives:
  - People
level: high
"""
CORRELATION = """\
title: Many shells
id: 6b1d1a0e-6f0c-4d0e-9a57-2f9a1c2c0b12
tags: [attack.t1059]
correlation:
  type: event_count
  rules:
    - a_shell
  timespan: 1m
  condition:
    gte: 10
falsepositives: [People]
level: high
"""


def found(*texts: str) -> list[Finding]:
    read = [
        (one, item_of(one)) for number, text in enumerate(texts) for one in documents(text.encode(), f"{number}.yml")
    ]
    own = [finding for document, item in read for finding in review(document, item, {})]
    return own + list(review_all([subject(document, item) for document, item in read]))


def only(*texts: str) -> str:
    (one,) = found(*texts)
    return one.text


def test_a_good_rule_has_no_finding() -> None:
    assert found(GOOD, CORRELATION) == []


WRONG = [
    ("Image|endswith", "Imag|endswith", "12: warning: detection.shell.Imag|endswith", "did you mean Image?"),
    (
        "process.env.LD_PRELOAD",
        "process.nonsense",
        "14: warning: detection.filter_one.process.nonsense",
        "see the fields",
    ),
    ("shell and not 1 of filter_*", "shell", "13: warning: detection.filter_one", "use it, or take it out"),
    (": process_creation", ": proces_creation", "9: warning: logsource.category", "did you mean process_creation?"),
    ("product: linux", "product: macos", "8: warning: logsource.product", "leave it out, or know that it stays silent"),
    ("attack.execution", "attack.executing", "5: warning: tags[0]", "did you mean attack.execution?"),
    ("attack.execution", "attack.initial_access", "5: warning: tags[0]", "write attack.initial-access"),
    ("attack.execution", "attack.t1", "5: warning: tags[0]", "write it as in attack.t1059 or attack.t1059.004"),
    ("  - attack.t1059.004\n", "", "4: warning: tags", "add one, as in attack.t1059.004"),
    ("level: high\n", "", "1: warning: level", "add one"),
    ("falsepositives:\n  - People\n", "", "1: warning: falsepositives", "say what harmless things match"),
    ("id: 6b1d1a0e-6f0c-4d0e-9a57-2f9a1c2c0b11\n", "", "1: warning: id", "add a fresh UUID"),
    ("Image|endswith: /bash", "Image|expand: '%x%'", "10: error: detection", "in the policy (placeholders.x)"),
    ("Image|endswith: /bash", "Image|re: a.{0,1000}b", "12: warning: detection.shell.Image|re", "count fewer"),
]


@pytest.mark.parametrize(("old", "new", "place", "remedy"), WRONG)
def test_what_is_wrong_is_told_with_its_line_and_a_remedy(old: str, new: str, place: str, remedy: str) -> None:
    assert old in GOOD
    told = only(GOOD.replace(old, new))
    assert told.startswith(f"0.yml:{place}: ")
    assert f"; {remedy}" in told or remedy in told.rpartition("; ")[2]


def test_the_same_id_twice_is_an_error() -> None:
    (one,) = found(GOOD, GOOD.replace("a_shell", "another"))
    assert one.severity == "error"
    assert one.text.startswith("1.yml:2: error: id: 6b1d1a0e-6f0c-4d0e-9a57-2f9a1c2c0b11 is the id of 0.yml:2 already")


def test_a_reference_that_leads_nowhere_is_an_error_on_its_line() -> None:
    told = only(CORRELATION)
    assert told.startswith("0.yml:7: error: correlation.rules[0]: there is no rule 'a_shell'; load the rule")


def test_correlations_that_go_in_circles_are_errors() -> None:
    first = CORRELATION.replace("a_shell", "second").replace("title: Many shells", "title: One\nname: first")
    second = CORRELATION.replace("a_shell", "first").replace("title: Many shells", "title: Two\nname: second")
    told = found(first, second.replace("0b12", "0b13"))
    assert [finding.severity for finding in told] == ["error", "error"]
    assert "refers back to itself" in told[0].problem


def test_a_filter_about_another_log_source_is_an_error() -> None:
    text = """\
title: F
id: 6b1d1a0e-6f0c-4d0e-9a57-2f9a1c2c0b14
logsource: {product: windows, category: process_creation}
filter:
  rules:
    - a_shell
  one:
    Image: x
  condition: not one
"""
    assert only(GOOD, text).startswith("1.yml:6: error: filter.rules[0]: 'a_shell' has another log source")


def test_every_service_and_category_that_the_normalizer_gives_is_known() -> None:
    assert set(windows_service.CHANNELS) <= set(taxonomy.SERVICES["windows"])
    assert set(linux_log._SERVICES.values()) <= set(taxonomy.SERVICES["linux"])
    given = {category for _, category in linux_log._SYSMON_EVENTS.values()} | set(windows_log._SCRIPTS.values())
    assert given <= set(taxonomy.FIELDS)


@pytest.mark.parametrize("path", ["process.env.ANY", "ancestors.exe", "process.namespaces.mnt", "file.hashes.md5"])
def test_a_path_into_an_event_is_known(path: str) -> None:
    assert taxonomy.leads_somewhere(path)


@pytest.mark.parametrize("path", ["ancestors.nothing", "process", "nothing.exe", "Image", "process.exe.x"])
def test_a_path_to_nowhere_is_not(path: str) -> None:
    assert not taxonomy.leads_somewhere(path)
