"""The reference evaluator itself, by the examples of the Sigma specification."""

import base64
from typing import Any

import pytest

from shield.event import Data, Event, Process

from .reference import Refused, matches, matches_fields


def rule(condition: str | list[str] = "sel", **searches: Any) -> dict[str, Any]:
    return {"logsource": {}, "detection": {**searches, "condition": condition}}


def holds(item: dict[str, Any], **fields: Any) -> bool:
    return matches_fields(rule(sel=item), fields)


@pytest.mark.parametrize(
    ("value", "matching", "others"),
    [
        ("prog?.exe", ["progA.exe", "PROGb.EXE"], ["prog.exe", "progAB.exe"]),
        ("antivirus_V*.exe", ["antivirus_V1.exe", "antivirus_V21.2.1.exe", "antivirus_v.exe"], ["antivirus_V1.exe "]),
        (r"a\b", [r"a\b"], [r"a\\b", "ab"]),
        (r"a\\b", [r"a\b"], [r"a\\b"]),
        (r"a\*", ["a*"], ["ab", "a\\"]),
        (r"a\?", ["a?"], ["ab"]),
        (r"a\\*", ["a\\", "a\\b"], ["a*", "ab"]),
        (r"a\\\*", [r"a\*"], [r"a\b"]),
        (r"a\\\b", [r"a\\b"], [r"a\b"]),
        (r"a\\\\b", [r"a\\b"], [r"a\b", r"a\\\b"]),
        ("C:\\Windows\\", ["c:\\windows\\"], ["c:\\windows"]),
        ("*", ["", "a", "a\nb"], []),
        ("?", ["a", "\n"], ["", "ab"]),
        ("a*b*c", ["abc", "axbxbxc"], ["acb", "abcx"]),
        ("STRASSE", ["straße"], []),
    ],
)
def test_wildcards_and_backslashes_are_those_of_the_specification(
    value: str, matching: list[str], others: list[str]
) -> None:
    assert [one for one in matching if not holds({"f": value}, f=one)] == []
    assert [one for one in others if holds({"f": value}, f=one)] == []


@pytest.mark.parametrize(
    ("item", "matching", "others"),
    [
        ({"f|contains": "ad"}, ["xADx", "ad"], ["a d"]),
        ({"f|startswith": "ad"}, ["ADx"], ["xad"]),
        ({"f|endswith": "\\cmd.exe"}, ["c:\\CMD.exe"], ["cmd.exe", "\\cmd.exe "]),
        ({"f|contains": ["a", "b"]}, ["a", "b"], ["c"]),
        ({"f|contains|all": ["a", "b"]}, ["ba"], ["a", "b"]),
        ({"f|cased": "Ab"}, ["Ab"], ["ab"]),
        ({"f|contains|cased": "Ab"}, ["xAbx"], ["xabx"]),
        ({"f|cased|windash": "-A"}, ["/A"], ["/a"]),
        ({"f|neq": "a"}, ["b", None], ["a", "A"]),
        ({"f|neq": ["a", "b"]}, ["c"], ["a", "b"]),
        ({"f|neq": 5}, [4, "4", None], [5, "5"]),
        ({"f|contains|neq": "a"}, ["b"], ["xax"]),
        ({"f|windash": "-a -b"}, ["-a -b", "/a /b", "\u2013a -b", "/a \u2014b", "\u2015a \u2015B"], ["a b", "+a -b"]),
        ({"f|windash": "a-b"}, ["a-b"], ["a/b"]),
        ({"f|contains|windash": "/x"}, ["a -x"], ["a x"]),
        ({"f|exists": True}, ["", "a", 0], [None]),
        ({"f|exists": False}, [None], ["", "a"]),
        ({"f": None}, [None], ["", "a", 0]),
        ({"f": []}, [None], ["", "a"]),
        ({"f": ""}, [None, ""], ["a", 0]),
        ({"f": "*"}, ["", "a", 0], [None]),
        ({"f|contains": ""}, ["", "a"], [None]),
        ({"f": ["a", None]}, ["a", None], ["", "b"]),
        ({"f|re": "b+"}, ["abba"], ["ABBA", None]),
        ({"f|re|i": "b+"}, ["ABBA"], []),
        ({"f|re": "^b.c$"}, ["bxc"], ["bxc\n", "a\nbxc", "b\nc"]),
        ({"f|re|m": "^b.c$"}, ["a\nbxc\nd"], ["b\nc"]),
        ({"f|re|s": "b.c"}, ["b\nc"], []),
        ({"f|re|i|m|s": "^B.C$"}, ["a\nb\nc"], []),
        ({"f|re": r"\$[$]$"}, ["$$"], ["$$\n"]),
        ({"f|re|i": "^\u00e9k$"}, ["\u00c9\u212a"], []),
        ({"f|re": r"^[\w]\d$"}, ["a1"], ["\u00e91", "a\u0661"]),
        ({"f|re": "(?i)^b$"}, ["B"], ["B\n"]),
        ({"f|re|startswith": "b|c"}, ["bx", "cx"], ["xb", "xc"]),
        ({"f|cidr": "10.0.0.0/8"}, ["10.1.2.3"], ["11.0.0.1", "10.1.2", "", "x", None]),
        ({"f|cidr": "fe80::/10"}, ["FE80::1", "febf::"], ["fec0::1", "10.0.0.1"]),
        ({"f": True}, [True, "true", "True"], [False, 1, "1", None]),
        ({"f": "true"}, [True], [False]),
        ({"f": 31}, [31, 31.0, "31", "0x1f", "0X1F", "31.0", "031"], [32, " 31", "3_1", "0b11111", "", None, True]),
        ({"f": 1.5}, [1.5, "1.5"], [1, 2]),
        ({"f": "31"}, ["31", 31], ["0x1f"]),
        ({"f|gt": 5}, [6, 5.5, "6", "0xff"], [5, "5", "", "x", None, True]),
        ({"f|gte": 5}, [5, 6], [4]),
        ({"f|lt": 5}, [4, "-1"], [5, None]),
        ({"f|lte": 5}, [5, 4], [6]),
        ({"f|gt": 2**53}, [2**53 + 1], [2**53]),
        ({"f|minute": 24}, ["2026-04-17T05:24:53.088849Z", "2026-04-17 05:24:53.079"], ["2026-04-17 05:25:53"]),
        ({"f|hour": 5}, ["2026-04-17 05:24:53", "2026-04-17T05:24:53+02:00"], ["2026-04-17 06:24:53", "x", None]),
        ({"f|hour|gte": 22}, ["2026-04-17 23:00:00"], ["2026-04-17 21:59:59"]),
        ({"f|day": 17}, ["2026-04-17 05:24:53"], ["2026-04-18 05:24:53"]),
        ({"f|week": 16}, ["2026-04-17 05:24:53"], ["2026-04-20 05:24:53"]),
        ({"f|month": 4}, ["2026-04-17 05:24:53"], ["2026-05-17 05:24:53"]),
        ({"f|year": 2026}, ["2026-04-17 05:24:53"], ["2025-04-17 05:24:53"]),
    ],
)
def test_each_modifier_is_that_of_the_specification(
    item: dict[str, Any], matching: list[Any], others: list[Any]
) -> None:
    assert [one for one in matching if not holds(item, f=one)] == []
    assert [one for one in others if holds(item, f=one)] == []


@pytest.mark.parametrize(
    ("modifiers", "value", "found"),
    [
        ("base64", "foobar", "Zm9vYmFy"),
        ("wide", "cmd", "c\0m\0d\0"),
        ("utf16le", "cmd", "c\0m\0d\0"),
        ("utf16be", "cmd", "\0c\0m\0d"),
        ("utf16", "cmd", "\ufeffc\0m\0d\0"),
        ("wide|base64", "cmd", "YwBtAGQA"),
        ("utf16be|base64", "cmd", "AGMAbQBk"),
        ("utf16|base64", "cmd", "//5jAG0AZAA="),
        ("base64offset", "foobar", "Zm9vYmFy"),
        ("base64offset", "foobar", "Zvb2Jhc"),
        ("base64offset", "foobar", "mb29iYX"),
        ("wide|base64offset|contains", "IEX", "xxSQBFAFgAxx"),
    ],
)
def test_encodings_are_those_of_the_specification(modifiers: str, value: str, found: str) -> None:
    assert holds({f"f|{modifiers}": value}, f=found)
    assert not holds({f"f|{modifiers}": value}, f=value)


@pytest.mark.parametrize("place", range(6))
def test_an_offset_encoding_is_found_wherever_the_text_is(place: int) -> None:
    text = base64.b64encode(b"x" * place + "über-Geheimnis".encode() + b"yz").decode()
    assert holds({"f|base64offset|contains": "über-Geheimnis"}, f=text)


def test_fields_are_compared_with_fields() -> None:
    assert holds({"a|fieldref": "b"}, a="x", b="X")
    assert not holds({"a|fieldref": "b"}, a="x", b="y")
    assert not holds({"a|fieldref": "b"}, a="x")
    assert not holds({"a|fieldref": "b"}, b="x")
    assert not holds({"a|fieldref": "b"})
    assert holds({"a|fieldref|neq": "b"}, a="x", b="y")
    assert holds({"a|fieldref|startswith": "b"}, a="xy", b="X")
    assert not holds({"a|fieldref|startswith": "b"}, a="yx", b="X")
    assert holds({"a|fieldref|endswith": "b"}, a="yx", b="X")
    assert holds({"a|fieldref|contains": "b"}, a="yxy", b="X")
    assert not holds({"a|fieldref|contains": "b"}, a="yxy", b="*")
    assert holds({"a|fieldref": "b"}, a=("p", "q"), b=("r", "Q"))


def test_placeholders_stand_for_any_of_their_values() -> None:
    known = {"admins": ["root", "adm*"], "host": ["a.b"]}

    def found(item: dict[str, Any], text: str) -> bool:
        return matches_fields(rule(sel=item), {"f": text}, known)

    assert [one for one in ("root", "ADMIN", "user", "%admins%") if found({"f|expand": "%admins%"}, one)] == [
        "root",
        "ADMIN",
    ]
    assert found({"f|expand": r"\%plain%admins%"}, "%plainroot")
    assert found({"f|expand|contains": "-%admins%-"}, "x-root-")
    assert found({"f": "%admins%"}, "%admins%")
    assert found({"f|re|expand": "^%host%$"}, "a.b")
    assert not found({"f|re|expand": "^%host%$"}, "axb")
    with pytest.raises(Refused):
        found({"f|expand": "%nobody%"}, "root")


def test_a_list_in_an_event_matches_if_any_element_does_and_negation_is_about_the_whole() -> None:
    assert holds({"f": "a"}, f=("x", "a"))
    assert not holds({"f|neq": "a"}, f=("x", "a"))
    assert holds({"f|contains|all": ["a", "b"]}, f=("a", "b"))
    assert not matches_fields(rule("not sel", sel={"f": "a"}), {"f": ("x", "a")})


def test_a_map_is_joined_with_and_and_a_list_of_maps_with_or() -> None:
    both = {"EventLog": "Security", "EventID": [517, 1102]}
    assert holds(both, EventLog="security", EventID=1102)
    assert not holds(both, EventLog="security", EventID=1)
    assert not holds(both, EventID=517)
    either = rule(sel=[{"Image|endswith": "\\example.exe"}, {"Description|contains": "Test executable"}])
    assert matches_fields(either, {"Image": "c:\\example.exe"})
    assert matches_fields(either, {"Description": "a test executable"})
    assert not matches_fields(either, {"Image": "x"})
    deeper = rule(sel=[[{"a": 1}, {"b": 2}], {"c": 3}, "word"])
    assert [matches_fields(deeper, one) for one in ({"b": 2}, {"c": 3}, {"a": 2}, {"z": "a word"})] == [
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("search", "matching", "others"),
    [
        (["EVILSERVICE", "svchost.exe -n evil"], ["the EvilService", "svchost.exe -n EVIL!"], ["evil service"]),
        (
            {"|all": ["OabVirtualDirectory", " -ExternalUrl "]},
            ["OabVirtualDirectory -ExternalUrl x"],
            [" -ExternalUrl "],
        ),
        ({"|re": "e+v"}, ["xeevx"], ["EEV"]),
        ({"|cased": "Ev"}, ["xEvx"], ["xevx"]),
        ({"|neq": "ev"}, ["x"], ["xevx"]),
        ("a*b", ["xaxbx"], ["ba"]),
        (4688, ["id 4688"], ["468"]),
    ],
)
def test_keywords_are_looked_for_in_the_whole_event(search: Any, matching: list[str], others: list[str]) -> None:
    assert [one for one in matching if not matches_fields(rule(sel=search), {"f": "", "g": one})] == []
    assert [one for one in others if matches_fields(rule(sel=search), {"f": "", "g": one})] == []


def test_all_keywords_may_stand_in_different_fields() -> None:
    assert matches_fields(rule(sel={"|all": ["one", "two"]}), {"a": "one", "b": "two"})


@pytest.mark.parametrize(
    ("condition", "meaning"),
    [
        ("a and b", "a and b"),
        ("a or b and c", "a or (b and c)"),
        ("not a and b", "(not a) and b"),
        ("not (a and b)", "not (a and b)"),
        ("not not a", "a"),
        ("a and not b or c", "(a and (not b)) or c"),
        ("(a or b) and c", "(a or b) and c"),
        ("((a)or(b))", "a or b"),
        ("1 of them", "a or b or c or d_1 or d_2"),
        ("any of them", "a or b or c or d_1 or d_2"),
        ("all of them", "a and b and c and d_1 and d_2"),
        ("1 of d_*", "d_1 or d_2"),
        ("all of d*", "d_1 and d_2"),
        ("all of *_1", "d_1"),
        ("1 of _*", "_e"),
        ("a and not 1 of d_*", "a and not (d_1 or d_2)"),
        (["a and b", "c"], "(a and b) or c"),
    ],
)
def test_conditions_bind_as_the_specification_says(condition: str | list[str], meaning: str) -> None:
    names = ["a", "b", "c", "d_1", "d_2", "_e"]
    searches = {name: {name: 1} for name in names}
    for bits in range(2 ** len(names)):
        event = {name: bits >> place & 1 for place, name in enumerate(names)}
        wanted = eval(meaning, {}, event)
        assert matches_fields(rule(condition, **searches), event) is bool(wanted), event


@pytest.mark.parametrize(
    "condition",
    ["", "b", "a b", "a and", "(a", "a)", "1 of", "1 of b*", "all of _*", "a | count() > 5", "a AND a", "not", "or a"],
)
def test_a_condition_without_meaning_is_refused(condition: str) -> None:
    with pytest.raises(Refused):
        matches_fields(rule(condition, a={"a": 1}), {})


@pytest.mark.parametrize(
    "item",
    [
        {"f|nothing": "a"},
        {"f|contains": 5},
        {"f|gt": "x"},
        {"f|cidr": "10.0.0.1/8"},
        {"f|re": "("},
        {"f|contains|re": "a"},
        {"f|base64": "a*"},
        {"f|base64offset": "a?"},
        {"f|exists": "yes"},
        {"f|fieldref": "a*"},
        {"f|wide": "é"},
        {"|exists": True},
        {"": None},
        {"f": {"g": 1}},
        {"f": [["a"]]},
        {},
    ],
)
def test_an_item_without_meaning_is_refused(item: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        holds(item, f="a")


def test_an_event_of_shield_is_seen_by_the_names_of_sigma() -> None:
    process = Process(pid=31, exe="/usr/bin/curl", cmdline="curl http://x")
    event = Event(1, "web-3", "process_start", "ALLOW", 0, "", Data(process=process), "", "", "")
    assert matches(rule(sel={"Image|endswith": "/curl", "ProcessId": 31}), event)
    assert matches(rule(sel=["HTTP://"]), event)
    assert not matches(rule(sel={"ParentImage|contains": "a"}), event)
