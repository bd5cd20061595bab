"""Reading correlation rules: the specification's examples, and that what can't be used is refused with its place."""

import contextlib
import re
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sigma.correlations import SigmaCorrelationRule, SigmaExtendedCorrelationCondition
from sigma.exceptions import SigmaError

from shield.policy.document import DocumentError, documents
from shield.scorer.sigma.correlation.expression import Alternative
from shield.scorer.sigma.correlation.rule import Bound, Correlation, correlation_of, within

MANY_FAILED = """title: Many failed logins
id: 0e95725d-7320-415d-80f7-004da920fc11
correlation:
  type: event_count
  rules:
    - 5638f7c0-ac70-491d-8465-2a65075e0d86
  group-by:
    - ComputerName
  timespan: 1h
  condition:
    gte: 100
"""
DIFFERENT_USERS = """title: Failed login
id: 0e95725d-7320-415d-80f7-004da920fc12
correlation:
  type: value_count
  rules: [5638f7c0-ac70-491d-8465-2a65075e0d86]
  group-by: [ComputerName, WorkstationName]
  timespan: 1d
  condition:
    field: User
    gte: 100
"""
RECON = """title: Recon
correlation:
  type: temporal
  rules: [recon_cmd_a, recon_cmd_b, recon_cmd_c]
  group-by: [ComputerName, User]
  timespan: 5m
"""
ALIASES = """title: Errors and connections
correlation:
  type: temporal
  rules: [internal_error, new_network_connection]
  group-by: [internal_ip, remote_ip]
  timespan: 10s
  aliases:
    internal_ip:
      internal_error: destination.ip
      new_network_connection: source.ip
    remote_ip:
      internal_error: source.ip
      new_network_connection: destination.ip
"""
EXFILTRATION = """title: Possible Exfiltration to Website
correlation:
  type: value_sum
  rules: [website_access]
  group-by: [SourceIP, User]
  timespan: 1h
  condition:
    field: bytes_sent
    gt: 1000000
"""


def read(text: str) -> Correlation:
    (document,) = documents(text.encode(), "c.yml")
    return correlation_of(document)


def test_a_count_of_events_as_in_the_specification() -> None:
    correlation = read(MANY_FAILED)
    assert (correlation.kind, correlation.bounds) == ("event_count", (Bound("gte", 100),))
    assert (correlation.rules, correlation.group_by) == (("5638f7c0-ac70-491d-8465-2a65075e0d86",), ("ComputerName",))
    assert (correlation.timespan_ns, correlation.generate, correlation.level) == (3600 * 10**9, False, "informational")


def test_a_count_of_values_as_in_the_specification() -> None:
    correlation = read(DIFFERENT_USERS)
    assert (correlation.kind, correlation.fields) == ("value_count", ("User",))
    assert correlation.group_by == ("ComputerName", "WorkstationName")
    assert correlation.timespan_ns == 86_400 * 10**9


@pytest.mark.parametrize("kind", ["temporal", "temporal_ordered"])
def test_temporal_proximity_asks_for_all_rules_where_it_has_no_condition(kind: str) -> None:
    correlation = read(RECON.replace("type: temporal", f"type: {kind}"))
    assert (correlation.kind, correlation.bounds) == (kind, (Bound("gte", 3),))
    assert not correlation.settled


def test_aliases_as_in_the_specification() -> None:
    assert read(ALIASES).aliases["remote_ip"] == {
        "internal_error": "source.ip",
        "new_network_connection": "destination.ip",
    }


def test_a_sum_as_in_the_specification() -> None:
    correlation = read(EXFILTRATION)
    assert (correlation.kind, correlation.fields, correlation.bounds) == (
        "value_sum",
        ("bytes_sent",),
        (Bound("gt", 1_000_000),),
    )


def test_a_range_is_both_of_its_bounds() -> None:
    correlation = read(MANY_FAILED.replace("gte: 100", "gt: 100\n    lte: 200"))
    assert [within(correlation.bounds, count) for count in (100, 101, 200, 201)] == [False, True, True, False]
    assert correlation.settled


def test_an_expression_as_in_the_specification_names_its_rules_in_any_case() -> None:
    text = RECON + "  condition: recon_cmd_a AND recon_cmd_b AND recon_cmd_c\n"
    assert read(text).alternatives == (Alternative(0b111),)


def test_an_expression_may_stand_without_a_list_of_rules() -> None:
    text = RECON.replace("  rules: [recon_cmd_a, recon_cmd_b, recon_cmd_c]\n", "")
    correlation = read(text + "  condition: (a or 5638f7c0-ac70-491d-8465-2a65075e0d86) and not c\n")
    assert correlation.rules == ("a", "5638f7c0-ac70-491d-8465-2a65075e0d86", "c")
    assert correlation.alternatives == (Alternative(0b001, 0b100), Alternative(0b010, 0b100))
    assert correlation.settled


def test_what_an_analyst_needs_is_kept() -> None:
    correlation = read(
        MANY_FAILED
        + """name: many_failed
level: high
status: test
description: Somebody tries.
tags: [attack.credential-access, attack.t1110.001]
falsepositives: [A forgetful person]
shield:
  name: brute_force
  points: 55
  next: Look who it is.
"""
    )
    assert (correlation.name, correlation.points, correlation.next) == ("brute_force", 55, "Look who it is.")
    assert (correlation.reference, correlation.level, correlation.attack) == ("many_failed", "high", ("T1110.001",))
    assert (correlation.status, correlation.description, correlation.falsepositives, correlation.source) == (
        "test",
        "Somebody tries.",
        ("A forgetful person",),
        "c.yml",
    )


def test_generate_counts_in_both_of_the_places_where_it_is_found() -> None:
    assert read(MANY_FAILED + "generate: true\n").generate
    assert read(MANY_FAILED.replace("  timespan", "  generate: true\n  timespan")).generate


def test_a_correlation_survives_being_written_down() -> None:
    for text in (
        MANY_FAILED,
        DIFFERENT_USERS,
        ALIASES,
        RECON + "  condition: recon_cmd_a and (recon_cmd_b or not recon_cmd_c)\n",
    ):
        correlation = read(text)
        written = msgspec.msgpack.encode(correlation)
        assert msgspec.msgpack.decode(written, type=Correlation) == correlation


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (("type: event_count", "type: event_counts"), "c.yml:4: correlation.type"),
        (("  type: event_count\n", ""), "c.yml:3: correlation: .*type"),
        (("timespan: 1h", "timespan: 1x"), "c.yml:9: correlation.timespan"),
        (("timespan: 1h", "timespan: 0m"), "c.yml:9: correlation.timespan"),
        (("timespan: 1h", "timespan: 999999999y"), "c.yml:9: correlation.timespan"),
        (("timespan: 1h", "timespan: 3600"), "c.yml:9: correlation.timespan"),
        (("timespan: 1h", "timeframe: 1h\n  timespan: 1h"), "c.yml:9: correlation.timeframe: there is no such key"),
        (("gte: 100", "gte: lots"), "c.yml:11: correlation.condition.gte"),
        (("gte: 100", "gte: true"), "c.yml:11: correlation.condition.gte"),
        (("gte: 100", "gte: .nan"), "c.yml:11: correlation.condition.gte"),
        (("gte: 100", "gte: [1]"), "c.yml:11: correlation.condition.gte"),
        (("gte: 100", "atleast: 100"), "c.yml:11: correlation.condition.atleast: .*the keys here are: gt, gte"),
        (("gte: 100", "gte: 100\n    field: User"), "c.yml:12: correlation.condition.field"),
        (("gte: 100", "gte: 100\n    percentile: 5"), "c.yml:12: correlation.condition.percentile"),
        (("condition:\n    gte: 100", "condition: a and b"), "c.yml:10: correlation.condition: an expression"),
        (("condition:\n    gte: 100", "condition: {}"), "c.yml:10: correlation.condition: nothing is asked"),
        (("  condition:\n    gte: 100\n", ""), "c.yml:3: correlation.condition: nothing is asked"),
        (("gte: 100", "eq: 0"), "c.yml:10: correlation.condition: .*not seen"),
        (("gte: 100", "lt: 1"), "c.yml:10: correlation.condition: .*not seen"),
        (("gte: 100", "gt: 10\n    lt: 9"), "c.yml:10: correlation.condition: no count"),
        (("gte: 100", "gte: 100001"), "c.yml:10: correlation.condition: no count from 1 to 100000"),
        (("    - 5638f7c0-ac70-491d-8465-2a65075e0d86\n", "    []\n"), "c.yml:5: correlation.rules: no rules"),
        (("    - 5638f7c0-ac70-491d-8465-2a65075e0d86\n", "    - a\n    - a\n"), "c.yml:5: correlation.rules: .*twice"),
        (("title: Many failed logins\n", ""), "c.yml:1: .*title"),
        (("correlation:\n", "level: terrible\ncorrelation:\n"), "c.yml:3: level"),
        (("correlation:\n", "shield: {point: 3}\ncorrelation:\n"), "c.yml:3: shield.point"),
        (("    - ComputerName", "    - {a: b}"), r"c.yml:8: correlation.group-by\[0\]"),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(change: tuple[str, str], place: str) -> None:
    assert change[0] in MANY_FAILED
    with pytest.raises(DocumentError, match=place) as refusal:
        read(MANY_FAILED.replace(*change))
    assert ";" in str(refusal.value)  # a remedy follows


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("recon_cmd_a and recon_cmd_b and recon_cmd_c and", "ends too early"),
        ("(recon_cmd_a and recon_cmd_b and recon_cmd_c", "ends too early"),
        ("recon_cmd_a recon_cmd_b recon_cmd_c", "'recon_cmd_b' is not expected here"),
        ("recon_cmd_a and recon_cmd_b", "recon_cmd_c stands only in one"),
        ("recon_cmd_a and recon_cmd_b and recon_cmd_c and other", "other stands only in one"),
        ("not (recon_cmd_a or recon_cmd_b or recon_cmd_c)", "nothing has matched"),
        ("recon_cmd_a and recon_cmd_b and recon_cmd_c and not recon_cmd_a", "never hold"),
        (f"{'(' * 90}recon_cmd_a{')' * 90} and recon_cmd_b and recon_cmd_c", "nested too deeply"),
        (f"{'not ' * 300}recon_cmd_a and recon_cmd_b and recon_cmd_c", "too long"),
    ],
)
def test_a_malformed_expression_is_refused_with_its_place(condition: str, problem: str) -> None:
    with pytest.raises(DocumentError, match=f"c.yml:7: correlation.condition: .*({problem})"):
        read(RECON + f"  condition: {condition}\n")


def test_an_expression_can_not_explode() -> None:
    rules = [f"r{number}" for number in range(60)]
    pairs = " and ".join(f"({a} or {b})" for a, b in zip(rules[::2], rules[1::2], strict=True))
    with pytest.raises(DocumentError, match="too many alternatives"):
        read(f"title: x\ncorrelation: {{type: temporal, timespan: 5m, condition: {pairs}}}\n")


@pytest.mark.parametrize("kind", ["value_count", "value_sum", "value_avg", "value_median"])
def test_what_measures_values_needs_a_field(kind: str) -> None:
    with pytest.raises(DocumentError, match=re.escape("correlation.condition.field")):
        read(MANY_FAILED.replace("event_count", kind))


def test_a_percentile_is_asked_for_and_within_0_and_100() -> None:
    text = MANY_FAILED.replace("event_count", "value_percentile").replace("gte: 100", "gte: 100\n    field: Size")
    for extra in ("", "    percentile: 101\n", "    percentile: high\n"):
        with pytest.raises(DocumentError, match=re.escape("correlation.condition.percentile")):
            read(text + extra)
    assert read(text + "    percentile: 95\n").percentile == 95


@given(st.text(), st.sampled_from(["type", "rules", "timespan", "group-by", "condition", "aliases", "generate"]))
def test_no_text_in_any_place_makes_a_traceback(text: str, key: str) -> None:
    plain = yaml.safe_load(MANY_FAILED)
    plain["correlation"][key] = text
    with contextlib.suppress(DocumentError):
        read(yaml.safe_dump(plain))


_names = st.sampled_from(["alpha", "beta", "gamma"])
_sections: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["event_count", "value_count", "value_sum", "value_avg", "value_median", "temporal"]),
        "rules": _names | st.lists(_names, max_size=3, unique=True),
        "timespan": st.from_regex(r"\A[0-9]{0,3}[smhdwMyx]\Z"),
        "condition": st.dictionaries(
            st.sampled_from(["gt", "gte", "lt", "lte", "eq", "neq"]), st.integers(1, 3) | st.just("x"), max_size=1
        ).map(lambda bounds: bounds | {"field": "F"})
        | st.sampled_from(["alpha and beta", "alpha or (gamma and not beta)", "alpha and", "alpha"]),
    },
    optional={"group-by": _names | st.lists(_names), "generate": st.booleans()},
)


@given(_sections)
def test_it_agrees_with_pysigma_about_what_a_correlation_says(section: dict[str, Any]) -> None:
    plain = {"title": "t", "correlation": section}
    try:
        ours = read(yaml.safe_dump(plain))
    except DocumentError:
        ours = None
    try:
        theirs = SigmaCorrelationRule.from_dict(plain)
    except SigmaError:
        assert ours is None
        return
    if ours is None:
        return  # stricter: fields that mean nothing, counts that never come about
    assert theirs.rules is None or ours.rules == tuple(rule.reference for rule in theirs.rules)
    assert (ours.timespan_ns, ours.group_by, ours.generate) == (
        theirs.timespan.seconds * 10**9,
        tuple(theirs.group_by or ()),
        theirs.generate,
    )
    if isinstance(theirs.condition, SigmaExtendedCorrelationCondition):
        assert ours.expression == theirs.condition.expression
    else:
        assert ours.bounds == (Bound(theirs.condition.op.name.lower(), theirs.condition.count),)
