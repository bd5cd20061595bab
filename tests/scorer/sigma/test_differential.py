"""Random rules on random events: the matcher gives the answers of the slow reference, whatever it remembers.

Letters, fields and values are few on purpose: what is rarely asked for is rarely found to be wrong.
"""

import json
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from shield.event import Ancestor, Category, Data, Event, Log, Platform, Process, User
from shield.policy.document import DocumentError
from shield.scorer.sigma import logsource
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.parse import parse
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.ruleset import Ruleset, usable
from shield.scorer.sigma.scan import ENGINE, Databases, Engine

from .reference import Refused, Test, matches, read_rule
from .reference import seen as seen_by_rules

# ---- events ----

letters = st.sampled_from(["a", "b", "A", "B", "ab", " -a", "/b", "-", "/", "\\", "*", "?", ".", "0", "1", " ", "\n"])
# Dotless and dotted i, Kelvin's K, long s, sharp s, both small sigmas: letters that change when their case is folded.
odd = st.sampled_from([*"éÉksi\0😀ßΣ\u0131\u0130\u212a\u017f\u03c3\u03c2\uefe9", "\u2013a", "\u2014b", "\ufeff"])
texts = st.lists(st.one_of(letters, letters, odd), max_size=6).map("".join)
addresses = st.sampled_from(["10.0.0.1", "10.0.1.1", "192.168.7.9", "fe80::1", "2001:db8::5", "10.0.0.1 ", "x"])
integers = st.one_of(st.integers(-2, 3), st.sampled_from([16, 2**31, 2**53, 2**53 + 1, 2**63 - 1]))
numeric_texts = st.sampled_from(["0", "1", "0x10", "-1", "16", "01", "1.5", "1x", "9007199254740993", ""])
dates = st.sampled_from(
    ["2026-04-17 05:24:53.079", "2026-04-17T23:24:00.123Z", "2026-05-18 05:01:00", "2027-04-17", "x"]
)
encoded = st.sampled_from(
    [
        prefix + b64encode(text.encode(encoding)).decode()
        for prefix in ("", "x")
        for text in ("a", "ab", "xab", "xxab", "abx")
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-16")
    ]
    + ["a\0b\0", "\0a\0b", "\ufeffa\0b\0"]
)
any_text = st.one_of(texts, texts, texts, addresses, numeric_texts, dates, encoded)
scalars = st.one_of(any_text, any_text, any_text, integers, st.booleans(), st.sampled_from([0.5, 1.0, 1.5]))

TEXT_FIELDS = ["CommandLine", "Image", "CurrentDirectory", "ParentImage", "User"]
PATHS = ["process.env.PATH", "process.args", "ancestors.exe", "process.exe_mode", "NotThere"]
NUMBER_FIELDS = ["ProcessId", "ParentProcessId"]
LOG_FIELDS = ["EventID", "With Space", "Image.Odd"]
field_names = st.sampled_from(TEXT_FIELDS * 2 + PATHS + NUMBER_FIELDS + LOG_FIELDS)


@st.composite
def observed_events(draw: st.DrawFn) -> Event:
    """A process start that Shield saw itself, of which anything may be missing."""
    above = draw(st.lists(st.builds(Ancestor, pid=st.just(1), exe=texts), max_size=2))
    process = Process(
        pid=draw(integers),
        exe=draw(any_text),
        cmdline=draw(any_text),
        cwd=draw(any_text),
        args=tuple(draw(st.lists(any_text, max_size=3))),
        exe_mode=draw(integers),
        env=draw(st.dictionaries(st.just("PATH"), any_text)),
    )
    parent = draw(st.none() | st.builds(Ancestor, pid=integers, exe=any_text))
    user = draw(st.none() | st.builds(User, name=any_text, effective_name=any_text))
    data = Data(process=process, parent=parent, ancestors=tuple(above), user=user)
    return event(data, os=draw(st.sampled_from(["linux", "windows"])))


@st.composite
def logged_events(draw: st.DrawFn) -> Event:
    """A record of a log, with or without typed parts beside it."""
    names = st.sampled_from(TEXT_FIELDS + NUMBER_FIELDS + LOG_FIELDS)
    values = st.one_of(scalars, scalars, st.lists(scalars, max_size=3).map(tuple))
    product, service, category = draw(st.sampled_from(LOG_SOURCES))
    fields = draw(st.dictionaries(names, values, max_size=5))
    fields |= draw(st.dictionaries(st.just("UtcTime"), dates | dates | st.lists(dates, max_size=2).map(tuple)))
    log = Log(product, service, category, message=draw(texts), fields=fields)
    process = draw(st.none() | st.builds(Process, pid=integers, exe=any_text, cmdline=any_text))
    kind: Category = "process_start" if category == "process_creation" else "log_record"
    return event(Data(process=process, log=log), kind, "windows" if product == "windows" else "linux")


LOG_SOURCES = [
    ("windows", "sysmon", "process_creation"),
    ("windows", "security", "process_creation"),
    ("windows", "security", ""),
    ("linux", "sshd", ""),
]
events = st.one_of(observed_events(), logged_events())


def event(data: Data, category: Category = "process_start", os: Platform = "linux") -> Event:
    return Event(1, "web-3", category, "ALLOW", 0, "", data, "", "", "", os=os)


# ---- rules ----

rule_text_pieces = st.sampled_from(["\\*", "\\?", "\\\\", "\\\\*", "*", "?", "a*b", "a?b"])
rule_texts = st.lists(st.one_of(letters, letters, odd, rule_text_pieces), max_size=5).map("".join)
dashed_texts = rule_texts.filter(lambda text: text.count("-") + text.count("/") <= 3)  # more is refused
ascii_texts = st.sampled_from(["a", "b", "ab", "ba", "A", "aB", r"a\*", "\\"])
EXPRESSION_PIECES = r"a b A . [ab] [^a] a* b+? (?:a|b) (a) a{1,2} ^ $ \b \. \w \s \\ \x41 (?i:b) a? \d - / [$] \$ |"
expression_pieces = st.sampled_from([" ", *EXPRESSION_PIECES.split()])
expressions = st.lists(expression_pieces, min_size=1, max_size=4).map("".join)
rule_numbers = st.one_of(integers, st.sampled_from([0.5, 1.0, 1.5]))


def one_or_more(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, st.lists(values, min_size=1, max_size=3))


def item(
    chains: list[str], values: st.SearchStrategy[Any], fields: st.SearchStrategy[str] = field_names
) -> st.SearchStrategy[tuple[str, Any]]:
    """A field with one of these chains of modifiers, and a value or several."""
    keys = st.builds("{}{}{}".format, fields, st.sampled_from(chains), st.sampled_from(["", "", "", "|all", "|neq"]))
    return st.tuples(keys, one_or_more(values))


PLACES = ["|contains", "|startswith", "|endswith"]
TEXT_CHAINS = ["", "|cased", *PLACES, *(place + "|cased" for place in PLACES), *("|cased" + place for place in PLACES)]
DASH_CHAINS = ["|windash", *(place + "|windash" for place in PLACES), *("|windash" + place for place in PLACES)]
ENCODING_CHAINS = [
    start + rest
    for start in ("", "|wide", "|utf16le", "|utf16be", "|utf16")
    for rest in ("|base64", "|base64|contains", "|base64offset|contains", "|base64offset|endswith", "", "|contains")
    if start or rest.startswith("|base64")
]
EXPRESSION_CHAINS = ["|re", "|re|i", "|re|m", "|re|s", "|re|i|s", "|re|i|m|s"]
UNITS = ["minute", "hour", "day", "week", "month", "year"]
DATE_CHAINS = [f"|{unit}{rest}" for unit in UNITS for rest in ("", "|gte", "|lt")]
EXPAND_CHAINS = [
    "|expand",
    "|expand|cased",
    *(place + "|expand" for place in PLACES),
    *("|expand" + place for place in PLACES),
]
PLACEHOLDERS = {"x": ("a", "b*", r"\*"), "y": ("A?", "-")}
placeholders = st.lists(st.sampled_from(["%x%", "%y%", "a", "*", "B", "\\\\*"]), min_size=1, max_size=4).map("".join)
REFERENCE_CHAINS = ["|fieldref", *("|fieldref" + place for place in PLACES)]

plain_values = st.one_of(rule_texts, rule_texts, rule_numbers, numeric_texts, st.none(), st.booleans())
networks = st.sampled_from(["10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "10.0.0.1/32", "fe80::/10", "2001:db8::/32"])
text_items = st.one_of(
    item(TEXT_CHAINS, rule_texts),
    item(DASH_CHAINS, dashed_texts),
    item(EXPRESSION_CHAINS, expressions),
    item(ENCODING_CHAINS, ascii_texts),
)
items = st.one_of(
    text_items,
    text_items,
    item([""], plain_values),
    item(["|gt", "|gte", "|lt", "|lte"], rule_numbers.filter(lambda number: abs(number) <= 2**53)),
    item(["|cidr"], networks),
    item(["|exists"], st.booleans()),
    item(EXPAND_CHAINS, placeholders),
    item(["|re|expand", "|re|i|expand"], st.sampled_from(["%x%", "^%x%", "%y%b", "[a]%x%%y%"])),
    item(DATE_CHAINS, st.sampled_from([4, 5, 16, 17, 23, 24, 2026]), st.just("UtcTime")),
    item(REFERENCE_CHAINS, st.sampled_from(TEXT_FIELDS)),
)
mappings = st.lists(items, min_size=1, max_size=3).map(dict)
keywords = st.one_of(st.text("abAB10é", min_size=1, max_size=2), rule_texts.filter(bool), st.sampled_from([0, 1, 16]))
keyword_items = st.one_of(
    item(["", "|contains", "|cased", "|startswith"], rule_texts.filter(bool), st.just("")),
    item(EXPRESSION_CHAINS, expressions, st.just("")),
    item(ENCODING_CHAINS, ascii_texts, st.just("")),
)
flat_searches = st.one_of(
    mappings,
    mappings,
    st.lists(mappings, min_size=1, max_size=2),
    one_or_more(keywords),
    keyword_items.map(lambda one: dict([one])),
)
searches = st.one_of(flat_searches, flat_searches, st.lists(flat_searches, min_size=1, max_size=2))
names = st.sampled_from(["sel", "sel_a", "filter", "filter_b", "_sel"])


@st.composite
def conditions(draw: st.DrawFn, known: list[str], depth: int = 2) -> str:
    """A condition on the searches of these names."""
    kind = draw(st.integers(0, 6 if depth else 2))
    if kind == 0:
        patterns = [known[0][:3] + "*"] + (["them", "*"] if any(name[0] != "_" for name in known) else [])
        return f"{draw(st.sampled_from(['1', 'any', 'all']))} of {draw(st.sampled_from(patterns))}"
    if kind <= 2:
        return draw(st.sampled_from(known))
    inner = conditions(known, depth - 1)
    if kind == 3:
        return f"not {draw(inner)}"
    if kind == 4:
        return f"({draw(inner)})"
    return f"{draw(inner)} {draw(st.sampled_from(['and', 'or']))} {draw(inner)}"


RULE_SOURCES: list[dict[str, str]] = [
    {"category": "process_creation"},
    {"category": "process_creation", "product": "windows"},
    {"category": "process_creation", "product": "linux"},
    {"product": "windows"},
    {"product": "windows", "service": "security"},
    {"product": "windows", "service": "sysmon", "category": "process_creation"},
    {"service": "sshd"},
]


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """The content of a well-formed rule."""
    detection = draw(st.dictionaries(names, searches, min_size=1, max_size=3))
    detection["condition"] = draw(one_or_more(conditions(list(detection))))
    return {"logsource": draw(st.sampled_from(RULE_SOURCES)), "detection": detection}


# ---- the two answers ----

engines = pytest.mark.parametrize("engine", [one for one in get_args(Engine) if one in (ENGINE, "pure")])


def matcher(plain: list[dict[str, Any]], engine: Engine = ENGINE, databases: Databases | None = None) -> Matcher:
    numbered = [
        {"title": f"rule {number}", "id": f"00000000-0000-4000-8000-{number:012}", **rule}
        for number, rule in enumerate(plain)
    ]
    parsed = parse(yaml.safe_dump_all(numbered, allow_unicode=True).encode(), "random.yml")
    ruleset, problems = usable(Ruleset(tuple(parsed)), PLACEHOLDERS)
    assert problems == []
    return Matcher(ruleset.rules, {rule.id: 1 for rule in parsed}, databases=databases, engine=engine)


def answer(matcher: Matcher, event: Event) -> set[int]:
    return {int(signal.rule_id[-12:]) for signal in matcher.match(event)}


def expected(plain: list[dict[str, Any]], event: Event) -> set[int]:
    return {
        number
        for number, rule in enumerate(plain)
        if is_about(rule["logsource"], event) and matches(rule, event, PLACEHOLDERS)
    }


def is_about(source: dict[str, str], event: Event) -> bool:
    """ "The category, product and service can be used alone or in any combination": each must be the event's."""
    log = event.data.log or Log(event.os, "", "process_creation")
    return all(getattr(log, name) == value for name, value in source.items())


def rule(*search: dict[str, Any], condition: str = "sel") -> dict[str, Any]:
    return {
        "logsource": {"category": "process_creation"},
        "detection": {"sel": search[0] if len(search) == 1 else list(search), "condition": condition},
    }


def running(cmdline: str) -> Event:
    return event(Data(process=Process(pid=1, cmdline=cmdline)))


def logged(**fields: Any) -> Event:
    return event(Data(log=Log("windows", "sysmon", "process_creation", fields=fields)), os="windows")


@engines
@settings(max_examples=150)
@given(plain=st.lists(rules(), min_size=1, max_size=5), seen=st.lists(events, min_size=1, max_size=4))
@example([rule({"CommandLine": r"a\\*"}), rule({"CommandLine": r"a\*"})], [running("a*"), running("a\\b")])
@example([rule({"CommandLine|re": "b+a"}), rule({"CommandLine|re": "^b$"})], [running("ab"), running("b")])
@example([rule({"|cased": "Ab"})], [running("xabx"), running("xAbx")])
@example([rule({"": ["a*b"]})], [running("xa-bx")])
@example([rule({"|windash": "-a"}), rule({"|base64offset": "foobar"})], [running("x /a"), running("xZm9vYmFyx")])
@example([rule({"ancestors.exe": None}), rule({"ancestors.exe|exists": False})], [running("")])
@example([rule({"CommandLine|contains": "ss"})], [running("ß"), running("\u017f" * 2), running("SS")])
@example([rule({"CommandLine|contains": "İ"}), rule({"CommandLine": "?"})], [running("İ"), running("i")])
@example([rule({"CommandLine|contains": "\0"}), rule({"CommandLine|utf16be": "a"})], [running("\0a"), running("")])
@example([rule({"Size": 2**53 + 1})], [logged(Size=2**53), logged(Size=2**53 + 1), logged(Size=str(2**53))])
@example([rule({"Size|gt": 2**53})], [logged(Size=2**53), logged(Size=2**53 + 1)])
@example([rule({"At|hour|gte": 5}), rule({"At|hour": 5})], [logged(At="2026-04-17 05:24:53"), logged(At="x")])
@example([rule({"At|week|lt": 16})], [logged(At="2026-04-17"), logged(At="2026-01-17T01:00:00Z")])
@example([rule({"CommandLine|re": "bb*$"}), rule({"CommandLine|re": "b$"})], [running("b\n"), running("b")])
@example([rule({"CommandLine|expand": "%x%"}), rule({"CommandLine|re|expand": "^%y%"})], [running("A"), running("A?")])
@example([rule({"a|fieldref": "b"})], [logged(a="x", b="X"), logged(a=1, b="1"), logged(a="x"), logged(b="")])
def test_the_matcher_agrees_with_the_reference(engine: Engine, plain: list[dict[str, Any]], seen: list[Event]) -> None:
    together = matcher(plain, engine)
    wanted = [expected(plain, each) for each in seen]
    assert [answer(together, each) for each in seen] == wanted
    assert [answer(together, each) for each in reversed(seen)] == wanted[::-1]  # now from memory


# No shrinking: the rules that differ are in the message, and so many take long to shrink.
@engines
@settings(max_examples=10, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(plain=st.lists(rules(), min_size=20, max_size=40), seen=st.lists(events, min_size=5, max_size=15))
def test_many_rules_at_once_answer_as_the_reference(
    engine: Engine, plain: list[dict[str, Any]], seen: list[Event]
) -> None:
    together = matcher(plain, engine)
    for each in seen:
        differing = answer(together, each) ^ expected(plain, each)
        assert [(plain[number], each.data) for number in differing] == []


@engines
@settings(max_examples=30)
@given(plain=st.lists(rules(), min_size=1, max_size=4), seen=st.lists(events, min_size=1, max_size=6))
def test_what_was_seen_before_changes_no_signal(engine: Engine, plain: list[dict[str, Any]], seen: list[Event]) -> None:
    used = matcher(plain, engine)
    for each in seen + seen[::-1]:
        assert used.match(each) == matcher(plain, engine).match(each)


@settings(max_examples=30)
@given(plain=st.lists(rules(), min_size=1, max_size=4), seen=st.lists(events, min_size=1, max_size=4))
def test_what_was_compiled_before_and_kept_changes_no_signal(plain: list[dict[str, Any]], seen: list[Event]) -> None:
    databases = Databases()
    first = [matcher(plain, databases=databases).match(each) for each in seen]
    kept = Databases(dict(databases.known))
    assert [matcher(plain, databases=kept).match(each) for each in seen] == first


# ---- the public rules on the events recorded for them ----

RULES = Path(os.environ.get("SHIELD_SIGMAHQ", Path(__file__).parents[4] / "shared" / "data" / "sigmahq"))
CASES = RULES.parent / "regression"
SYSMON = {1: "process_creation", 3: "network_connection", 7: "image_load", 10: "process_access", 11: "file_event"} | {
    12: "registry_event",
    13: "registry_set",
    17: "pipe_created",
    18: "pipe_created",
    22: "dns_query",
    23: "file_delete",
}


Answers = list[tuple[Event, set[str]]]


@pytest.fixture(scope="module")
def public() -> tuple[list[Rule], Answers]:
    """The public rules for Windows and Linux, and for each recorded event the ids of those that it should match."""
    if not RULES.is_dir() or not CASES.is_dir():
        pytest.skip(f"no SigmaHQ rules and events at {RULES.parent}; set SHIELD_SIGMAHQ")
    rules, meanings = public_rules()
    events = [event for path in sorted(CASES.rglob("*.json")) for event in recorded_events(path.read_text("utf-8"))]
    answers: Answers = []
    for event in events:
        source, view = logsource.of(event), seen_by_rules(event)
        about = [rule for rule in rules if logsource.covers(rule, source)]
        answers.append((event, {rule.id for rule in about if meanings[rule.id](view)}))
    return rules, answers


@engines
def test_public_rules_match_recorded_events_as_the_reference_says(
    public: tuple[list[Rule], Answers], engine: Engine
) -> None:
    rules, answers = public
    together = Matcher(rules, {rule.id: 1 for rule in rules}, engine=engine)
    for event, wanted in answers:
        assert {signal.rule_id for signal in together.match(event)} == wanted
    assert sum(len(wanted) for _, wanted in answers) > len(answers) > 90


def public_rules() -> tuple[list[Rule], dict[str, Test]]:
    """The public rules for Windows and Linux, and what the reference makes of each by its id; some ask for too much."""
    rules: list[Rule] = []
    meanings: dict[str, Test] = {}
    refused: list[str] = []
    for path in sorted(RULES.rglob("*.yml")):
        plain = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if plain.get("logsource", {}).get("product") not in ("windows", "linux"):
            continue
        try:
            meanings[plain["id"]] = read_rule(plain)
            rules += parse(path.read_bytes(), str(path))
        except (Refused, DocumentError) as error:
            refused.append(f"{path}: {error}")
    assert len(refused) < 0.01 * len(rules), refused
    return rules, meanings


def recorded_events(text: str) -> Iterator[Event]:
    """The Windows events in a file, which stand one after another, as records of a log and as Shield would see them."""
    while text := text.strip():
        recorded, end = json.JSONDecoder().raw_decode(text)
        text = text[end:]
        system, data = recorded["Event"]["System"], recorded["Event"].get("EventData") or {}
        fields = {name: as_logged(value) for name, value in data.items() if value is not None and name[0] != "#"}
        number = system["EventID"] if isinstance(system["EventID"], int) else int(system["EventID"]["#text"])
        channel = system["Channel"].removeprefix("Microsoft-Windows-").partition("/")[0].lower()
        category = SYSMON.get(number, "") if channel == "sysmon" else ""
        log = Log("windows", channel, category, fields={"EventID": number, "Channel": system["Channel"], **fields})
        yield event(Data(log=log), "log_record", "windows")
        if category == "process_creation":
            yield event(observed(fields), "process_start", "windows")


def as_logged(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else json.dumps(value)


def observed(fields: Mapping[str, Any]) -> Data:
    process = Process(pid=fields["ProcessId"], exe=fields["Image"], cmdline=fields["CommandLine"])
    parent = Ancestor(
        pid=fields["ParentProcessId"], exe=fields["ParentImage"], cmdline=fields.get("ParentCommandLine", "")
    )
    return Data(process=process, parent=parent, user=User(name=fields["User"]))
