"""Points, thresholds and stories: what an event is worth, exactly."""

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.event import Data, Event, Process, Signal
from shield.policy.schema import Policy, Story
from shield.scorer import score
from shield.scorer.score import Assessment, Scorer, points
from shield.scorer.sigma.parse import parse
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.ruleset import Ruleset

SECOND = 1_000_000_000
WINDOW = 600


def rule(word: str, own: int | None = None, level: str = "low", technique: str = "t1059") -> Rule:
    """A rule named `word` that matches command lines with `word` in them."""
    content = {
        "title": word.title(),
        "id": f"00000000-0000-4000-8000-{word.encode().hex():0>12}",
        "tags": [f"attack.{technique}"],
        "level": level,
        "logsource": {"category": "process_creation"},
        "detection": {"sel": {"CommandLine|contains": word}, "condition": "sel"},
        "shield": {"name": word} if own is None else {"name": word, "points": own},
    }
    return parse(json.dumps(content).encode(), word)[0]


TEN, TWENTY, THIRTY, FIFTY = rule("ten", 10), rule("aaa", 20), rule("bbb", 30), rule("fifty", 50)
ALL = (TEN, TWENTY, THIRTY, FIFTY)


def scorer(rules: Sequence[Rule] = ALL, **policy: object) -> Scorer:
    return Scorer(Ruleset(tuple(rules)), Policy(version=1, **policy))  # type: ignore[arg-type]


def event(cmdline: str, second: float = 0, story: str = "story", event_id: str = "", exe: str = "/bin/x") -> Event:
    data = Data(process=Process(pid=1, exe=exe, cmdline=cmdline))
    ts_ns = int(second * SECOND)
    return Event(0, "h", "process_start", "ALLOW", 0, "", data, "", "", story, ts_ns=ts_ns, event_id=event_id)


def names(assessment: Assessment) -> list[str]:
    return [signal.name for signal in assessment.story]


def test_an_event_without_a_signal_is_low_signal() -> None:
    found = scorer().assess(event("ls"))
    assert (found.score, found.rationale, found.signals, found.story, found.attack) == (0, "low_signal", (), (), ())


def test_points_add_up_and_the_rationale_joins_the_names_weightiest_first() -> None:
    found = scorer().assess(event("ten aaa bbb"))
    assert (found.score, found.rationale) == (60, "bbb;aaa;ten")


def test_a_score_is_at_most_100() -> None:
    assert scorer().assess(event("ten aaa bbb fifty")).score == 100


@given(st.permutations(ALL))
def test_the_order_of_rules_does_not_matter(rules: list[Rule]) -> None:
    assert scorer(rules).assess(event("ten aaa bbb fifty")) == scorer().assess(event("ten aaa bbb fifty"))


def test_techniques_are_named_once_and_sorted() -> None:
    found = scorer((rule("x", 1, technique="t1105"), rule("y", 1), rule("z", 1))).assess(event("xyz"))
    assert found.attack == ("T1059", "T1105")


@pytest.mark.parametrize(
    ("one", "policy", "expected"),
    [
        (rule("w", 12, "high"), {}, 12),
        (rule("w", None, "informational"), {}, 5),
        (rule("w", None, "low"), {}, 15),
        (rule("w", None, "medium"), {}, 40),
        (rule("w", None, "high"), {}, 70),
        (rule("w", None, "critical"), {}, 90),
        (rule("w", None, "high"), {"levels": {"high": 33}}, 33),
        (rule("w", 12, "high"), {"levels": {"high": 33}}, 12),
        (rule("w", 12), {"weights": {"w": 44}}, 44),
        (rule("w", 12), {"weights": {"w": 44, rule("w").id: 55}}, 55),
        (rule("w", 12), {"weights": {"w": 44, rule("w").id: 0}}, 0),
        (rule("w", 12), {"weights": {"w": 0}}, 0),
    ],
)
def test_a_weight_counts_more_than_a_rules_points_and_these_more_than_its_level(
    one: Rule, policy: dict[str, object], expected: int
) -> None:
    assert points([one], Policy(version=1, **policy)) == {one.id: expected}  # type: ignore[arg-type]
    assert scorer([one], **policy).assess(event("w")).score == expected


def test_a_rule_that_is_off_leaves_no_trace() -> None:
    assert scorer(weights={"ten": 0}).assess(event("ten")) == scorer().assess(event("ls"))


def test_signals_of_a_story_add_up() -> None:
    story = scorer()
    story.assess(event("ten", 0, event_id="first"))
    found = story.assess(event("aaa", 5))
    assert (found.score, found.rationale) == (30, "aaa;ten")
    assert [(signal.name, signal.event_id) for signal in found.story] == [("ten", "first")]
    assert [signal.name for signal in found.signals] == ["aaa"]


@pytest.mark.parametrize(("later", "carried"), [(0, 1), (WINDOW - 1e-6, 1), (WINDOW, 0), (10 * WINDOW, 0)])
def test_a_signal_counts_within_the_window_and_not_beyond(later: float, carried: int) -> None:
    story = scorer()
    story.assess(event("ten", 100))
    assert len(story.assess(event("aaa", 100 + later)).story) == carried


def test_an_earlier_signal_fades_in_proportion_to_the_time_that_is_left_of_its_window() -> None:
    story = scorer()
    story.assess(event("fifty", 0))
    found = story.assess(event("ten", WINDOW / 4))
    assert found.score == 10 + math.ceil(50 * 3 / 4)
    assert [(signal.points, signal.full_points) for signal in found.story] == [(38, 50)]


def test_a_window_of_zero_seconds_still_takes_events_of_the_same_instant_only() -> None:
    story = scorer(story=Story(window_seconds=0))
    story.assess(event("ten", 1))
    assert names(story.assess(event("aaa", 2))) == []


@pytest.mark.parametrize("other", ["other", ""])
def test_stories_do_not_mix(other: str) -> None:
    story = scorer()
    story.assess(event("ten", story=other))
    assert names(story.assess(event("aaa"))) == []


def test_events_without_a_story_stand_alone() -> None:
    story = scorer()
    story.assess(event("ten", story=""))
    assert names(story.assess(event("aaa", story=""))) == []


def test_a_repeat_of_what_a_story_has_shown_carries_nothing() -> None:
    story = scorer()
    assert [story.assess(event(word, at)).score for at, word in enumerate(["ten", "aaa", "ten", "aaa", "bbb"])] == [
        10,
        30,
        10,
        20,
        60,
    ]


def test_an_event_without_a_signal_carries_nothing() -> None:
    story = scorer()
    story.assess(event("fifty"))
    assert story.assess(event("ls", 1)).score == 0


def test_a_signal_counts_once_however_often_a_story_shows_it() -> None:
    story = scorer()
    for at in range(50):
        story.assess(event("ten", at))
    assert story.assess(event("aaa", 50)).score == 30


def test_repeats_share_a_dedupe_key_and_other_findings_or_programs_do_not() -> None:
    fresh = [scorer().assess(one).dedupe_key for one in (event("ten a"), event("ten b", 9, "other"))]
    assert len(set(fresh)) == 1
    different = [event("ten"), event("aaa"), event("ls"), event("ten", exe="/bin/y"), event("ten aaa")]
    assert len({scorer().assess(one).dedupe_key for one in different}) == len(different)


def test_the_memory_of_stories_is_bounded_and_the_latest_stay() -> None:
    story = scorer()
    for number in range(score._STORIES_MOST + 10):
        story.assess(event("ten", story=str(number)))
    assert len(story._stories) == score._STORIES_MOST
    assert names(story.assess(event("aaa", story="0"))) == []
    assert names(story.assess(event("aaa", story=str(score._STORIES_MOST)))) == ["ten"]


def test_the_memory_of_one_story_is_bounded() -> None:
    rules = [rule(f"w{number:03}", 1) for number in range(score._SIGNALS_MOST + 20)]
    story = scorer(rules)
    for at, one in enumerate(rules):
        found = story.assess(event(one.name, at / 100))
        assert len(found.story) <= score._SIGNALS_MOST
    assert found.score == score._SIGNALS_MOST + 1


words = st.lists(st.sampled_from(["ten", "aaa", "bbb", "fifty", "ls"]), max_size=3).map(" ".join)
histories = st.lists(st.tuples(words, st.integers(0, 400), st.sampled_from(["s", "t", ""])), max_size=12)


@given(histories)
def test_a_story_adds_what_is_left_of_its_last_ten_minutes_to_what_is_new(history: list[tuple[str, int, str]]) -> None:
    """A plain model: for each signal the time a story showed it first, forgotten after the window."""
    story, shown, now = scorer(), dict[tuple[str, str], int](), 0
    worth = {"ten": 10, "aaa": 20, "bbb": 30, "fifty": 50}
    for cmdline, passed, name in history:
        now += passed
        found = story.assess(event(cmdline, now, name))
        own = set(cmdline.split()) & set(worth)
        known = {word: at for (where, word), at in shown.items() if where == name != "" and now - at < WINDOW}
        carried = known.keys() - own if own - known.keys() else set[str]()
        assert set(names(found)) == carried
        left = {word: math.ceil(worth[word] * (WINDOW - now + known[word]) / WINDOW) for word in carried}
        assert found.score == min(100, sum(worth[word] for word in own) + sum(left.values()))
        shown |= {(name, word): now for word in own - known.keys()}


def test_what_is_found_later_is_judged_with_the_story_and_not_matched_again() -> None:
    judge = scorer()
    first = judge.assess(event("fifty", 1, event_id="one"))
    later = judge.assess(event("fifty", 1, event_id="two"), (Signal("yara:x.y", "yara(y)", 30), Signal("z", "z", 5)))
    assert [signal.name for signal in first.signals] == ["fifty"]
    assert [signal.name for signal in later.signals] == ["yara(y)", "z"]
    assert [(signal.name, signal.event_id) for signal in later.story] == [("fifty", "one")]
    assert (later.score, later.rationale) == (85, "yara(y);z;fifty")


def test_what_is_found_later_without_a_story_counts_alone() -> None:
    judge = scorer()
    judge.assess(event("fifty", 1, story=""))
    assert judge.assess(event("fifty", 1, story=""), (Signal("y", "y", 30),)).score == 30


def test_a_successor_goes_on_with_stories_and_witnesses_under_its_own_points() -> None:
    class Always:
        def signals(self, event: Event) -> tuple[Signal, ...]:
            return (Signal("always", "always", 1),)

    old = Scorer(Ruleset(ALL), Policy(version=1), witnesses=[Always()])
    new = scorer((TEN, FIFTY), weights={"fifty": 60})
    old.assess(event("aaa", 1))
    new.succeed(old)
    found = new.assess(event("fifty", 1))
    assert found.rationale == "fifty;always;aaa"
    assert found.score == 60 + 20 + 1
