"""Every format of indicators is told from its content and read; what can't be used is told, never half-used."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.scorer.indicators import formats, stix
from shield.scorer.indicators.indicator import Found, Indicator, PassedOver, Problem
from shield.scorer.indicators.value import Refused

SHA256 = "ab" * 31 + "cd"
MD5 = "0123456789abcdef" * 2


def found(text: str | bytes) -> list[Found]:
    return list(formats.read(text.encode() if isinstance(text, str) else text, "feed"))


def values(text: str | bytes) -> list[tuple[str, str]]:
    return [(one.kind, one.value) for one in found(text) if isinstance(one, Indicator)]


def problems(text: str | bytes) -> list[str]:
    return [str(one) for one in found(text) if isinstance(one, Problem)]


def bundle(*patterns: str, **more: Any) -> str:
    objects = [{"type": "indicator", "pattern_type": "stix", "pattern": one, **more} for one in patterns]
    return json.dumps({"type": "bundle", "id": "bundle--1", "objects": objects})


def test_a_plain_list_is_guessed_line_by_line() -> None:
    text = f"""# comment
; another
hxxps://evil[.]example:443/Pay%2fload#top
evil2(.)example.
1.2.3.4:8080
45.1.2.3/16
{SHA256.upper()}  setup.exe
C:\\Users\\Public\\a b.exe
/tmp/.hidden
dropper.exe
2001:DB8:0::1
0.0.0.0 sink.example # from a hosts file
evil.example/path
"""
    assert values(text) == [
        ("url", "https://evil.example/Pay%2Fload"),
        ("domain", "evil2.example"),
        ("ip", "1.2.3.4"),
        ("cidr", "45.1.0.0/16"),
        ("sha256", SHA256),
        ("path", "C:\\Users\\Public\\a b.exe"),
        ("path", "/tmp/.hidden"),
        ("file_name", "dropper.exe"),
        ("ip", "2001:db8::1"),
        ("domain", "sink.example"),
        ("url", "evil.example/path"),
    ]
    assert not problems(text)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("0.0.0.0/0", "too broad"),
        ("::/0", "too broad"),
        ("127.0.0.1", "private or reserved"),
        ("192.168.0.0/16", "private or reserved"),
        ("172.0.0.0/8", "private or reserved"),
        ("fe80::1", "private or reserved"),
        ("http://10.1.2.3/x", "private or reserved"),
        ("com", "no hash, address"),
        ("co.uk", "too broad"),
        ("github.com", "too broad"),
        ("https://www.google.com", None),
        ("https://google.com/", "too broad"),
        ("8.8.8.8", "name server"),
        ("d41d8cd98f00b204e9800998ecf8427e", "empty file"),
        ("0" * 64, "placeholder"),
        ("C:\\Windows\\System32\\cmd.exe", "every host"),
        ("999.1.1.1", "no hash"),
        (SHA256[:50], "no hash"),
        ("x" * 5000 + ".example", "longer"),
    ],
)
def test_what_would_match_everything_is_refused_with_a_reason(line: str, told: str | None) -> None:
    said = problems(f"# list\n{line}\n")
    if told is None:
        assert not said
    else:
        assert len(said) == 1
        assert said[0].startswith("line 2: ")
        assert told in said[0]


def test_a_table_is_read_by_the_names_of_its_columns() -> None:
    text = f"""Indicator Value;Type;Expiration;Description;Confidence;Source
evil.example;hostname;2030-01-02T03:04:05Z;"a; quoted
note";95;CERT
{MD5};FileHash-MD5;2030-01-02;;30;
198.51.100.7;IPv4;never;;;
x;regkey;;;;
198.51.100.8;ip;soon;;;
;ip;;;;
"""
    indicators = [one for one in found(text) if isinstance(one, Indicator)]
    assert indicators == [
        Indicator("domain", "evil.example", "CERT", 1893553445 * 10**9, "high", "a; quoted\nnote"),
        Indicator("md5", MD5, "feed", 1893542400 * 10**9, "low"),
        Indicator("ip", "198.51.100.7", "feed"),
    ]
    assert [one.partition(";")[0] for one in problems(text)] == [
        "line 6: type 'regkey' is not one that Shield can match",
        "line 7: 'soon' is no time",
        "line 8: the row holds no indicator",
    ]


def test_a_header_may_be_a_comment_and_kinds_have_columns_of_their_own() -> None:
    text = f"""# A feed
# "first_seen","md5_hash","sha256_hash","signature"
"2026-01-01","{MD5}","{SHA256}","Loader"
"2026-01-01","n/a","{SHA256}","Loader"
"""
    assert values(text) == [("md5", MD5), ("sha256", SHA256), ("sha256", SHA256)]


def test_a_comment_that_looks_like_a_header_does_not_make_a_list_a_table() -> None:
    assert values("# domain, ip\nevil.example\n1.2.3.4\n") == [("domain", "evil.example"), ("ip", "1.2.3.4")]


def test_a_quote_that_is_never_closed_costs_one_problem_and_is_told() -> None:
    text = 'value,description\nevil.example,"open\n' + "evil2.example,x\n" * 100
    assert "a quote is opened and not closed; lines 2 to 102" in problems(text)[0]


def test_a_stix_bundle_yields_each_alternative_of_its_patterns() -> None:
    text = bundle(
        f"[file:hashes.'SHA-256' = '{SHA256}' OR file:hashes.MD5 = '{MD5}']",
        "[ipv4-addr:value ISSUBSET '45.1.0.0/16'] OR [domain-name:value = 'evil.example']",
        "[url:value = 'http://evil.example/it\\'s'] OR [file:name IN ('a.exe', 'b.exe')]",
        valid_until="2030-01-02T03:04:05.678Z",
        name="Loader",
        confidence=50,
    )
    assert values(text) == [
        ("sha256", SHA256),
        ("md5", MD5),
        ("cidr", "45.1.0.0/16"),
        ("domain", "evil.example"),
        ("url", "http://evil.example/it's"),
        ("file_name", "a.exe"),
        ("file_name", "b.exe"),
    ]
    first = found(text)[0]
    assert isinstance(first, Indicator)
    assert (first.expires_ns, first.note, first.level) == (1893553445 * 10**9, "Loader", "medium")


@pytest.mark.parametrize(
    "pattern",
    [
        "[file:name = 'a.exe' AND file:size = 3]",
        "[domain-name:value = 'a.example'] FOLLOWEDBY [domain-name:value = 'b.example']",
        "[domain-name:value = 'a.example'] WITHIN 5 SECONDS",
        "[domain-name:value LIKE '%.example']",
        "[domain-name:value != 'a.example']",
        "[NOT domain-name:value = 'a.example']",
        "[domain-name:value = 'a.example' OR email-addr:value = 'a@b.example']",
        "[domain-name:value = 'a.example'",
        "domain-name:value = 'a.example'",
        "[]",
        "",
    ],
)
def test_a_pattern_beyond_that_is_unsupported_as_a_whole(pattern: str) -> None:
    with pytest.raises(Refused):
        stix.parse(pattern)
    assert values(bundle(pattern)) == []
    assert problems(bundle(pattern))[0].startswith("objects[0].pattern: the pattern")


def test_revoked_and_foreign_objects_of_a_bundle_do_no_harm() -> None:
    assert found(bundle("[domain-name:value = 'a.example']", revoked=True)) == [PassedOver("revoked or benign")]
    assert "unsupported" in problems(bundle("rule x {condition: true}", pattern_type="yara"))[0]
    text = json.dumps({"type": "bundle", "objects": [{"type": "malware"}, 7, {"type": "indicator", "pattern": 5}]})
    assert [one.partition(":")[0] for one in problems(text)] == ["objects[1]", "objects[2]"]


def attribute(kind: str, value: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "value": value, "to_ids": True, **more}


def test_misp_events_attributes_and_objects_are_read() -> None:
    event = {
        "info": "A campaign",
        "Orgc": {"name": "CERT"},
        "Attribute": [
            attribute("domain|ip", "evil.example|198.51.100.7"),
            attribute("ip-dst|port", "198.51.100.8|443"),
            attribute("ip-src", "198.51.100.0/24"),
            attribute("hostname", "a.evil.example", to_ids=False),
            attribute("md5", MD5, deleted=True),
            attribute("regkey", "HKLM\\x"),
            attribute("sha1", "short"),
            {"type": "md5"},
        ],
        "Object": [{"name": "file", "Attribute": [attribute("filename|sha256", f"a.exe|{SHA256}", comment="dropper")]}],
    }
    expected = [
        ("domain", "evil.example"),
        ("ip", "198.51.100.7"),
        ("ip", "198.51.100.8"),
        ("cidr", "198.51.100.0/24"),
        ("sha256", SHA256),
    ]
    for document in ({"Event": event}, [{"Event": event}], {"response": [{"Event": event}]}):
        assert values(json.dumps(document)) == expected
    indicators = [one for one in found(json.dumps({"Event": event})) if isinstance(one, Indicator)]
    assert (indicators[0].source, indicators[0].note) == ("CERT", "A campaign")
    assert indicators[-1].note == "dropper"
    passed = [one.reason for one in found(json.dumps({"Event": event})) if isinstance(one, PassedOver)]
    assert len(passed) == 3
    assert [one.partition(":")[0] for one in problems(json.dumps({"Event": event}))] == [
        "Event.Attribute[6]",
        "Event.Attribute[7]",
    ]
    assert values(json.dumps({"response": {"Attribute": event["Attribute"]}})) == expected[:4]
    assert values(json.dumps(event["Attribute"])) == expected[:4]


def test_json_that_is_cut_short_is_one_problem_and_nothing_of_it_is_used() -> None:
    text = bundle("[domain-name:value = 'a.example']")
    for cut in range(1, len(text)):
        assert values(text[:cut]) == []
    assert "not valid JSON" in problems(text[:-5])[0]
    assert "line 2" in problems('{"Event":\n nonsense}')[0]


def test_json_nested_a_thousand_deep_is_a_problem() -> None:
    assert problems('{"Event":' * 200 + "1" + "}" * 200)
    assert problems('{"Event":' * 100_000)


fragments = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["indicator,type,expiration\n", "# md5,url\n", '{"type":"bundle","objects":[', '{"Event":{"Attribute":[', "]}}"]
    ),
    st.sampled_from(['"', ",", "\n", "[", "]", "hxxp://", "[.]", "::", "/", "\\", "\x00", "'", "1.2.3.4", MD5]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(fragments, max_size=12).map("".join))
def test_garbage_is_told_and_never_raises(text: str) -> None:
    for one in found(text):
        assert isinstance(one, Indicator | Problem | PassedOver)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_are_told_and_never_raise(raw: bytes) -> None:
    found(raw)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Event",
                        "Attribute",
                        "Object",
                        "response",
                        "type",
                        "value",
                        "to_ids",
                        "objects",
                        "pattern",
                        "Orgc",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_json_of_any_shape_never_raises(document: Any) -> None:
    for kind in ("stix", "misp"):
        list(formats.read_json(json.dumps(document).encode(), kind, "feed"))  # pyright: ignore[reportArgumentType]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="[]'\"()=:.,abORANDfile-hashes \\", max_size=60))
def test_a_pattern_is_read_or_refused(pattern: str) -> None:
    with contextlib.suppress(Refused):
        stix.parse(pattern)
