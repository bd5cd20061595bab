"""Signals of matching rules: their evidence, their order, and that a long life changes nothing."""

import json
import random

import pytest

from shield.event import Ancestor, Category, Data, Event, Evidence, Platform, Process, User
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.parse import parse

ID = "00000000-0000-4000-8000-{:012}"


def rule(
    *search: dict[str, object] | list[object], number: int = 1, condition: str = "all of them", **more: object
) -> bytes:
    """A rule whose searches are s0, s1, ...; JSON is YAML."""
    detection = {f"s{index}": one for index, one in enumerate(search)} | {"condition": condition}
    content = {
        "title": f"rule {number}",
        "id": ID.format(number),
        "logsource": {"category": "process_creation"},
        "detection": detection,
    }
    return json.dumps(content | more, ensure_ascii=False).encode()


def matcher(*texts: bytes) -> Matcher:
    rules = [one for text in texts for one in parse(text, "rules.yml")]
    return Matcher(rules, {one.id: 10 for one in rules})


def event(cmdline: str = "", category: Category = "process_start", os: Platform = "linux", **fields: object) -> Event:
    data = {"process": Process(pid=7, exe="/usr/bin/curl", cmdline=cmdline)} | fields
    return Event(1, "web-3", category, "ALLOW", 0, "", Data(**data), "", "", "", os=os)  # type: ignore[arg-type]


def names(found: Matcher, seen: Event) -> list[str]:
    return [signal.name for signal in found.match(seen)]


def test_a_signal_names_the_field_the_value_and_the_pattern_that_matched() -> None:
    (signal,) = matcher(rule({"CommandLine|contains": ["wget ", "CURL "], "Image|endswith": "/curl"})).match(
        event("curl http://x")
    )
    assert (signal.field, signal.value, signal.pattern) == ("CommandLine", "curl http://x", "*CURL *")
    assert signal.further == (Evidence("Image", "/usr/bin/curl", "*/curl"),)


def test_of_several_patterns_in_a_field_the_longest_is_shown() -> None:
    (signal,) = matcher(rule({"CommandLine|contains": ["a", "abc", "ab"]})).match(event("xabcx"))
    assert signal.pattern == "*abc*"


def test_of_a_list_the_element_that_matched_is_shown() -> None:
    above = tuple(Ancestor(pid, exe=exe) for pid, exe in enumerate(["/bin/sh", "/usr/sbin/nginx", "/sbin/init"]))
    (signal,) = matcher(rule({"ancestors.exe|endswith": "/nginx"})).match(event(ancestors=above))
    assert (signal.field, signal.value) == ("ancestors.exe", "/usr/sbin/nginx")


@pytest.mark.parametrize("place", [0, 500, 5000, 99_000])
def test_of_a_long_value_the_part_around_the_match_is_shown(place: int) -> None:
    cmdline = "x" * place + "needle" + "y" * (100_000 - place)
    for search in ({"CommandLine|contains": "NEEDLE"}, {"CommandLine|re": "n[e]+dle"}):
        (signal,) = matcher(rule(search)).match(event(cmdline))
        assert "needle" in signal.value
        assert len(signal.value) < 250


def test_what_is_absent_is_no_evidence() -> None:
    search = matcher(rule({"CommandLine": "ls"}, {"Image": "/bin/other"}, condition="s0 and not s1"))
    (signal,) = search.match(event("ls"))
    assert (signal.field, signal.further) == ("CommandLine", ())


def test_a_rule_that_matches_by_absence_alone_has_a_signal_without_evidence() -> None:
    (signal,) = matcher(rule({"Image": "/bin/other"}, condition="not s0")).match(event("ls"))
    assert (signal.field, signal.value, signal.pattern) == ("", "", "")


@pytest.mark.parametrize(
    ("logsource", "matched"),
    [
        ({"category": "process_creation"}, {"linux", "windows"}),
        ({"category": "process_creation", "product": "linux"}, {"linux"}),
        ({"category": "process_creation", "product": "windows"}, {"windows"}),
        ({"category": "process_creation", "product": "macos"}, set()),
        ({"category": "process_creation", "product": "linux", "service": "auditd"}, set()),
        ({"product": "linux"}, {"linux"}),
        ({"category": "process_termination"}, set()),
        ({"category": "file_event", "product": "linux"}, set()),
    ],
)
def test_a_rule_sees_only_events_of_its_log_source(logsource: dict[str, str], matched: set[str]) -> None:
    found = matcher(rule({"CommandLine": "ls"}, logsource=logsource))
    assert {os for os in ("linux", "windows") if found.match(event("ls", os=os))} == matched  # type: ignore[arg-type]


def test_signals_come_weightiest_first_then_by_name() -> None:
    rules = [one for number in (3, 1, 2) for one in parse(rule({"CommandLine": "ls"}, number=number), "x")]
    found = Matcher(rules, {ID.format(1): 5, ID.format(2): 9, ID.format(3): 5})
    assert names(found, event("ls")) == ["rule 2", "rule 1", "rule 3"]


def test_a_rule_without_points_is_off() -> None:
    rules = parse(rule({"CommandLine": "ls"}), "x")
    assert Matcher(rules, {ID.format(1): 0}).match(event("ls")) == ()


def test_more_values_than_are_remembered_change_no_answer() -> None:
    found = matcher(rule({"CommandLine|endswith": "7"}), rule({"process.args": "7"}, number=2))
    for number in [*range(10_000), *range(0, 10_000, 7)]:
        text = str(number)
        seen = event(data_of := text, process=Process(pid=1, cmdline=data_of, args=(data_of, "x" * (number % 50))))
        assert names(found, seen) == ["rule 1"] * text.endswith("7") + ["rule 2"] * (text == "7")


def test_parts_that_events_share_and_parts_that_only_look_alike_give_the_same_answer() -> None:
    found = matcher(rule({"ParentImage": "/bin/sh", "User": "root"}))
    chance = random.Random(7)
    shared = [Ancestor(1, exe="/bin/sh"), Ancestor(1, exe="/bin/ls"), None]
    for _ in range(20_000):
        parent = chance.choice(shared) if chance.random() < 0.5 else Ancestor(1, exe=chance.choice(["/bin/sh", "/x"]))
        user = User(name=chance.choice(["root", "alice"]))
        expected = bool(parent) and parent.exe == "/bin/sh" and user.name == "root"
        assert bool(found.match(event(parent=parent, user=user))) == expected


@pytest.mark.parametrize("cmdline", ["", "\0", "a\nb", "\x1b[2J", "\u202e", "é" * 100, "\uefe9", "😀", "x" * 2000])
def test_hostile_text_is_matched_like_any_other(cmdline: str) -> None:
    found = matcher(rule({"CommandLine|startswith": cmdline or "x"}), rule({"CommandLine|endswith": "!"}, number=2))
    assert names(found, event(cmdline + "!")) == (["rule 1"] if cmdline else []) + ["rule 2"]


@pytest.mark.timeout(20)
def test_no_text_makes_wildcards_or_expressions_take_long() -> None:
    found = matcher(rule({"CommandLine": "*a*a*a*a*b"}), rule({"CommandLine|re": "(a+)+(a+)+b$"}, number=2))
    assert found.match(event("a" * 100_000)) == ()


@pytest.mark.parametrize(
    "field", ["process.env", "process.namespaces", "process.nothing", "nothing", "process", "a.b.c"]
)
def test_a_field_that_is_no_value_is_absent(field: str) -> None:
    seen = event(process=Process(pid=1, env={"PATH": "/bin"}))
    assert names(matcher(rule({f"{field}|contains": "PATH"})), seen) == []
    assert names(matcher(rule({f"{field}|exists": False})), seen) == ["rule 1"]


def test_a_rule_too_large_for_one_pass_still_matches() -> None:
    huge = "x" * 200_000
    assert names(matcher(rule({"CommandLine|contains": [huge, "ls"]})), event(f"a{huge}")) == ["rule 1"]


def test_a_hexadecimal_number_as_windows_writes_it_equals_the_number() -> None:
    assert names(matcher(rule({"CommandLine": 255})), event("0xff")) == ["rule 1"]
