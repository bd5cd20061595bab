"""The baseline: what it learns and scores, and that floods, clocks, damage and attackers do not mislead it."""

import itertools
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.event import Action, Ancestor, Category, Data, Event, Network, Process, Signal, User, decode, encode
from shield.policy import load as policies
from shield.policy.document import DocumentError
from shield.policy.schema import BaselinePoints, BaselineSettings, Thresholds
from shield.scorer.baseline import Baseline, BaselineDamaged
from shield.scorer.baseline import lessons as lessons_of
from shield.scorer.baseline import quarantine as quarantine_of
from shield.scorer.baseline import state as stored_state
from shield.scorer.baseline import table as table_of
from shield.scorer.baseline.steady import NAME_MOST, steady_path

SECOND = 1_000_000_000
HOUR = 3600
DAY = 24 * HOUR
FIRST = 20_000 * DAY  # some midnight
LEARN_DAYS = 14

NGINX, SH, CURL = "/usr/sbin/nginx", "/usr/bin/sh", "/usr/bin/curl"


def event(category: Category, second: float, story: str, **data: Any) -> Event:
    """An event so many seconds after the first midnight."""
    ts_ns = int((FIRST + second) * SECOND)
    return Event(0, "h", category, "ALLOW", 0, "", Data(**data), "", "", story, ts_ns=ts_ns)


def start(
    exe: str, second: float = 0, parent: str = NGINX, user: str = "root", story: str = "", sha256: str = ""
) -> Event:
    hashes = {"sha256": sha256} if sha256 else {}
    process, above = Process(pid=2, exe=exe, hashes=hashes), Ancestor(pid=1, exe=parent)
    return event("process_start", second, story, process=process, parent=above, user=User(id=0, name=user))


def connection(exe: str, ip: str, port: int, second: float = 0, **network: Any) -> Event:
    where = Network(destination_ip=ip, destination_port=port, **network)
    return event("network_connection", second, "", process=Process(pid=2, exe=exe), network=where)


def listen(exe: str, port: int, second: float = 0) -> Event:
    where = Network(transport="tcp", source_port=port)
    return event("network_listen", second, "", process=Process(pid=2, exe=exe), network=where)


def logon(user: str, second: float) -> Event:
    return event("auth_success", second, "", user=User(name=user))


def at(one: Event, second: float) -> Event:
    return msgspec.structs.replace(one, ts_ns=int((FIRST + second) * SECOND))


def baseline(**keys: Any) -> Baseline:
    return Baseline(BaselineSettings(**keys))


def quick(**keys: Any) -> Baseline:
    """A baseline that holds nothing back."""
    return baseline(quarantine_seconds=0, **keys)


def teach(
    learner: Baseline, *events: Event, days: Iterable[int] = range(LEARN_DAYS), action: Action = "ALLOW"
) -> Baseline:
    """Show the same events, of the first day, on each of the days; then let one more day begin."""
    days = list(days)
    for day in days:
        for one in events:
            learner.learn(at(one, one.ts_ns / SECOND - FIRST + day * DAY), action)
    learner.learn(event("heartbeat", (days[-1] + 1) * DAY, ""), "ALLOW")
    learner.learn(event("heartbeat", (days[-1] + 1) * DAY + 1, ""), "ALLOW")
    return learner


def names(signals: Iterable[Signal]) -> list[str]:
    return [signal.name for signal in signals]


TODAY = LEARN_DAYS * DAY + 2
NORMAL = (
    start(NGINX, parent="/usr/lib/systemd/systemd"),
    start(SH, 1, parent="/usr/sbin/sshd"),
    start(CURL, 2, parent=SH),
)


# What it scores


def test_while_it_learns_nothing_is_scored_and_the_phase_is_visible() -> None:
    learner = teach(quick(), *NORMAL, days=range(3))
    assert learner.signals(start("/tmp/new", 3 * DAY + 2)) == ()
    assert (learner.status.phase, learner.status.summary) == ("learning", "learning 3 of 14 days")


def test_scoring_begins_once_the_days_are_over() -> None:
    learner = teach(quick(), *NORMAL, days=range(LEARN_DAYS - 1))
    assert learner.signals(start("/tmp/new", LEARN_DAYS * DAY - 1)) == ()
    assert names(learner.signals(start("/tmp/new", LEARN_DAYS * DAY))) == ["new_executable(seen 0 of 14 days)"]
    assert learner.status.phase == "scoring"


def test_what_happens_every_day_is_no_signal() -> None:
    learner = teach(quick(), *NORMAL)
    assert [learner.signals(at(one, TODAY)) for one in NORMAL] == [(), (), ()]


def test_a_known_program_below_an_unusual_parent_is_told_with_its_evidence() -> None:
    (found,) = teach(quick(), *NORMAL).signals(start(SH, TODAY, parent=NGINX))
    assert found.rule_id == "baseline:new_parent_child"
    assert found.name == "new_parent_child(seen 0 of 14 days)"
    assert (found.field, found.value, found.pattern) == ("process.exe", SH, "seen on 0 of 14 days")
    assert [(further.field, further.value) for further in found.further] == [("parent.exe", NGINX)]
    assert found.points == BaselinePoints().parent_child


def test_a_new_program_is_told_once_not_by_each_of_its_pairs_too() -> None:
    learner = teach(quick(), *NORMAL)
    assert names(learner.signals(start("/opt/x", TODAY))) == ["new_executable(seen 0 of 14 days)"]


def test_what_was_seen_on_too_few_days_is_rare_and_has_a_third_of_the_points() -> None:
    learner = teach(quick(), *NORMAL)
    teach(learner, start("/opt/x", story="s"), days=[LEARN_DAYS])
    found = learner.signals(start("/opt/x", (LEARN_DAYS + 1) * DAY + 2))
    assert [(one.rule_id, one.name, one.points) for one in found] == [
        ("baseline:rare_executable", "rare_executable(seen 1 of 15 days)", 3),
        ("baseline:rare_parent_child", "rare_parent_child(seen 1 of 15 days)", 2),
        ("baseline:rare_user_executable", "rare_user_executable(seen 1 of 15 days)", 1),
    ]


def test_another_user_of_a_known_program_is_told() -> None:
    (found,) = teach(quick(), *NORMAL).signals(start(CURL, TODAY, parent=SH, user="www-data"))
    assert found.name == "new_user_executable(seen 0 of 14 days)"
    assert ("user.name", "www-data") in [(further.field, further.value) for further in found.further]


def test_a_known_program_with_other_content_is_told() -> None:
    learner = teach(quick(), start(CURL, sha256="aa" * 32))
    assert learner.signals(start(CURL, TODAY, sha256="AA" * 32)) == ()
    assert names(learner.signals(start(CURL, TODAY, sha256="bb" * 32))) == ["new_executable_hash(seen 0 of 14 days)"]


def test_a_program_without_a_hash_is_as_known_as_its_path() -> None:
    learner = teach(quick(), start(CURL, sha256="aa" * 32))
    assert learner.signals(start(CURL, TODAY)) == ()


def test_a_destination_is_known_for_the_program_that_goes_there_alone() -> None:
    learner = teach(quick(), connection(CURL, "192.0.2.1", 443))
    assert learner.signals(connection(CURL, "192.0.2.1", 443, TODAY)) == ()
    for other in (
        connection(CURL, "192.0.2.2", 443),
        connection(CURL, "192.0.2.1", 22),
        connection(SH, "192.0.2.1", 443),
    ):
        assert names(learner.signals(at(other, TODAY))) == ["new_destination(seen 0 of 14 days)"]


def test_a_destination_goes_by_its_host_name_where_there_is_one() -> None:
    learner = teach(quick(), connection(CURL, "192.0.2.1", 443, destination_host="Mirror.example"))
    known = connection(CURL, "192.0.2.99", 443, TODAY, destination_host="mirror.example")
    assert learner.signals(known) == ()
    (found,) = learner.signals(connection(CURL, "192.0.2.1", 443, TODAY, destination_host="evil.example"))
    assert (found.field, found.value) == ("network.destination_host", "evil.example")


def test_a_connection_that_another_host_opened_has_no_destination() -> None:
    assert teach(quick(), *NORMAL).signals(connection(NGINX, "192.0.2.1", 443, TODAY, initiated=False)) == ()


def test_a_program_that_goes_anywhere_day_by_day_has_no_new_destinations() -> None:
    def everywhere(day: int) -> list[Event]:
        return [connection(CURL, f"198.51.{day}.{last}", 443) for last in range(table_of.CROWD_MOST + 6)]

    learner = quick()
    for day in range(LEARN_DAYS):
        teach(learner, *everywhere(day), days=[day])
    assert learner.signals(connection(CURL, "203.0.113.9", 443, TODAY)) == ()
    assert names(learner.signals(connection(SH, "203.0.113.9", 443, TODAY))) == ["new_destination(seen 0 of 14 days)"]


def test_going_everywhere_on_one_day_does_not_teach_that_a_program_goes_anywhere() -> None:
    learner = teach(quick(), *NORMAL)
    teach(learner, *(connection(CURL, f"198.51.100.{last}", 443) for last in range(200)), days=[LEARN_DAYS])
    found = learner.signals(connection(CURL, "203.0.113.9", 443, (LEARN_DAYS + 1) * DAY + 2))
    assert names(found) == ["rare_destination(seen 1 of 15 days)"]


def test_a_new_listening_port_is_told_and_ports_the_system_chooses_are_one() -> None:
    learner = teach(quick(), listen(NGINX, 443), listen(NGINX, 40_001))
    assert learner.signals(listen(NGINX, 443, TODAY)) == ()
    assert learner.signals(listen(NGINX, 51_234, TODAY)) == ()
    (found,) = learner.signals(listen(NGINX, 4444, TODAY))
    assert (found.name, found.value) == ("new_listening_port(seen 0 of 14 days)", "4444")


@pytest.mark.parametrize(("hour", "told"), [(22, False), (23, False), (0, False), (1, True), (21, True), (12, True)])
def test_an_hour_of_logon_is_known_with_its_neighbours_across_midnight(hour: int, told: bool) -> None:
    learner = teach(quick(), logon("alice", 23 * HOUR))
    assert bool(learner.signals(logon("alice", (LEARN_DAYS + 1) * DAY + hour * HOUR))) is told


def test_hours_of_logon_are_each_users_own() -> None:
    learner = teach(quick(), logon("alice", 9 * HOUR))
    (found,) = learner.signals(logon("bob", TODAY + 9 * HOUR))
    assert (found.name, found.field, found.value) == ("new_logon_hour(seen 0 of 14 days)", "user.name", "bob")


def test_other_events_and_events_about_nobody_say_nothing() -> None:
    learner = teach(quick(), *NORMAL)
    for nothing in (
        event("process_exit", TODAY, "", process=Process(pid=1, exe="/x")),
        event("process_start", TODAY, ""),
        event("process_start", TODAY, "", process=Process(pid=1)),
        event("network_connection", TODAY, "", process=Process(pid=1, exe="/x")),
        event("network_connection", TODAY, "", network=Network(destination_ip="192.0.2.1")),
        event("network_listen", TODAY, ""),
        event("auth_success", TODAY, ""),
    ):
        assert learner.signals(nothing) == ()
        learner.learn(nothing, "ALLOW")


def test_a_process_goes_by_its_name_where_its_path_is_not_known() -> None:
    unnamed = event("process_start", TODAY, "", process=Process(pid=1, name="kworker"), parent=Ancestor(pid=2))
    (found,) = teach(quick(), *NORMAL).signals(unnamed)
    assert (found.field, found.value) == ("process.name", "kworker")


def test_no_points_switch_a_kind_off() -> None:
    learner = teach(quick(points=BaselinePoints(executable=0, parent_child=0, user_executable=7)), *NORMAL)
    assert names(learner.signals(start("/opt/x", TODAY))) == ["new_user_executable(seen 0 of 14 days)"]


def test_switched_off_it_neither_scores_nor_learns() -> None:
    learner = teach(quick(enabled=False), *NORMAL)
    assert learner.signals(start("/opt/x", TODAY)) == ()
    assert (learner.status.phase, learner.status.days, learner.things()) == ("off", 0, [])


def test_by_default_program_starts_alone_never_reach_watch_and_several_signs_with_a_weak_rule_alert() -> None:
    points, weak_rule = BaselinePoints(), 20
    starts = (points.executable, points.executable_hash, points.parent_child, points.user_executable)
    assert sum(new + new // 3 for new in starts) < Thresholds().watch
    signs = (
        points.executable + points.parent_child + points.user_executable + points.destination + points.listening_port
    )
    assert signs < Thresholds().alert <= signs + weak_rule


def test_settings_that_can_not_come_true_are_refused_by_their_key() -> None:
    with pytest.raises(DocumentError, match=r"^p.yml:2: baseline: min_days_known \(3\) is above learn_days \(2\)"):
        policies.load(b"version: 1\nbaseline: {learn_days: 2}\n", "p.yml")


# How it learns, and resists being taught


def test_one_busy_day_teaches_no_more_than_one_event() -> None:
    busy = teach(quick(), *(start("/opt/x", second) for second in range(500)), days=[0])
    calm = teach(quick(), start("/opt/x"), days=[0])
    assert [(thing.subject, thing.days) for thing in busy.things()] == [
        (thing.subject, thing.days) for thing in calm.things()
    ]


def test_what_happens_today_counts_from_tomorrow_on() -> None:
    learner = teach(quick(min_days_known=1), *NORMAL)
    for second in range(0, 20 * HOUR, HOUR):
        assert names(learner.signals(start("/opt/x", TODAY + second))) == ["new_executable(seen 0 of 14 days)"]
        learner.learn(start("/opt/x", TODAY + second), "ALLOW")
    assert learner.signals(start("/opt/x", TODAY + DAY)) == ()


def test_a_repeated_action_needs_its_number_of_distinct_days() -> None:
    learner = teach(quick(min_days_known=5), *NORMAL)
    for day in range(5):
        assert learner.signals(start("/opt/x", TODAY + day * DAY)), day
        teach(learner, *(start("/opt/x", second, story=f"{day}") for second in range(2, 50)), days=[LEARN_DAYS + day])
    assert learner.signals(start("/opt/x", TODAY + 5 * DAY)) == ()


def test_an_observation_is_learnt_after_its_quarantine_and_not_before() -> None:
    learner = baseline(quarantine_seconds=600)
    learner.learn(start("/opt/x", 10), "ALLOW")
    learner.learn(event("heartbeat", 609, ""), "ALLOW")
    assert (learner.things(), learner.status.held) == ([], 3)
    learner.learn(event("heartbeat", 610, ""), "ALLOW")
    assert ({thing.subject for thing in learner.things()}, learner.status.held) == (
        {("/opt/x",), (NGINX, "/opt/x"), ("root", "/opt/x")},
        0,
    )


@pytest.mark.parametrize("action", ["WATCH", "ALERT"])
def test_what_a_story_did_before_it_alerted_is_not_learnt(action: Action) -> None:
    learner = baseline()
    learner.learn(start("/opt/x", 10, story="bad"), "ALLOW")
    learner.learn(start("/opt/y", 20, story="good"), "ALLOW")
    learner.learn(event("file_write", 30, "bad"), action)
    learner.learn(event("heartbeat", 2 * HOUR, ""), "ALLOW")
    learner.learn(event("heartbeat", 3 * HOUR, ""), "ALLOW")
    assert {thing.subject for thing in learner.things()} == {("/opt/y",), (NGINX, "/opt/y"), ("root", "/opt/y")}
    assert learner.dropped == {"tainted": 3}


def test_what_a_story_does_after_it_alerted_is_not_learnt_until_its_taint_is_over() -> None:
    learner = quick(taint_seconds=3 * HOUR)
    learner.learn(event("file_write", 0, "bad"), "ALERT")
    learner.learn(start("/opt/x", HOUR, story="bad"), "ALLOW")
    learner.learn(event("heartbeat", 2 * HOUR, ""), "ALLOW")
    assert (learner.things(), learner.dropped) == ([], {"tainted": 3})
    learner.learn(start("/opt/x", 3 * HOUR, story="bad"), "ALLOW")
    learner.learn(event("heartbeat", 3 * HOUR + 1, ""), "ALLOW")
    assert len(learner.things()) == 3


def test_a_taint_shorter_than_the_quarantine_still_keeps_what_is_held_from_being_learnt() -> None:
    learner = baseline(taint_seconds=0)
    learner.learn(start("/opt/x", 0, story="bad"), "ALLOW")
    learner.learn(event("file_write", 1, "bad"), "ALERT")
    for hour in range(1, 4):
        learner.learn(event("heartbeat", hour * HOUR, ""), "ALLOW")
    assert learner.things() == []


def test_an_event_that_alerts_itself_is_not_learnt_even_without_a_story() -> None:
    learner = quick()
    learner.learn(start("/opt/x", 0), "ALERT")
    learner.learn(start("/opt/y", 1), "ALLOW")
    learner.learn(event("heartbeat", 2, ""), "ALLOW")
    assert [thing.subject for thing in learner.things() if thing.kind == "executable"] == [("/opt/y",)]


def test_what_a_story_taught_is_unlearnt_when_it_alerts_later() -> None:
    learner = teach(quick(), start("/opt/x", story="slow"), days=range(4))
    assert {(thing.kind, thing.days, thing.known) for thing in learner.things()} == {
        ("executable", 4, True),
        ("parent_child", 4, True),
        ("user_executable", 4, True),
    }
    learner.learn(event("file_write", 5 * DAY, "slow"), "ALERT")
    assert (learner.things(), learner.dropped) == ([], {"unlearnt": 12})


def test_unlearning_takes_back_only_the_days_that_the_story_taught() -> None:
    learner = teach(quick(), start("/opt/x", story="good"), days=[0, 1])
    teach(learner, start("/opt/x", story="bad"), days=[2])
    learner.learn(event("file_write", 3 * DAY + 5, "bad"), "ALERT")
    assert {thing.days for thing in learner.things()} == {2}


def test_a_day_that_a_bad_story_taught_may_still_be_taught_by_a_good_one() -> None:
    learner = quick()
    learner.learn(start("/opt/x", 0, story="bad"), "ALLOW")
    learner.learn(event("file_write", 1, "bad"), "ALERT")
    learner.learn(start("/opt/x", 2, story="good"), "ALLOW")
    learner.learn(event("heartbeat", 3, ""), "ALLOW")
    assert {thing.days for thing in learner.things()} == {1}


def test_bad_stories_can_not_keep_good_ones_from_teaching() -> None:
    learner = baseline()
    for number in range(10):
        learner.learn(start("/opt/x", 0, story=f"bad{number}"), "ALLOW")
        learner.learn(event("file_write", 1, f"bad{number}"), "ALERT")
    learner.learn(start("/opt/x", 2, story="good"), "ALLOW")
    learner.learn(event("heartbeat", HOUR + 2, ""), "ALLOW")
    assert [thing.days for thing in learner.things()] == [1, 1, 1]


# Clocks


def heartbeats(learner: Baseline, first: float, count: int, step: float = 60) -> None:
    for number in range(count):
        learner.learn(event("heartbeat", first + number * step, ""), "ALLOW")


def test_a_jump_of_the_clock_by_years_adds_no_day_and_lets_nothing_out_of_quarantine() -> None:
    learner = baseline()
    learner.learn(start("/opt/x", 10), "ALLOW")
    learner.learn(event("heartbeat", 3650 * DAY, ""), "ALLOW")
    assert (learner.status.days, learner.status.held, learner.things()) == (0, 3, [])


def test_a_jump_by_years_ages_nothing_out() -> None:
    learner = teach(quick(), *NORMAL)
    before = learner.things()
    heartbeats(learner, 3650 * DAY, 1000)
    assert learner.things() == before
    assert learner.signals(at(NORMAL[1], 3650 * DAY + 70_000)) == ()


def test_a_jump_there_and_back_leaves_the_count_of_days_as_it_was() -> None:
    learner = teach(quick(), *NORMAL, days=range(3))
    for jump in (3650 * DAY, -3650 * DAY, 400 * DAY):
        heartbeats(learner, 3 * DAY + HOUR + jump, 11)
        heartbeats(learner, 3 * DAY + HOUR, 5)
    assert learner.status.days == 3
    heartbeats(learner, 4 * DAY, 2)
    assert learner.status.days == 4


@pytest.mark.parametrize("jump", [400 * DAY, -400 * DAY, -2 * DAY, 8 * DAY])
def test_a_clock_that_stays_where_it_jumped_to_is_believed_and_days_go_on(jump: int) -> None:
    learner = teach(quick(), *NORMAL, days=range(3))
    now = 3 * DAY + 10 * HOUR + jump
    heartbeats(learner, now, 5 * 60)
    assert learner.status.days == 3
    heartbeats(learner, now + DAY, 2)
    assert learner.status.days == 4


def test_two_clocks_in_turn_do_not_fill_the_days() -> None:
    learner = teach(quick(), *NORMAL, days=range(3))
    for second in range(500):
        learner.learn(event("heartbeat", 3 * DAY + 10 + second, ""), "ALLOW")
        learner.learn(event("heartbeat", 3 * DAY + 10 + second - 30 * DAY, ""), "ALLOW")
        learner.learn(event("heartbeat", 3 * DAY + 10 + second + 30 * DAY, ""), "ALLOW")
    assert learner.status.days == 3


def test_one_event_moves_the_count_by_one_day_however_long_the_host_was_off() -> None:
    learner = teach(quick(), *NORMAL, days=[0])
    heartbeats(learner, 7 * DAY, 1)
    assert learner.status.days == 2


def test_a_host_that_was_off_for_months_goes_on_learning_after_an_hour() -> None:
    learner = teach(quick(), *NORMAL, days=range(3))
    heartbeats(learner, 200 * DAY, 61)
    assert learner.status.days == 3
    heartbeats(learner, 201 * DAY, 1)
    assert learner.status.days == 4


def test_events_that_come_late_across_midnight_count_no_day_twice() -> None:
    learner = quick()
    for second in range(100):
        learner.learn(event("heartbeat", DAY + second, ""), "ALLOW")
        learner.learn(event("heartbeat", DAY - second, ""), "ALLOW")
    assert learner.status.days == 0


@pytest.mark.parametrize("ts_ns", [0, -1, 1 << 63, 1 << 80])
def test_a_time_that_can_not_be_moves_nothing(ts_ns: int) -> None:
    learner = teach(quick(), *NORMAL, days=range(3))
    learner.learn(msgspec.structs.replace(start("/opt/x"), ts_ns=ts_ns), "ALLOW")
    assert learner.status.days == 3
    baseline().restore(learner.export())


@given(st.lists(st.integers(-(1 << 62), 1 << 63), max_size=60))
def test_no_event_moves_the_count_of_days_by_more_than_one(times: list[int]) -> None:
    learner = quick()
    for ts_ns in times:
        before = learner.status.days
        learner.learn(msgspec.structs.replace(event("heartbeat", 0, ""), ts_ns=ts_ns), "ALLOW")
        assert before <= learner.status.days <= before + 1


# Floods


@pytest.mark.parametrize(
    ("one", "other", "steady"),
    [
        ("/tmp/xyz123/cc1plus", "/tmp/qqq987/cc1plus", "/tmp/*/cc1plus"),
        ("/tmp/tmp.a8Bq0Zkd1w/run", "/tmp/tmp.QmLpqRstuV/run", "/tmp/*/run"),
        ("/var/tmp/tmpabcdefgh/run", "/var/tmp/tmp_x3k9q_z/run", "/var/tmp/*/run"),
        ("/tmp/ccAbCdEf.s", "/tmp/ccx9CdEf.s", "/tmp/*"),
        ("/home/a/tmp/tmpab3defgh/run", "/home/a/tmp/tmpzz9zzzzz/run", "/home/a/tmp/*/run"),
        ("/tmp/go-build3141592653/b001/exe/main", "/tmp/go-build27182818/b042/exe/main", "/tmp/*/b*/exe/main"),
        ("/b/deadbeefcafe/run", "/b/0123456789ab/run", "/b/*/run"),
        ("/b/1b4e28ba-2fa1-11d2-883f-0016d3cca427/run", "/b/6ba7b810-9dad-11d1-80b4-00c04fd430c8/run", "/b/*/run"),
        ("/b/job-12345678/run", "/b/job-9f86d081884c/run", "/b/job-*/run"),
        ("/opt/app-1.22.0/bin/app", "/opt/app-1.9/bin/app", "/opt/app-*/bin/app"),
        ("/opt/node-v18.17.0/node", "/opt/node-v20.1.0/node", "/opt/node-*/node"),
        ("/usr/bin/python3.11", "/usr/bin/python3.12", "/usr/bin/python3.*"),
        ("/snap/firefox/3600/firefox", "/snap/firefox/17/firefox", "/snap/firefox/*/firefox"),
        ("/opt/worker-4711", "/opt/worker-7", "/opt/worker-*"),
        ("/proc/1234/exe", "/proc/9/exe", "/proc/*/exe"),
        (f"/var/lib/docker/overlay2/{'a1b2' * 16}/merged/x", f"/var/lib/docker/overlay2/{'0f' * 32}/merged/x", None),
        ("C:\\Users\\B\\Local\\Temp\\is-A7B.tmp\\Setup.exe", "c:\\users\\b\\local\\TEMP\\nsx91.tmp\\SETUP.EXE", None),
        ("D:\\{0A1B2C3D-1111-2222-3333-444455556666}\\a", "D:\\{FFFFFFFF-1111-2222-3333-444455556666}\\A", None),
    ],
)  # fmt: skip
def test_names_that_differ_by_chance_alone_are_one(one: str, other: str, steady: str | None) -> None:
    assert steady_path(one) == steady_path(other)
    assert steady is None or steady_path(one) == steady


@pytest.mark.parametrize(
    "path",
    [
        "/usr/bin/gcc", "/usr/lib/x86_64-linux-gnu/perl", "/usr/bin/7z", "/usr/bin/md5sum", "/usr/bin/python3",
        "/usr/bin/x11vnc", "/usr/sbin/tmpreaper", "/usr/bin/systemd-tmpfiles", "/tmp/evil", "/dev/shm/miner", "/bin/[",
        "c:\\windows\\system32\\rundll32.exe", "/usr/lib/systemd/systemd", "/opt/facade/run", "/tmp", "", "*",
    ],
)  # fmt: skip
def test_names_that_mean_something_stay(path: str) -> None:
    assert steady_path(path) == path


@given(st.text(max_size=600) | st.from_regex(r"(/[a-zA-Z0-9._{}-]{1,30}){1,20}", fullmatch=True))
def test_a_steady_name_is_bounded_and_can_be_stored(path: str) -> None:
    assert len(steady_path(path)) <= NAME_MOST
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(steady_path(path)), type=str) == steady_path(path)


def test_long_names_that_begin_alike_stay_apart() -> None:
    assert steady_path("/opt/" + "x" * 4000) != steady_path("/opt/" + "x" * 3999)


def test_a_build_with_its_random_folders_leaves_a_handful_of_entries() -> None:
    learner = quick()
    for number in range(1000, 3000):
        learner.learn(start(f"/tmp/build-{number:08x}/conftest{number}", number, parent=f"/tmp/cc{number}/as"), "ALLOW")
    assert len(learner.things()) <= 4
    assert learner.dropped == {}


def word(number: int) -> str:
    """A name with nothing random in it, another one for each number."""
    return "".join("ghijklmnop"[int(digit)] for digit in str(number))


def test_a_flood_of_names_stays_within_bounds_is_counted_and_spares_what_is_known() -> None:
    learner = teach(quick(entries_most=64), *NORMAL)
    for number in range(1000):
        learner.learn(start(f"/opt/{word(number)}", TODAY + number), "ALLOW")
    assert all(count <= 64 for count in learner.status.remembered.values())
    assert learner.dropped["evicted_on_trial"] == 3 * 999 + 3 * len(NORMAL) - 3 * 64
    assert [learner.signals(at(one, TODAY + DAY)) for one in NORMAL] == [(), (), ()]


def test_known_things_make_room_only_for_newly_known_ones() -> None:
    learner = quick(entries_most=64, min_days_known=1, learn_days=1)
    for number in range(100):
        learner.learn(start(f"/opt/{word(number)}", number * 60), "ALLOW")
    heartbeats(learner, DAY, 2)
    assert set(learner.status.known.values()) == {0, 56}
    assert learner.dropped == {"evicted_known": 3 * (100 - 56)}


def test_the_quarantine_is_bounded_as_a_whole_and_for_each_story() -> None:
    learner = baseline()
    for number in range(quarantine_of.STORY_MOST):
        learner.learn(start(f"/opt/{word(number)}", 1, story="one"), "ALLOW")
    assert (learner.status.held, learner.dropped) == (1024, {"story_full": 3 * 1024 - 1024})
    for number in range(quarantine_of.HELD_MOST // 3):
        learner.learn(start(f"/opt/{word(number)}", 1, story=f"{number}"), "ALLOW")
    assert learner.status.held == quarantine_of.HELD_MOST
    assert learner.dropped["quarantine_full"] > 0


def test_the_memory_of_tainted_stories_and_of_lessons_is_bounded_and_counted() -> None:
    learner = quick()
    for number in range(quarantine_of.TAINTED_MOST + 5):
        learner.learn(event("file_write", 1, f"bad{number}"), "ALERT")
    assert (learner.status.tainted, learner.dropped) == (quarantine_of.TAINTED_MOST, {"taint_forgotten": 5})
    for number in range(lessons_of.LESSONS_MOST // 3 + 5):
        learner.learn(start(f"/opt/{word(number)}", 2, story=f"{number}"), "ALLOW")
    heartbeats(learner, 3, 1)
    assert learner.dropped["lesson_forgotten"] == 15


def test_hostile_names_pass_through_and_the_event_that_carries_them_stays_an_event() -> None:
    hostile = "/tmp/\x1b[2J\nALERT \u202e\uef80;" + "a" * 100_000
    learner = teach(quick(), *NORMAL)
    found = learner.signals(start(hostile, TODAY, parent=hostile, user=hostile))
    assert len(found[0].value) <= 241
    told = msgspec.structs.replace(event("process_start", 0, ""), signals=found)
    assert decode(encode(told)) == told
    learner.learn(start(hostile, TODAY, parent=hostile, user=hostile), "ALLOW")
    again = quick()
    again.restore(learner.export())
    assert again.export() == learner.export()


# Order, and restarts

programs = st.sampled_from([NGINX, SH, CURL, "/opt/x", "/tmp/a1/y"])
actions = st.sampled_from([*["ALLOW"] * 8, "WATCH", "ALERT"])
seconds = st.integers(0, DAY - 1)
users, stories = st.sampled_from(["root", "a"]), st.sampled_from(["", "s", "t"])
places = st.sampled_from(["192.0.2.1", "192.0.2.2"])
sights = st.one_of(
    st.builds(start, programs, seconds, programs, users, stories),
    st.builds(connection, programs, places, st.sampled_from([22, 443, 50_000]), seconds),
    st.builds(listen, programs, st.integers(1, 65_535), seconds),
    st.builds(logon, users, seconds),
)
histories = st.lists(st.tuples(sights, actions, st.integers(0, 5)), max_size=40)


def run(learner: Baseline, history: Iterable[tuple[Event, Action, int]]) -> Baseline:
    for one, action, day in sorted(history, key=lambda entry: entry[2]):
        learner.learn(at(one, one.ts_ns / SECOND - FIRST + day * DAY), action)
    return learner


@given(st.lists(sights, max_size=12).flatmap(lambda day: st.tuples(st.just(day), st.permutations(day))))
def test_the_order_of_a_day_does_not_matter(orders: tuple[list[Event], list[Event]]) -> None:
    one, other = (
        teach(
            quick(learn_days=2, min_days_known=2),
            *(at(sight, second) for second, sight in enumerate(order)),
            days=[0, 1],
        )
        for order in orders
    )
    assert one.things() == other.things()
    for sight in orders[0]:
        assert one.signals(at(sight, 2 * DAY + 2)) == other.signals(at(sight, 2 * DAY + 2))


@given(histories)
@settings(max_examples=50)
def test_the_bounds_hold_whatever_happens(history: list[tuple[Event, Action, int]]) -> None:
    learner = run(baseline(entries_most=64, quarantine_seconds=60), history)
    status = learner.status
    assert all(
        known <= count <= 64 for known, count in zip(status.known.values(), status.remembered.values(), strict=True)
    )
    assert status.days <= 5
    assert all(1 <= thing.days <= 6 for thing in learner.things())
    assert sum(status.remembered.values()) == len(learner.things())


@given(histories, histories)
@settings(max_examples=50)
def test_a_restart_changes_nothing(
    before: list[tuple[Event, Action, int]], after: list[tuple[Event, Action, int]]
) -> None:
    went_on = run(baseline(quarantine_seconds=600), before)
    restarted = baseline(quarantine_seconds=600)
    restarted.restore(went_on.export())
    assert restarted.export() == went_on.export()
    assert run(restarted, after).export() == run(went_on, after).export()
    assert restarted.status == went_on.status


def test_a_restart_does_not_clean_a_tainted_story() -> None:
    learner = quick()
    learner.learn(event("file_write", 0, "bad"), "ALERT")
    again = quick()
    again.restore(learner.export())
    again.learn(start("/opt/x", 1, story="bad"), "ALLOW")
    heartbeats(again, 2, 1)
    assert again.things() == []


def test_a_stored_baseline_that_is_larger_than_the_policy_now_allows_is_cut_and_counted() -> None:
    large = teach(quick(entries_most=1000), *(start(f"/opt/{word(number)}", number) for number in range(200)), days=[0])
    small = quick(entries_most=64)
    small.restore(large.export())
    assert small.status.remembered["executable"] == 64
    assert small.dropped == {"evicted_on_trial": 3 * (200 - 64)}


def test_what_people_are_shown_is_plain_and_complete() -> None:
    learner = teach(quick(), *NORMAL)
    plain = json.loads(msgspec.json.encode({"status": learner.status, "things": learner.things()}))
    assert {"kind": "executable", "subject": [SH], "days": 14, "last_seen_days_ago": 1, "known": True} in plain[
        "things"
    ]
    assert plain["status"]["summary"] == "scoring after 14 days"


@pytest.fixture(scope="module")
def stored() -> bytes:
    """A baseline with something of everything in it."""
    learner = teach(baseline(), *NORMAL, start("/opt/x", 5, story="s"), days=range(4))
    learner.learn(event("file_write", 4 * DAY + 5, "bad"), "ALERT")
    learner.learn(start("/opt/y", 4 * DAY + 6, story="t"), "ALLOW")
    return learner.export()


def refusal(stored: bytes) -> str:
    """What a baseline says of a state it refuses; it must stay as it was."""
    learner = teach(quick(), *NORMAL, days=[0])
    before = learner.export()
    with pytest.raises(BaselineDamaged) as refused:
        learner.restore(stored)
    assert learner.export() == before
    return str(refused.value)


def test_a_state_cut_short_anywhere_is_refused(stored: bytes) -> None:
    for length in itertools.chain(range(60), range(60, len(stored), 97), [len(stored) - 1]):
        assert refusal(stored[:length]).endswith("remove it, and the baseline begins to learn anew")


def test_a_state_with_any_byte_changed_is_refused(stored: bytes) -> None:
    for place in itertools.chain(range(60), range(60, len(stored), 97)):
        refusal(stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])


@given(st.binary(max_size=200))
@settings(max_examples=30)
def test_garbage_is_refused(garbage: bytes) -> None:
    assert "remove it" in refusal(garbage)


def test_a_state_of_another_version_is_refused_by_its_version(stored: bytes) -> None:
    assert "version '2', this Shield reads version 1" in refusal(stored.replace(b" 1\n", b" 2\n", 1))


@given(st.binary(max_size=200))
@settings(max_examples=30)
def test_garbage_with_a_fitting_digest_is_refused(garbage: bytes) -> None:
    refusal(stored_state._HEAD + stored_state._digest(garbage) + garbage)


@pytest.mark.parametrize(
    "change",
    [
        {"tables": {"executable": [[["/x"], [99, 1]]]}},
        {"tables": {"executable": [[["/x"], [0, 1]]]}},
        {"tables": {"executable": [[["/x"], [1, 99]]]}},
        {"tables": {"executable": [[[], [1, 1]]]}},
        {"tables": {"unheard_of": []}},
        {"held": [[0, 1, "s", "executable", []]]},
        {"clock": {"day": -1}},
        {"clock": {"elapsed_ns": "late"}},
        {"dropped": {"tainted": -1}},
    ],
)
def test_a_state_that_can_not_be_is_refused(stored: bytes, change: dict[str, Any]) -> None:
    state: dict[str, Any] = msgspec.msgpack.decode(stored[len(stored_state._HEAD) + 32 :])
    body = msgspec.msgpack.encode(state | change)
    refusal(stored_state._HEAD + stored_state._digest(body) + body)


def test_new_settings_hold_for_what_is_remembered() -> None:
    known = teach(quick(), *NORMAL)
    before = known.things()
    known.adjust(BaselineSettings(points=BaselinePoints(executable=77)))
    assert known.things() == before
    (new,) = known.signals(start("/opt/never", TODAY))
    assert new.points == 77
    known.adjust(BaselineSettings(enabled=False))
    assert known.signals(start("/opt/never", TODAY)) == ()
    assert known.status.summary == "off"
    known.adjust(BaselineSettings())
    assert known.things() == before
