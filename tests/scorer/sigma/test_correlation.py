"""Correlations at work: against a slow and obvious reference, and through restarts, floods and clocks that jump."""

import itertools
import statistics
import tracemalloc
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.event import Data, Event, Log, LogValue
from shield.policy.document import documents
from shield.scorer.sigma.condition import AllOf
from shield.scorer.sigma.correlation import CorrelationMatch, Correlations, StateRefused, signal, unresolved
from shield.scorer.sigma.correlation import correlations as judging
from shield.scorer.sigma.correlation import group as groups_module
from shield.scorer.sigma.correlation import state as states
from shield.scorer.sigma.correlation.rule import Correlation, correlation_of, within
from shield.scorer.sigma.rule import Rule

SECOND = 10**9
_serial = itertools.count(1)


def rule(name: str, reference: str = "") -> Rule:
    return Rule(
        id=name,
        name=name,
        title=name,
        level="low",
        category=None,
        product=None,
        service=None,
        condition=AllOf(()),
        reference=reference,
        source=f"{name}.yml",
    )


A, B, C = RULES = rule("a"), rule("b"), rule("c")


def correlations_of(text: str) -> list[Correlation]:
    return [correlation_of(document) for document in documents(text.encode(), "c.yml")]


def one(section: str, *, title: str = "t", more: str = "") -> Correlation:
    return correlations_of(f"title: {title}\n{more}\ncorrelation: {{{section}}}\n")[0]


def at(seconds: float, **fields: LogValue) -> Event:
    """Return an event at that time with those fields."""
    return Event(
        ts=int(seconds),
        host="h",
        category="log_record",
        action="ALLOW",
        score=0,
        rationale="",
        data=Data(log=Log(product="windows", fields=fields)),
        policy_version="",
        dedupe_key="",
        correlation_id="",
        event_id=f"e{next(_serial)}",
        ts_ns=round(seconds * SECOND),
    )


def fired(engine: Correlations, times: Iterable[float], *matched: Rule, **fields: LogValue) -> list[CorrelationMatch]:
    """Observe an event at each of `times`, and return what fires."""
    return [match for time in times for match in engine.observe(at(time, **fields), matched or (A,))]


BRUTE_FORCE = """
title: Multiple Failed Logins Followed by Successful Login
id: b180ead8-d58f-40b2-ae54-c8940995b9b6
correlation:
    type: temporal_ordered
    rules:
        - multiple_failed_login
        - successful_login
    group-by:
        - User
    timespan: 10m
level: high
---
title: Multiple failed logons
id: a8418a5a-5fc4-46b5-b23b-6c73beb19d41
name: multiple_failed_login
correlation:
    type: event_count
    rules:
        - failed_login
    group-by:
        - User
    timespan: 10m
    condition:
        gte: 10
"""
FAILED = rule("53ba33fd-3a50-4468-a5ef-c583635cfa92", "failed_login")
SUCCEEDED = rule("4d0a2c83-c62c-4ed4-b475-c7e23a9269b8", "successful_login")


@pytest.fixture
def brute_force() -> Correlations:
    return Correlations(correlations_of(BRUTE_FORCE), [FAILED, SUCCEEDED])


def test_failed_logins_followed_by_a_successful_one_as_in_the_specification(brute_force: Correlations) -> None:
    assert fired(brute_force, range(10), FAILED, User="bob") == []
    (match,) = fired(brute_force, [60], SUCCEEDED, User="BOB")
    (failures,) = [one for one in match.evidence if one.field == "multiple_failed_login"]
    assert failures.value.startswith("10 in 9s; event_id e")
    assert failures.value.count(" e") == 11
    assert match.correlation.title == "Multiple Failed Logins Followed by Successful Login"
    assert match.group == (("User", "bob"),)


@pytest.mark.parametrize("failures", [9, 0])
def test_a_login_after_fewer_failures_is_nothing(brute_force: Correlations, failures: int) -> None:
    fired(brute_force, range(failures), FAILED, User="bob")
    assert fired(brute_force, [60], SUCCEEDED, User="bob") == []


def test_failures_of_others_and_failures_afterwards_count_for_nothing(brute_force: Correlations) -> None:
    fired(brute_force, range(5), FAILED, User="bob")
    fired(brute_force, range(5, 10), FAILED, User="eve")
    assert fired(brute_force, [60], SUCCEEDED, User="bob") == []
    assert fired(brute_force, range(61, 80), FAILED, User="bob") == []


def test_a_success_at_the_end_of_long_failing_is_found_although_the_failing_was_reported_long_ago(
    brute_force: Correlations,
) -> None:
    assert fired(brute_force, range(609), FAILED, User="bob") == []
    assert len(fired(brute_force, [615], SUCCEEDED, User="bob")) == 1


def test_rules_of_a_correlation_are_observed_and_silent_unless_it_generates_them(brute_force: Correlations) -> None:
    assert brute_force.referenced == {FAILED.id, SUCCEEDED.id}
    assert brute_force.silent == {FAILED.id, SUCCEEDED.id, "a8418a5a-5fc4-46b5-b23b-6c73beb19d41"}
    loud = Correlations([one("type: temporal, rules: [a, b], timespan: 1m, generate: true")], RULES)
    assert (loud.referenced, loud.silent) == ({"a", "b"}, frozenset())


def test_a_correlation_that_is_referred_to_and_generated_fires_by_itself() -> None:
    engine = Correlations(
        correlations_of(BRUTE_FORCE.replace("timespan: 10m\nlevel", "timespan: 10m\n    generate: true\nlevel")),
        [FAILED, SUCCEEDED],
    )
    assert [match.correlation.title for match in fired(engine, range(10), FAILED, User="bob")] == [
        "Multiple failed logons"
    ]


def test_a_count_of_a_correlation_counts_what_is_reported_not_every_event_of_a_burst() -> None:
    text = """
title: often
correlation: {type: event_count, rules: [burst], group-by: [User], timespan: 1h, condition: {gte: 2}}
---
title: burst
correlation: {type: event_count, rules: [a], group-by: [User], timespan: 1m, condition: {gte: 3}}
"""
    engine = Correlations(correlations_of(text.replace("title: burst", "title: burst\nname: burst")), RULES)
    assert fired(engine, range(50), User="bob") == []
    assert len(fired(engine, range(600, 650), User="bob")) == 1


def test_a_correlation_of_a_correlation_takes_values_it_did_not_group_by_from_the_event() -> None:
    text = """
title: everywhere
correlation: {type: value_count, rules: [burst], timespan: 1h, condition: {gte: 2, field: Host}}
---
title: burst
name: burst
correlation: {type: event_count, rules: [a], group-by: [User], timespan: 1m, condition: {gte: 2}}
"""
    engine = Correlations(correlations_of(text), RULES)
    assert fired(engine, [0, 1], User="bob", Host="one") == []
    assert len(fired(engine, [0, 1], User="eve", Host="two")) == 1


def test_aliases_name_the_field_of_each_rule() -> None:
    aliases = "aliases: {ip: {a: DestinationIp, b: SourceIp}}"
    engine = Correlations([one(f"type: temporal, rules: [a, b], timespan: 10s, group-by: [ip], {aliases}")], RULES)
    fired(engine, [0], A, DestinationIp="10.0.0.1", SourceIp="10.0.0.2")
    assert fired(engine, [1], B, DestinationIp="10.0.0.1", SourceIp="10.0.0.2") == []
    (match,) = fired(engine, [2], B, SourceIp="10.0.0.1")
    assert match.group == (("ip", "10.0.0.1"),)


def test_an_alias_may_name_the_measured_field() -> None:
    aliases = "aliases: {ip: {a: DestinationIp, b: SourceIp}}"
    engine = Correlations(
        [one(f"type: value_count, rules: [a, b], timespan: 10s, {aliases}, condition: {{field: ip, gte: 2}}")], RULES
    )
    fired(engine, [0], A, DestinationIp="10.0.0.1")
    assert fired(engine, [1], B, SourceIp="10.0.0.1") == []
    assert len(fired(engine, [1], B, SourceIp="10.0.0.2")) == 1


def test_what_lacks_a_group_by_field_belongs_to_no_group_and_is_counted() -> None:
    engine = Correlations(
        [one("type: event_count, rules: [a], group-by: [User], timespan: 1m, condition: {gte: 2}")], RULES
    )
    assert fired(engine, range(9)) == []
    assert fired(engine, range(9), User="") == []
    assert engine.skipped == {"no_group_value": 18}


def test_without_group_by_all_events_are_one_group() -> None:
    engine = Correlations([one("type: event_count, rules: [a, b], timespan: 1m, condition: {gte: 2}")], RULES)
    fired(engine, [0], A, User="bob")
    assert len(fired(engine, [1], B, User="eve")) == 1


def test_an_event_that_two_rules_matched_is_one_event() -> None:
    engine = Correlations([one("type: event_count, rules: [a, b], timespan: 1m, condition: {gte: 2}")], RULES)
    assert fired(engine, [0], A, B) == []


def test_one_event_may_satisfy_two_rules_of_temporal_but_not_of_an_order() -> None:
    both = Correlations([one("type: temporal, rules: [a, b], timespan: 1m")], RULES)
    assert len(fired(both, [0], A, B)) == 1
    ordered = Correlations([one("type: temporal_ordered, rules: [a, b], timespan: 1m")], RULES)
    assert fired(ordered, [0], A, B) == []
    assert len(fired(ordered, [0], B)) == 1


@pytest.mark.parametrize("order", ["kid, a", "a, kid"])
def test_an_event_and_the_correlation_that_it_completes_are_one_event_of_an_order(order: str) -> None:
    kid = one("type: event_count, rules: [a], timespan: 1m, condition: {gte: 1}", title="kid")
    engine = Correlations([one(f"type: temporal_ordered, rules: [{order}], timespan: 1m"), kid], RULES)
    assert [len(fired(engine, [time])) for time in (0, 1)] == [0, 1]


def test_both_ends_of_a_timespan_belong_to_it() -> None:
    for last, count in ((60, 1), (60.001, 0)):
        engine = Correlations([one("type: event_count, rules: [a], timespan: 1m, condition: {gte: 2}")], RULES)
        assert len(fired(engine, [0, last])) == count


def test_an_attack_that_goes_on_is_told_once_a_timespan() -> None:
    engine = Correlations([one("type: event_count, rules: [a], timespan: 1m, condition: {gte: 10}")], RULES)
    matches = fired(engine, range(200))
    assert [match.last_ns // SECOND for match in matches] == [9, 70, 131, 192]
    assert [match.number for match in matches] == [10, 61, 61, 61]
    for earlier, later in itertools.pairwise(matches):
        assert later.first_ns > earlier.last_ns


def test_the_signal_says_what_was_counted_of_whom_and_names_the_events() -> None:
    text = "type: value_count, rules: [a], group-by: [Ip], timespan: 10m, condition: {gte: 3, field: User}"
    more = "level: high\ntags: [attack.t1110]\nshield: {name: spraying}"
    engine = Correlations([one(text, title="Spraying", more=more)], RULES)
    events = [at(time * 60, Ip="10.0.0.1", User=user) for time, user in enumerate(["Bob", "bob", "Eve", "Mallory"])]
    matches = [match for event in events for match in engine.observe(event, [A])]
    found = signal(matches[0], 60)
    assert (found.name, found.title, found.level, found.points) == ("spraying", "Spraying", "high", 60)
    assert (found.field, found.value, found.pattern) == (
        "value_count(User)",
        "3 in 3m: mallory, eve, bob",
        "gte 3 in 10m",
    )
    assert found.attack == ("T1110",)
    assert [(one.field, one.value) for one in found.further] == [
        ("Ip", "10.0.0.1"),
        ("event_id", " ".join(event.event_id for event in events)),
    ]


def test_of_a_flood_of_one_rule_the_events_of_the_other_are_still_named() -> None:
    engine = Correlations([one("type: temporal_ordered, rules: [a, b], timespan: 1h")], RULES)
    first = at(0)
    engine.observe(first, [A])
    flood = [at(time) for time in range(1, 500)]
    for event in flood:
        engine.observe(event, [A])
    last = at(500)
    (match,) = engine.observe(last, [B])
    assert match.event_ids == (flood[-1].event_id, last.event_id)
    assert match.evidence[0].value == "a, b in 8m20s"


# Conditions that a further event could undo.


def test_fewer_than_is_judged_when_the_window_is_over() -> None:
    engine = Correlations(
        [one("type: event_count, rules: [a], group-by: [U], timespan: 1m, condition: {lt: 3}")], RULES
    )
    assert fired(engine, [0, 1], U="few") + fired(engine, [0, 1, 2], U="many") == []
    assert engine.due_ns == 60 * SECOND
    assert engine.observe(at(60), ()) == ()
    (match,) = engine.observe(at(61), ())
    assert (match.group, match.number, match.first_ns, match.last_ns) == ((("U", "few"),), 2, 0, SECOND)
    assert engine.due_ns > 1 << 62


def test_a_range_leaves_more_to_another_rule() -> None:
    engine = Correlations([one("type: event_count, rules: [a], timespan: 1m, condition: {gt: 2, lte: 4}")], RULES)
    assert [match.number for match in fired(engine, [0, 1, *range(100, 105), *range(200, 203), 300])] == [3]


def test_one_rule_without_another_is_known_when_the_window_is_over() -> None:
    text = "type: temporal, timespan: 1m, group-by: [U], condition: a and not b"
    engine = Correlations([one(text)], RULES)
    fired(engine, [0], A, U="alone")
    fired(engine, [0], A, U="pair")
    fired(engine, [5], B, U="pair")
    fired(engine, [6], B, U="other")
    assert [match.group for match in engine.observe(at(100), ())] == [(("U", "alone"),)]


def test_what_must_not_match_begins_no_window() -> None:
    engine = Correlations([one("type: temporal, timespan: 1m, condition: a and not b")], RULES)
    fired(engine, [0], B)
    assert engine.due_ns > 1 << 62
    fired(engine, [30], A)
    assert len(fired(engine, [100], B)) == 1


def test_an_event_after_its_window_was_judged_is_counted_as_late_and_begins_no_new_one() -> None:
    engine = Correlations([one("type: event_count, rules: [a], timespan: 1m, condition: {lt: 3}")], RULES)
    fired(engine, range(5))
    engine.observe(at(100), ())
    assert fired(engine, [7]) == []
    assert engine.dropped["late"] == 1
    assert fired(engine, [300, 400]) != []


def test_a_late_event_within_the_window_makes_it_begin_earlier() -> None:
    engine = Correlations([one("type: event_count, rules: [a], timespan: 1m, condition: {lt: 3}")], RULES)
    fired(engine, [50, 20, 70])
    assert engine.due_ns == 80 * SECOND
    assert engine.observe(at(90), ()) == ()


# Against a reference that keeps every event and counts by hand.


class Step(NamedTuple):
    """An event of a test: its time, group, the rules that matched it, its value."""

    time: int
    user: str
    matched: tuple[Rule, ...]
    value: int


def measured(rule: Correlation, window: Sequence[Step]) -> float:
    """Return what `rule` measures in a window, found in the most obvious way."""
    values = [step.value for step in window]
    names = [[name for name in rule.rules if name in {one.id for one in step.matched}] for step in window]
    match rule.kind:
        case "event_count":
            return len(window)
        case "value_count":
            return len(set(values))
        case "value_sum":
            return sum(values)
        case "value_avg":
            return statistics.fmean(values)
        case "value_median":
            return statistics.median(values)
        case "value_percentile":
            several = values if len(values) > 1 else values * 2
            return statistics.quantiles(several, n=100, method="inclusive")[int(rule.percentile or 0) - 1]
        case "temporal":
            return len(set(itertools.chain(*names)))
        case "temporal_ordered":
            chains = (
                chosen
                for length in range(len(rule.rules), 0, -1)
                for chosen in itertools.combinations(rule.rules, length)
                if any_in_order(chosen, names)
            )
            return len(next(chains, ()))


def any_in_order(wanted: Sequence[str], names: Sequence[Sequence[str]]) -> bool:
    """Return whether the `wanted` names are found one after the other, each in a list of its own."""
    left = iter(names)
    return all(any(name in here for here in left) for name in wanted)


def reference(rule: Correlation, steps: Sequence[Step]) -> list[tuple[str, float, int]]:
    """Return the group, the number and the end of each window that is reported."""
    found: list[tuple[str, float, int]] = []
    events: dict[str, list[Step]] = {}
    reported: dict[str, int] = {}
    span = rule.timespan_ns // SECOND
    for step in steps:
        if not {one.id for one in step.matched} & set(rule.rules):
            continue
        group = events.setdefault(step.user, [])
        place = sum(other.time <= step.time for other in group)
        group.insert(place, step)
        for index in range(place, len(group)):
            end = group[index].time
            window = [other for other in group[: index + 1] if other.time >= end - span]
            if end > step.time + span or not within(rule.bounds, measured(rule, window)):
                continue
            if step.user not in reported or abs(end - reported[step.user]) > span:
                reported[step.user] = end
                found.append((step.user, measured(rule, window), end))
    return found


def whole_windows(rule: Correlation, steps: Sequence[Step]) -> set[tuple[str, float, int]]:
    """Return the group, the number and the last event of each whole window that is reported."""
    found: set[tuple[str, float, int]] = set()
    span = rule.timespan_ns // SECOND
    for user in {step.user for step in steps}:
        left = [step for step in steps if step.user == user and {one.id for one in step.matched} & set(rule.rules)]
        while left:
            window = [step for step in left if step.time <= left[0].time + span]
            left = left[len(window) :]
            if within(rule.bounds, measured(rule, window)):
                found.add((user, measured(rule, window), window[-1].time))
    return found


def observed(engine: Correlations, steps: Sequence[Step]) -> list[tuple[str, float, int]]:
    """Return the same of an engine, put away and restored half-way."""
    matches: list[CorrelationMatch] = []
    for index, step in enumerate(steps):
        if index == len(steps) // 2:
            engine.restore(engine.state())
        matches += engine.observe(at(step.time, User=step.user, Value=step.value), step.matched)
    return [(match.group[0][1], match.number, match.last_ns // SECOND) for match in matches]


def histories(late: int = 0) -> st.SearchStrategy[list[Step]]:
    """Return events whose times rise, each up to `late` seconds behind the latest."""
    moves = st.tuples(
        st.sampled_from([0, 0, 1, 1, 2, 3, 5, 12, 30]),
        st.integers(0, late),
        st.sampled_from(["bob", "bob", "eve"]),
        st.sampled_from([(A,), (B,), (C,), (A, B), (C, A)]),
        st.integers(-3, 5),
    )

    def timed(drawn: list[tuple[int, int, str, tuple[Rule, ...], int]]) -> list[Step]:
        latest = itertools.accumulate((pause for pause, *_ in drawn), initial=1000)
        return [Step(time - behind, *what) for time, (_, behind, *what) in zip(list(latest)[1:], drawn, strict=True)]

    return st.lists(moves, max_size=30).map(timed)


SLIDING = [
    "type: event_count, rules: [a, b], condition: {gte: 4}",
    "type: event_count, rules: [a], condition: {gt: 1}",
    "type: value_count, rules: [a, b], condition: {gte: 3, field: Value}",
    "type: value_sum, rules: [a, b], condition: {gte: 5, field: Value}",
    "type: value_avg, rules: [a, b], condition: {lt: 1, field: Value}",
    "type: value_median, rules: [a, b, c], condition: {eq: 2, field: Value}",
    "type: value_percentile, rules: [a, b], condition: {gte: 3, field: Value, percentile: 70}",
    "type: temporal, rules: [a, b, c]",
    "type: temporal, rules: [a, b, c], condition: {gte: 2}",
    "type: temporal_ordered, rules: [a, b, c]",
    "type: temporal_ordered, rules: [c, a], condition: {eq: 2}",
    "type: temporal_ordered, rules: [a, b, c], condition: {gte: 2}",
]
WHOLE = [
    "type: event_count, rules: [a, b], condition: {lt: 3}",
    "type: event_count, rules: [a], condition: {eq: 2}",
    "type: event_count, rules: [a, b], condition: {gt: 1, lte: 3}",
    "type: value_count, rules: [a, c], condition: {neq: 2, field: Value}",
    "type: value_sum, rules: [a, c], condition: {lte: 2, field: Value}",
    "type: temporal, rules: [a, b, c], condition: {lte: 2}",
    "type: temporal_ordered, rules: [a, b, c], condition: {eq: 2}",
]


@pytest.mark.parametrize("section", SLIDING)
@settings(max_examples=60)
@given(histories(late=10))
def test_each_kind_agrees_with_counting_by_hand_also_out_of_order(section: str, steps: list[Step]) -> None:
    rule = one(f"{section}, timespan: 10s, group-by: [User]")
    found = observed(Correlations([rule], RULES), steps)
    assert found == [pytest.approx(expected) for expected in reference(rule, steps)]


@pytest.mark.parametrize("section", WHOLE)
@settings(max_examples=60)
@given(histories())
def test_what_is_judged_by_whole_windows_agrees_with_counting_by_hand(section: str, steps: list[Step]) -> None:
    rule = one(f"{section}, timespan: 10s, group-by: [User]")
    found = observed(Correlations([rule], RULES), [*steps, Step(10_000, "nobody", (), 0)])
    assert set(found) == whole_windows(rule, steps)
    assert len(found) == len(set(found))


@given(histories(late=10))
def test_an_expression_agrees_with_asking_which_rules_matched(steps: list[Step]) -> None:
    rule = one("type: temporal, condition: a and (b or c), timespan: 10s, group-by: [User]")
    found = observed(Correlations([rule], RULES), steps)
    plain = one("type: temporal, rules: [a, b, c], timespan: 10s, group-by: [User]")
    by_hand: list[tuple[str, int]] = []
    events: dict[str, list[Step]] = {}
    for step in steps:
        group = events.setdefault(step.user, [])
        group.append(step)
        group.sort(key=lambda other: other.time)
        for end in sorted({other.time for other in group if step.time <= other.time <= step.time + 10}):
            names = {one.id for other in group if end - 10 <= other.time <= end for one in other.matched}
            near = any(user == step.user and abs(time - end) <= 10 for user, time in by_hand[-1:])
            if "a" in names and names & {"b", "c"} and not near:
                by_hand = [kept for kept in by_hand if kept[0] != step.user] + [(step.user, end)]
    assert {user for user, _, _ in found} == {user for user, _ in by_hand}
    assert plain.bounds[0].number == 3


@settings(max_examples=60)
@given(histories())
def test_a_chain_agrees_with_counting_by_hand_link_by_link(steps: list[Step]) -> None:
    burst = one("type: event_count, rules: [a], timespan: 10s, group-by: [User], condition: {gte: 3}", title="burst")
    then = one("type: temporal_ordered, rules: [burst, b], timespan: 20s, group-by: [User]", title="then")
    held: list[Step] = []
    for index, step in enumerate(steps):
        near = [one for one in steps[: index + 1] if one.user == step.user and one.time >= step.time - 10]
        matched = (rule("burst"),) if A in step.matched and sum(A in one.matched for one in near) >= 3 else ()
        held.append(step._replace(matched=(*matched, *step.matched)))
    assert observed(Correlations([then, burst], RULES), steps) == reference(then, held)


# Restarts.

COUNT = "type: event_count, rules: [a], group-by: [User], timespan: 1m, condition: {gte: 4}"


def test_a_window_goes_on_after_a_restart() -> None:
    before = Correlations([one(COUNT)], RULES)
    fired(before, [0, 1, 2], User="Bob")
    after = Correlations([one(COUNT)], RULES)
    after.restore(before.state())
    (match,) = fired(after, [3], User="bob")
    assert (match.number, match.group) == (4, (("User", "Bob"),))
    assert len(match.event_ids) == 4


def test_what_was_reported_before_a_restart_is_not_reported_again() -> None:
    before = Correlations([one(COUNT)], RULES)
    assert len(fired(before, range(5), User="bob")) == 1
    after = Correlations([one(COUNT)], RULES)
    after.restore(before.state())
    assert fired(after, range(5, 20), User="bob") == []


def test_a_window_that_is_to_be_judged_is_so_after_a_restart() -> None:
    text = "type: event_count, rules: [a], group-by: [User], timespan: 1m, condition: {lt: 4}"
    before = Correlations([one(text)], RULES)
    fired(before, [0], User="bob")
    after = Correlations([one(text)], RULES)
    after.restore(before.state())
    assert len(after.observe(at(61), ())) == 1


def test_a_correlation_that_has_changed_begins_anew_and_the_others_go_on() -> None:
    before = Correlations([one(COUNT, title="kept"), one(COUNT, title="changed")], RULES)
    fired(before, [0, 1, 2], User="bob")
    changed = one(COUNT.replace("gte: 4", "gte: 3"), title="changed")
    after = Correlations([one(COUNT, title="kept", more="level: high"), changed], RULES)
    after.restore(before.state())
    assert [match.correlation.title for match in fired(after, [3], User="bob")] == ["kept"]


def test_a_state_that_is_damaged_or_foreign_is_refused_and_nothing_is_kept() -> None:
    good = Correlations([one(COUNT)], RULES)
    fired(good, [0, 1, 2], User="bob")
    written = good.state()
    later = written.replace(b"correlations 1\n", b"correlations 2\n")
    for bad, why in [
        (b"", "no state"),
        (b"\0" * 5000, "no state"),
        (later, "another version"),
        (written[:-1], "damaged"),
        (written[:30], "damaged"),
        (written + b"x", "damaged"),
        (written.replace(b"bob", b"eve"), "damaged"),
    ]:
        engine = Correlations([one(COUNT)], RULES)
        fired(engine, [0, 1, 2], User="bob")
        with pytest.raises(StateRefused, match=why):
            engine.restore(bad)
        assert engine.memory_bytes == 0
        assert fired(engine, [3], User="bob") == []


@given(st.integers(0), st.integers(1, 255))
def test_no_change_of_a_byte_is_taken_for_a_state(place: int, change: int) -> None:
    engine = Correlations([one(COUNT)], RULES)
    fired(engine, [0, 1, 2], User="bob")
    written = bytearray(engine.state())
    written[place % len(written)] ^= change
    with pytest.raises(StateRefused):
        engine.restore(bytes(written))


def test_a_sound_digest_over_another_shape_is_refused() -> None:
    identity = states.identity(one(COUNT))
    for groups in ([[["bob"], ["bob"], [1, 2], [["e", 1]]]], [[["bob"], ["bob"], [], []]], [[["bob"], ["bob"], ["x"]]]):
        engine = Correlations([one(COUNT)], RULES)
        with pytest.raises(StateRefused):
            engine.restore(states.sealed({"groups": {identity: groups}}))


# Clocks.


def test_a_clock_that_jumps_ahead_and_back_blinds_no_group() -> None:
    engine = Correlations([one(COUNT)], RULES)
    fired(engine, [100, 101], User="bob")
    fired(engine, [4_000_000_000], User="bob")
    assert len(fired(engine, [102, 103], User="bob")) == 1


def test_a_clock_that_stays_back_is_followed_and_what_lies_ahead_is_forgotten_and_counted() -> None:
    engine = Correlations([one(COUNT)], RULES)
    fired(engine, range(100_000, 100_003), User="bob")
    assert len(fired(engine, range(4), User="bob")) == 1
    assert engine.dropped["clock_moved_back"] == 3


def test_a_recording_from_before_is_judged_like_any_other() -> None:
    engine = Correlations([one(COUNT)], RULES)
    assert len(fired(engine, range(1_000_000, 1_000_004), User="bob")) == 1
    assert len(fired(engine, range(4), User="bob")) == 1


def test_whole_windows_go_on_when_the_clock_was_set_back() -> None:
    text = "type: event_count, rules: [a], timespan: 1m, condition: {lt: 4}"
    engine = Correlations([one(text)], RULES)
    fired(engine, [100_000])
    engine.observe(at(200_000), ())
    fired(engine, [0])
    assert engine.dropped["late"] == 1
    assert len(fired(engine, [10, 100])) == 1


@given(st.lists(st.tuples(st.integers(0, 1 << 62), st.sampled_from(RULES)), max_size=60))
def test_any_times_at_all_are_survived(events: list[tuple[int, Rule]]) -> None:
    engine = Correlations(
        [
            one(f"{section}, timespan: 10y", title=section[6:20])
            for section in (SLIDING[0], SLIDING[9], WHOLE[0], WHOLE[6])
        ],
        RULES,
    )
    for time, matched in events:
        engine.observe(at(time / SECOND, Value=1), [matched])
    engine.restore(engine.state())


# Floods.


def test_a_sender_of_ever_new_values_is_bounded_and_counted_and_does_not_push_out_who_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judging, "GROUPS_MOST", 100)
    engine = Correlations([one(COUNT)], RULES)
    fired(engine, [0, 1, 2], User="bob")
    for number in range(1000):
        fired(engine, [3], User=f"user{number}")
    assert engine.dropped == {"too_many_groups": 901}
    assert len(fired(engine, [4], User="bob")) == 1


def test_a_group_whose_time_is_over_is_given_up_without_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "GROUPS_MOST", 100)
    engine = Correlations([one(COUNT)], RULES)
    for number in range(1000):
        fired(engine, [number * 10], User=f"user{number}")
    assert engine.dropped == {}


def test_all_memory_together_is_bounded_and_the_largest_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "BYTES_MOST", 500_000)
    quiet = COUNT.replace("[a]", "[b]")
    engine = Correlations([one(COUNT, title="loud"), one(quiet, title="quiet")], RULES)
    fired(engine, [0, 1, 2], B, User="bob")
    for number in range(1000):
        fired(engine, [3], A, User=f"{number}" + "x" * 10_000)
    assert engine.memory_bytes <= 500_000
    assert engine.dropped["too_much_memory"] > 500
    assert len(fired(engine, [4], B, User="bob")) == 1


def test_the_memory_that_is_counted_is_the_memory_that_is_taken() -> None:
    engine = Correlations([one(COUNT, title="c"), one(f"{SLIDING[2]}, group-by: [User], timespan: 1h")], RULES)
    tracemalloc.start()
    for number in range(4000):
        fired(engine, [number / 100], User=f"user{number % 1000}", Value=number)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < engine.memory_bytes * 1.2


def test_a_flood_in_one_group_is_bounded_and_still_judged_rightly() -> None:
    engine = Correlations([one("type: event_count, rules: [a], timespan: 1h, condition: {gte: 3000}")], RULES)
    assert [match.number for match in fired(engine, (number / 100 for number in range(9000)))] == [3000]
    assert engine.dropped["too_many_events"] > 4000
    (match,) = fired(engine, [3650])
    assert match.evidence[0].value.startswith("at least 3")
    fewer = Correlations([one("type: event_count, rules: [a], timespan: 1h, condition: {lte: 5}")], RULES)
    fired(fewer, (number / 100 for number in range(9000)))
    assert fewer.observe(at(5000), ()) == ()
    assert fewer.dropped["too_many_events"] > 4000


def test_hostile_values_are_told_apart_shortened_and_bounded() -> None:
    engine = Correlations([one(COUNT.replace("gte: 4", "gte: 2"))], RULES)
    long = "\x1b[31m\u202e\uefff\n" + "A" * 100_000
    assert fired(engine, [0], User=long + "1") == []
    assert fired(engine, [1], User=long + "2") == []
    (match,) = fired(engine, [2], User=long.lower() + "1")
    assert len(match.group[0][1]) < 500
    again = Correlations([one(COUNT)], RULES)
    again.restore(engine.state())


def test_numbers_are_read_from_texts_and_what_is_none_is_counted() -> None:
    engine = Correlations([one("type: value_sum, rules: [a], timespan: 1m, condition: {gte: 31, field: V}")], RULES)
    for value in ("-", True, "nan", "1e999", "9" * 5000, ("1", "2")):
        assert fired(engine, [0], V=value) == []
    assert fired(engine, [0]) == []
    assert engine.skipped == {"not_a_number": 6, "no_value": 1}
    fired(engine, [0], V="0x10")
    fired(engine, [0], V="4.5")
    fired(engine, [0], V=0.5)
    assert [match.number for match in fired(engine, [0], V=10)] == [31]


# What can't be resolved.


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        (
            ["type: temporal, rules: [a, missing], timespan: 1m"],
            "c.yml: correlation 't0': there is no rule 'missing'; ",
        ),
        (["type: temporal, rules: [t0], timespan: 1m"], "refers back to itself through 't0'; "),
        (
            ["type: temporal, rules: [t1], timespan: 1m", "type: temporal, rules: [t0, a], timespan: 1m"],
            "'t0': it refers back to itself through 't1'; ",
        ),
        (
            ["type: temporal, rules: [t1], timespan: 1m", "type: temporal, rules: [missing], timespan: 1m"],
            "'t0': it refers to 't1', which can't be used; ",
        ),
        (["type: temporal, rules: [a, twin], timespan: 1m"], "'twin' names rules in d.yml and e.yml; "),
        (["type: temporal, rules: [d, twin1], timespan: 1m"], "there is no rule 'twin1'"),
        (["type: temporal, rules: [a], timespan: 1m, aliases: {x: {b: F}}"], "alias 'x' is about 'b', which is none"),
        (["type: temporal, rules: [a, named], timespan: 1m"], "two of its rules are the same"),
    ],
)
def test_what_refers_to_no_rule_or_in_a_circle_is_a_problem_with_a_remedy(sections: list[str], problem: str) -> None:
    rules = [rule("a", "named"), B, rule("d", "twin"), rule("e", "twin")]
    bad = [one(section, title=f"t{number}") for number, section in enumerate(sections)]
    good = one("type: event_count, rules: [b], timespan: 1m, condition: {gte: 1}", title="good")
    problems = unresolved([*bad, good], rules)
    assert len(problems) == len(bad)
    assert any(problem in line for line in problems)
    assert all("; " in line for line in problems)
    engine = Correlations([*bad, good], rules)
    assert engine.referenced == {"b"}
    assert [match.correlation.title for match in fired(engine, [0], *rules)] == ["good"]


def test_a_rule_is_referred_to_by_its_id_in_any_case_or_by_its_name(brute_force: Correlations) -> None:
    by_id = one(f"type: event_count, rules: [{FAILED.id.upper()}], timespan: 1m, condition: {{gte: 1}}")
    assert unresolved([by_id, *correlations_of(BRUTE_FORCE)], [FAILED, SUCCEEDED]) == []
    assert Correlations([by_id], [FAILED]).referenced == {FAILED.id}


def test_long_chains_are_judged_in_their_order() -> None:
    text = "type: event_count, timespan: 1m, condition: {gte: 1}"
    chained = [one(f"{text}, rules: ['link{number + 1}']", title=f"link{number}") for number in range(200)]
    engine = Correlations([*chained, one(f"{text}, rules: [a]", title="link200")], RULES)
    assert [match.correlation.title for match in fired(engine, [0])] == ["link0"]


def test_a_group_keeps_more_events_than_any_condition_asks_for() -> None:
    for count in (1, 800, 1000, 99_999):
        rule = one(f"type: event_count, rules: [a], timespan: 1m, condition: {{gt: {count}}}")
        most = groups_module.events_most(rule)
        assert most - most // 8 > count
