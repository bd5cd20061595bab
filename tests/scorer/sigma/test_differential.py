"""Random rules on random events: the matcher gives the answers of the slow reference, whatever it remembers."""

from typing import Any

import msgspec
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shield.event import Ancestor, Data, Event, Process, User
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.rule import parse

from .reference import matches

letters = st.sampled_from(["a", "b", "A", "B", "ab", " -a", "/b", "-", "/", "\\", "*", "?", ".", "0", "1", " ", "\n"])
# Dotless and dotted i, Kelvin's K, long s, sharp s, both small sigmas: letters that change when their case is folded.
odd = st.sampled_from([*"éÉksi\0😀ßΣ\u0131\u0130\u212a\u017f\u03c3\u03c2\uefe9", "\u2013a", "\u2014b"])
texts = st.lists(st.one_of(letters, letters, odd), max_size=6).map("".join)
addresses = st.sampled_from(["10.0.0.1", "10.0.1.1", "192.168.7.9", "fe80::1", "2001:db8::5", "10.0.0.1 ", "x"])
numbers = st.one_of(st.integers(-2, 3), st.sampled_from([16, 2**31, 2**63 - 1]))
numeric_texts = st.sampled_from(["0", "1", "0x10", "01", "-1", "16", "1.0", ""])

TEXT_FIELDS = ["CommandLine", "Image", "CurrentDirectory", "ParentImage", "User", "process.env.PATH", "NotThere"]
LIST_FIELDS = ["process.args", "ancestors.exe"]
NUMBER_FIELDS = ["ProcessId", "process.exe_mode", "ParentProcessId"]
field_names = st.sampled_from(TEXT_FIELDS * 2 + LIST_FIELDS + NUMBER_FIELDS)

rule_text_pieces = st.sampled_from(["\\*", "\\?", "\\\\", "\\\\*", "*", "?", "a*b", "a?b"])
rule_texts = st.lists(st.one_of(letters, letters, odd, rule_text_pieces), max_size=5).map("".join)
EXPRESSION_PIECES = r"a b A . [ab] [^a] a* b+? (?:a|b) (a) a{1,2} ^ $ \b \. \w \s \\ \x41 (?i:b) a? \d - /"
expression_pieces = st.sampled_from([" ", *EXPRESSION_PIECES.split()])
expressions = st.lists(expression_pieces, min_size=1, max_size=4).map("".join)


def one_or_more(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, st.lists(values, min_size=1, max_size=3))


def item(suffixes: list[str], values: st.SearchStrategy[Any], fields: Any = field_names) -> st.SearchStrategy[Any]:
    return st.tuples(
        fields.flatmap(lambda f: st.sampled_from([f + suffix for suffix in suffixes])), one_or_more(values)
    )


TEXT_SUFFIXES = ["", "|all", "|cased", "|windash", "|windash|all"] + [
    f"|{place}{rest}"
    for place in ("contains", "startswith", "endswith")
    for rest in ("", "|all", "|cased", "|windash", "|all|windash")
]
plain_values = st.one_of(rule_texts, numbers, numeric_texts, st.none(), st.booleans())
items = st.one_of(
    item(TEXT_SUFFIXES, rule_texts),
    item(TEXT_SUFFIXES, rule_texts),
    item(["", "|all"], plain_values),
    item(["|re", "|re|i", "|re|m", "|re|s", "|re|i|s"], expressions),
    item(["|gt", "|gte", "|lt", "|lte"], numbers),
    item(["|cidr"], st.sampled_from(["10.0.0.0/24", "10.0.0.0/8", "fe80::/10", "2001:db8::/32"])),
    st.tuples(field_names.map(lambda name: f"{name}|exists"), st.booleans()),
)
mappings = st.lists(items, min_size=1, max_size=3).map(dict)
keywords = st.text("abAB10é", min_size=1, max_size=2)
searches = st.one_of(
    mappings,
    mappings,
    st.lists(mappings, min_size=1, max_size=2),
    st.lists(keywords, min_size=1, max_size=2),
    st.lists(keywords, min_size=1, max_size=2).map(lambda words: {"|all": words}),
)
names = st.sampled_from(["sel", "sel_a", "filter", "filter_b"])


@st.composite
def conditions(draw: st.DrawFn, known: list[str], depth: int = 2) -> str:
    """A condition on the searches of these names."""
    kind = draw(st.integers(0, 6 if depth else 2))
    if kind == 0:
        return f"{draw(st.sampled_from(['1', 'any', 'all']))} of {draw(st.sampled_from(['them', known[0][:3] + '*']))}"
    if kind <= 2:
        return draw(st.sampled_from(known))
    inner = conditions(known, depth - 1)
    if kind == 3:
        return f"not {draw(inner)}"
    if kind == 4:
        return f"({draw(inner)})"
    return f"{draw(inner)} {draw(st.sampled_from(['and', 'or']))} {draw(inner)}"


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """The content of a rule that pySigma accepts."""
    detection = draw(st.dictionaries(names, searches, min_size=1, max_size=3))
    detection["condition"] = draw(one_or_more(conditions(list(detection))))
    return {"logsource": {"category": "process_creation"}, "detection": detection}


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event of which anything may be missing."""
    text = st.one_of(texts, texts, addresses, numeric_texts)
    above = draw(st.lists(st.builds(Ancestor, pid=st.just(1), exe=texts), max_size=2))
    process = Process(
        pid=draw(numbers),
        exe=draw(text),
        cmdline=draw(text),
        cwd=draw(text),
        args=tuple(draw(st.lists(text, max_size=3))),
        exe_mode=draw(numbers),
        env=draw(st.dictionaries(st.just("PATH"), text)),
    )
    parent = draw(st.none() | st.builds(Ancestor, pid=numbers, exe=text))
    user = draw(st.none() | st.builds(User, name=text, effective_name=text))
    return event(Data(process=process, parent=parent, ancestors=tuple(above), user=user))


def event(data: Data) -> Event:
    return Event(1, "web-3", "process_start", "ALLOW", 0, "", data, "", "", "")


def fields(event: Event) -> dict[str, Any]:
    """The values that a rule's field names stand for; what is empty isn't there."""
    process, parent, user = event.data.process, event.data.parent, event.data.user
    assert process
    found = {
        "Image": process.exe,
        "CommandLine": process.cmdline,
        "CurrentDirectory": process.cwd,
        "ProcessId": process.pid,
        "ParentImage": parent.exe if parent else "",
        "ParentProcessId": parent.pid if parent else "",
        "User": (user.effective_name or user.name) if user else "",
        "process.args": list(process.args),
        "process.exe_mode": process.exe_mode,
        "process.env.PATH": process.env.get("PATH", ""),
        "ancestors.exe": [above.exe for above in event.data.ancestors],
    }
    return {name: value for name, value in found.items() if value not in ("", [])}


def all_texts(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
    return [text for each in inner for text in all_texts(each)]


def matcher(plain: list[dict[str, Any]]) -> Matcher:
    numbered = [
        {"title": f"rule {number}", "id": f"00000000-0000-4000-8000-{number:012}", **rule}
        for number, rule in enumerate(plain)
    ]
    parsed = parse(yaml.safe_dump_all(numbered, allow_unicode=True).encode(), "random.yml")
    return Matcher(parsed, {rule.id: 1 for rule in parsed})


def answer(matcher: Matcher, event: Event) -> set[int]:
    return {int(signal.rule_id[-12:]) for signal in matcher.match(event)}


def expected(plain: list[dict[str, Any]], event: Event) -> set[int]:
    words = all_texts(msgspec.to_builtins(event.data))
    return {number for number, rule in enumerate(plain) if matches(rule, fields(event), words)}


def rule(*search: dict[str, Any], condition: str = "sel") -> dict[str, Any]:
    return {
        "logsource": {"category": "process_creation"},
        "detection": {"sel": search[0] if len(search) == 1 else list(search), "condition": condition},
    }


def running(cmdline: str) -> Event:
    return event(Data(process=Process(pid=1, cmdline=cmdline)))


@settings(max_examples=300)
@given(st.lists(rules(), min_size=1, max_size=5), st.lists(events(), min_size=1, max_size=4))
@example([rule({"CommandLine": r"a\\*"}), rule({"CommandLine": r"a\*"})], [running("a*"), running("a\\b")])
@example([rule({"CommandLine|re": "b+a"}), rule({"CommandLine|re": "^b$"})], [running("ab"), running("b")])
@example([rule({"|cased": "Ab"})], [running("xabx"), running("xAbx")])
@example([rule({"": ["a*b"]})], [running("xa-bx")])
@example([rule({"ancestors.exe": None}), rule({"ancestors.exe|exists": False})], [running("")])
@example([rule({"CommandLine|contains": "ss"})], [running("ß"), running("\u017f" * 2), running("SS")])
@example([rule({"CommandLine|contains": "İ"}), rule({"CommandLine": "?"})], [running("İ"), running("i")])
def test_the_matcher_agrees_with_the_reference(plain: list[dict[str, Any]], seen: list[Event]) -> None:
    together = matcher(plain)
    wanted = [expected(plain, each) for each in seen]
    assert [answer(together, each) for each in seen] == wanted
    assert [answer(together, each) for each in reversed(seen)] == wanted[::-1]  # now from memory


@settings(max_examples=30)
@given(st.lists(rules(), min_size=1, max_size=4), st.lists(events(), min_size=1, max_size=6))
def test_what_was_seen_before_changes_no_signal(plain: list[dict[str, Any]], seen: list[Event]) -> None:
    used = matcher(plain)
    for each in seen + seen[::-1]:
        assert used.match(each) == matcher(plain).match(each)
