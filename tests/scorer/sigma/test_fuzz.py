"""Garbage: whatever a file or an event holds, there is a rule or a refusal with its place, and always an answer.

SHIELD_FUZZ_EXAMPLES is how many examples each test tries.
"""

import os
import re
import subprocess
import sys
import warnings
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from shield.event import Data, Event, File, Log, Process, User, decode, encode
from shield.policy.document import DocumentError
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.parse import parse
from shield.scorer.sigma.rule import Rule

from .reference import Refused, matches

EXAMPLES = int(os.environ.get("SHIELD_FUZZ_EXAMPLES", "100"))
SECONDS_MOST = 20

RULE = rb"""title: Something odd
id: 6d3f1a0e-54a5-4f0b-9d0c-000000000001
status: test
description: It is odd.
tags: [attack.execution, attack.t1059.004]
logsource:
  category: process_creation
detection:
  selection:
    Image|endswith: ['\odd', "/odd*"]
    CommandLine|contains|all: &words
      - a
      - 'b\?'
    CommandLine|re|i: '^a(b|c)+\d{1,3}$'
    ProcessId|gte: 0x10
  keywords: *words
  other:
    - ParentImage: null
    - User|windash|cased: -x
  condition: selection or keywords or 1 of oth* and not (selection)
level: high
shield: {name: odd, points: 33}
"""

# ---- what is fed in ----

SNIPPETS = [
    *(
        b"|",
        b"|re",
        b"|all",
        b"|base64offset",
        b"|expand",
        b"%x%",
        b"|fieldref",
        b"|cidr",
        b"|hour",
        b"|neq",
        b"*",
        b"\\",
    ),
    *(b": ", b"\n", b"  ", b"- ", b"[", b"]", b"{", b"}", b"&a ", b"*a", b"!!python/none ", b"---\n", b"'", b'"', b"#"),
    *(b"null", b"~", b"true", b"1e400", b".nan", b"-.inf", b"0x", b"9" * 400, b"2026-01-01", b"<<: *words", b"? "),
    *(
        b"(",
        b")",
        b" and ",
        b" not ",
        b" of ",
        b"1 of them",
        b" | count() > 5",
        b"(?",
        b"{9999}",
        b"\xff",
        b"\0",
        b"\t",
    ),
    *(b"condition", b"detection", b"logsource", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"%YAML 9.9\n"),
]
pieces = st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=6))


@st.composite
def mutated_rules(draw: st.DrawFn) -> bytes:
    """A good rule of which parts are replaced, doubled or moved."""
    text = RULE
    for _ in range(draw(st.integers(1, 5))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 12)))
        moved = draw(st.integers(0, len(RULE)))
        put = draw(st.one_of(pieces, pieces, st.just(RULE[moved : moved + 40])))
        text = text[:begin] + put + text[end:]
    return text


odd_texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["*", "\\", "%x%", "(a+)+$", "10.0.0.0/8", "2026-01-01", "1e5", "\0", "a\u2028b", "\ue000", "", "a|b"]
    ),
)
odd_scalars = st.one_of(
    odd_texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.binary(max_size=4),
    st.integers(-(10**400), 10**400),
)
odd_keys = st.one_of(
    st.sampled_from(["", "Image", "CommandLine", "condition", "timeframe", "a.b.c", "process.env.X", "process.pid"]),
    odd_texts,
    odd_scalars.filter(lambda key: not isinstance(key, bytes)),
)
NAMES = (
    "all neq re i m s cased contains startswith endswith windash base64 base64offset wide utf16 utf16le utf16be cidr"
)
MODIFIERS = [
    *NAMES.split(),
    *[
        "exists",
        "expand",
        "fieldref",
        "gt",
        "gte",
        "lt",
        "lte",
        "hour",
        "day",
        "week",
        "year",
        "minute",
        "month",
        "dotall",
        "nothing",
    ],
]
item_keys = st.builds(
    lambda field, modifiers: "|".join([field, *modifiers]),
    st.sampled_from(["", "Image", "CommandLine", "ProcessId", "Nothing"]),
    st.lists(st.sampled_from(MODIFIERS), max_size=3),
)
anything = st.recursive(
    odd_scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(odd_keys, inner, max_size=4),
        st.dictionaries(item_keys, inner, max_size=4),
    ),
    max_leaves=12,
)
conditions = st.one_of(
    st.sampled_from(["sel", "1 of them", "all of s*", "not sel", "sel or other", "sel and", "sel | count() > 1", ""]),
    st.lists(st.sampled_from(["sel", "not", "and", "or", "(", ")", "1", "of", "them", "|", "*", "é"]), max_size=9).map(
        " ".join
    ),
    anything,
)
plausible = st.one_of(
    st.dictionaries(item_keys, st.one_of(odd_scalars, st.lists(odd_scalars, max_size=3)), min_size=1, max_size=3),
    st.lists(st.one_of(odd_scalars, st.dictionaries(item_keys, odd_scalars, min_size=1, max_size=2)), max_size=3),
    anything,
)

any_text = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["\0", "a\nb", "\x1b[2J\x1b]0;x\a", "\ue000\uf8ff", "\u202eexe", "a" * 100_000, "\\" * 1000, "-/" * 500]
    ),
)
any_value = st.one_of(
    any_text, st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)
any_fields = st.dictionaries(
    st.one_of(st.sampled_from(["Image", "CommandLine", "ProcessId", "User"]), st.text(max_size=5)),
    st.one_of(any_value, st.lists(any_value, max_size=3).map(tuple)),
    max_size=5,
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event of which every text may be anything that UTF-8 can write."""
    process = draw(
        st.none()
        | st.builds(
            Process, pid=st.integers(), exe=any_text, cmdline=any_text, args=st.lists(any_text, max_size=3).map(tuple)
        )
    )
    log = draw(st.none() | st.builds(Log, st.just("linux"), any_text, st.just("process_creation"), fields=any_fields))
    data = Data(process=process, user=draw(st.none() | st.builds(User, name=any_text)), log=log)
    return seen_now(data)


def seen_now(data: Data) -> Event:
    return Event(1, "web-3", "process_start", "ALLOW", 0, "", data, "", "", "")


EVENTS = [
    seen_now(Data(process=Process(pid=16, exe="/bin/odd", cmdline="a b?"))),
    seen_now(Data(log=Log("linux", "sshd", "process_creation", fields={"Image": "\\odd", "ProcessId": "0x10"}))),
    seen_now(Data(file=File(path="x"))),
]


# ---- what comes out ----


def read(text: bytes) -> list[Rule]:
    """The rules in a file, none where it is refused; a refusal names the file and the line."""
    try:
        return parse(text, "odd.yml")
    except DocumentError as error:
        refusal = str(error)
    assert re.match(r"odd\.yml:\d+: .*; ", refusal), refusal
    return []


def answers(rules: list[Rule], event: Event) -> set[str]:
    return {signal.rule_id for signal in Matcher(rules, {rule.id: 1 for rule in rules}).match(event)}


@settings(max_examples=EXAMPLES)
@given(mutated_rules())
def test_a_mutated_rule_is_a_rule_or_is_refused_with_its_place(text: bytes) -> None:
    rules = read(text)
    for event in EVENTS:
        answers(rules, event)


@settings(max_examples=EXAMPLES)
@given(st.one_of(st.binary(max_size=60), st.lists(pieces, max_size=20).map(b"".join)))
def test_bytes_that_are_no_rule_are_refused_with_their_place(text: bytes) -> None:
    read(text)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.dictionaries(st.sampled_from(["sel", "other", "_x"]), plausible, max_size=2), conditions)
@example({"sel": {"Image": 10**400}}, "sel")
@example({"sel": {"|i": "\n"}}, "sel")
@example({"sel": {"Image|gt": float("nan")}}, "sel")
@example({"sel": {"Image|re": 5}}, "sel")
@example({"sel": {"Image|re": "[[a]"}}, "sel")
@example({"sel": {"Image|fieldref": 1}}, "sel")
@example({"sel": {1: 1}}, "sel")
@example({"sel": {"Image|hour": 1.5}}, "sel")
@example({"sel": {"Image|re": "a", "CommandLine|contains": "\0"}}, "sel")
def test_any_structure_of_a_detection_means_what_the_reference_says_or_is_refused(
    searches: dict[str, Any], condition: Any
) -> None:
    plain = {
        "title": "Odd",
        "id": "6d3f1a0e-54a5-4f0b-9d0c-000000000001",
        "logsource": {"category": "process_creation"},
        "detection": {**searches, "condition": condition},
    }
    rules = read(yaml.safe_dump(plain, allow_unicode=True).encode("utf-8", "surrogatepass"))
    assume(rules)
    for event in EVENTS:
        answer = bool(answers(rules, event))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd expressions
                wanted = answer if event.data.log is None and event.data.file else matches(plain, event)
        except (Refused, TypeError, AttributeError):  # the reference is for well-formed rules
            continue
        assert answer == wanted


@settings(max_examples=EXAMPLES)
@given(
    anything, st.sampled_from(["title", "id", "level", "status", "tags", "logsource", "detection", "shield", "date"])
)
def test_a_wrong_type_anywhere_is_a_rule_or_is_refused_with_its_place(value: Any, key: str) -> None:
    plain = {**yaml.safe_load(RULE), key: value}
    read(yaml.safe_dump(plain, allow_unicode=True).encode("utf-8", "surrogatepass"))


@settings(max_examples=EXAMPLES)
@given(events())
def test_any_event_has_an_answer(event: Event) -> None:
    found = {signal.rule_id for signal in TOGETHER.match(event)}
    assert found == {signal.rule_id for one in ALONE for signal in one.match(event)}
    assert found == {signal.rule_id for signal in TOGETHER.match(decode(encode(event)))}


def kind(number: int, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": f"rule {number}",
        "id": f"00000000-0000-4000-8000-{number:012}",
        "logsource": {"category": "process_creation"},
        "detection": {"sel": item, "condition": "sel"},
    }


ITEMS: list[dict[str, Any]] = [
    *(
        {"CommandLine": "*a*b*"},
        {"CommandLine|contains": "\\"},
        {"CommandLine|contains|windash": "-a"},
        {"": ["a", "é"]},
    ),
    *({"CommandLine|re": "^(a|b)*$"}, {"CommandLine|re|i": "xy+"}, {"Image|endswith": "???"}, {"User": None}),
    *({"ProcessId|gt": 5}, {"ProcessId|cidr": "0.0.0.0/0"}, {"Image|fieldref": "CommandLine"}, {"CommandLine|hour": 5}),
    *({"Image|exists": True}, {"Image": ""}, {"User|base64offset|contains": "ab"}, {"|re": "\\x1b"}, {"User|neq": "a"}),
]
ALL_KINDS = parse(
    yaml.safe_dump_all([kind(number, item) for number, item in enumerate(ITEMS)], allow_unicode=True).encode(),
    "all.yml",
)
TOGETHER, *ALONE = (
    Matcher(rules, {rule.id: 1 for rule in rules}) for rules in (ALL_KINDS, *([one] for one in ALL_KINDS))
)


# ---- what takes long or goes deep ----


def plain_rule(detection: str) -> bytes:
    return f"title: Odd\nlogsource:\n  category: process_creation\ndetection:\n{detection}".encode()


HEAVY = {
    "ten thousand values": plain_rule("  s:\n    Image:\n" + "      - abc\n" * 10_000 + "  condition: s\n"),
    "ten thousand searches": plain_rule(
        "".join(f"  s{n}:\n    Image: a{n}\n" for n in range(2_000)) + "  condition: 1 of s*\n"
    ),
    "a megabyte of one value": plain_rule("  s:\n    Image: " + "a" * 1_000_000 + "\n  condition: s\n"),
    "many wildcards": plain_rule("  s:\n    CommandLine: '" + "*a" * 2_000 + "*c'\n  condition: s\n"),
    "deep brackets": plain_rule("  s:\n    Image: a\n  condition: " + "(" * 3_000 + "s" + ")" * 3_000 + "\n"),
    "many negations": plain_rule("  s:\n    Image: a\n  condition: " + "not " * 3_000 + "s\n"),
    "a long condition": plain_rule("  s:\n    Image: a\n  condition: s" + " or s and not s" * 1_000 + "\n"),
    "deep lists": plain_rule("  s: " + "[" * 3_000 + "a" + "]" * 3_000 + "\n  condition: s\n"),
    "deep mappings": plain_rule("  s: " + "{a: " * 3_000 + "a" + "}" * 3_000 + "\n  condition: s\n"),
    "aliases of aliases": plain_rule(
        "  s0: &a0 [x, x]\n"
        + "".join(f"  s{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
        + "  condition: s39\n"
    ),
    "a list that holds itself": plain_rule("  s: &a [*a]\n  condition: s\n"),
    "a mapping that holds itself": plain_rule("  s: &a {Image: *a}\n  condition: s\n"),
    "a thousand modifiers": plain_rule("  s:\n    Image" + "|contains" * 1_000 + ": a\n  condition: s\n"),
    "windash upon windash": plain_rule("  s:\n    Image|windash|windash|windash: -a -b -c\n  condition: s\n"),
    "offset upon offset": plain_rule("  s:\n    Image" + "|base64offset" * 12 + ": abc\n  condition: s\n"),
    "a large repetition": plain_rule("  s:\n    CommandLine|re: '(a{1000}){1000}'\n  condition: s\n"),
    "an expression that is long": plain_rule("  s:\n    CommandLine|re: '" + "(a|b)?" * 300 + "'\n  condition: s\n"),
    "deep groups": plain_rule("  s:\n    CommandLine|re: '" + "(" * 3_000 + "a" + ")" * 3_000 + "'\n  condition: s\n"),
    **{
        f"the expression {expression}": plain_rule(f"  s:\n    CommandLine|re: '{expression}'\n  condition: s\n")
        for expression in ["(a+)+$", "^(a|aa)+$", "(a*)*b", "(.*a){20}", "(?=a)(a+)+$", r"(a+)+\1$", "^(?!b)(a|a?)+$"]
    },
}

RUN = """
import sys
from shield.event import Data, Event, Log, Process
from shield.policy.document import DocumentError
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.parse import parse

try:
    rules = parse(sys.stdin.buffer.read(), "odd.yml")
except DocumentError as error:
    print("refused", str(error)[:200])
    sys.exit()
matcher = Matcher(rules, {rule.id: 1 for rule in rules})
for text in ("a" * 100_000 + "!", "ab" * 20_000, "-" * 100_000, "a"):
    process = Process(pid=1, exe=text, cmdline=text)
    print(len(matcher.match(Event(1, "h", "process_start", "ALLOW", 0, "", Data(process=process), "", "", ""))))
"""


@pytest.mark.parametrize("name", HEAVY)
def test_a_rule_that_is_huge_or_deep_or_slow_is_refused_or_answers_in_time(name: str) -> None:
    """A hang or a crash of the interpreter would take the tests with it; so each runs on its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN],
        input=HEAVY[name],
        capture_output=True,
        timeout=SECONDS_MOST,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    output = done.stdout.decode()
    assert re.match(r"refused odd\.yml:\d+: |(\d+\n){4}$", output), output
