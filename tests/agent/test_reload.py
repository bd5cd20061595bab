"""New rules and policies come into force while events are judged; a bad set never takes the good one out of force."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shield.agent import rulebook
from shield.agent.companion import Change, Told
from shield.agent.detection import Detection
from shield.agent.feed import Feed
from shield.agent.feeds import Feeds
from shield.agent.identity import Identity
from shield.event import Data, Event, Process, Tamper
from shield.policy.load import built_in, load

RULE = """title: {title}
id: {id}
name: {title}
logsource: {{category: process_creation}}
detection: {{selection: {{Image: /bin/{title}}}, condition: selection}}
level: low
"""
COUNTING = """title: many
id: 99999999-1111-4111-8111-111111111111
correlation: {type: event_count, rules: [a], group-by: [User], timespan: 10m, condition: {gte: 3}}
level: high
"""
SECOND = 1_000_000_000


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def no_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIELD_CACHE", "")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    write(folder, "a", 1)
    write(folder, "b", 2)
    return folder


def write(folder: Path, title: str, number: int) -> Path:
    path = folder / f"{title}.yml"
    path.write_text(RULE.format(title=title, id=f"{str(number) * 8}-1111-4111-8111-111111111111"))
    return path


class Running:
    """What judges events, with rules and a policy that change under it."""

    def __init__(self, rules: Path, policy_file: Path | None = None) -> None:
        policy = built_in() if policy_file is None else load(policy_file.read_bytes(), "policy.yml")
        book = rulebook.load([str(rules)], policy.policy.placeholders)
        self.clock = Clock()
        self.feed = Feed("process", [], 600 * SECOND)
        self.detection = Detection(Identity("h", "linux", "agent", "scope"), policy, book, Feeds([self.feed]))
        self.detection.stay_current([str(rules)], policy_file, book)
        assert self.detection._reload
        self.reload = self.detection._reload
        self.reload._clock = self.clock
        self.reload._look_at = self.clock.now

    def event(self, exe: str, ts: int = 1, story: str = "story") -> Event:
        data = Data(process=Process(pid=7, exe=exe, cmdline=exe))
        draft = Event(
            ts, "h", "process_start", "ALLOW", 0, "", data, "", "", story, ts_ns=ts * SECOND, event_id=str(ts)
        )
        return self.detection.pipeline.finish(draft)

    def found(self, exe: str) -> list[str]:
        return [signal.name for signal in self.event(exe, story="").signals]

    def told(self) -> Sequence[Told]:
        """What comes of files that have changed."""
        for _ in range(2):
            self.clock.now += 30
            assert self.reload.care() == ()
        return self.outcome()

    def asked(self) -> Sequence[Told]:
        """What comes of SIGHUP."""
        self.detection.renew()
        return self.reload.care() or self.outcome()

    def outcome(self) -> Sequence[Told]:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if told := self.reload.care():
                return told
            time.sleep(0.01)
        raise AssertionError("nothing came")


@pytest.fixture
def running(rules: Path) -> Iterator[Running]:
    running = Running(rules)
    yield running
    running.reload.close()


def test_a_new_rule_is_in_force_and_a_deleted_one_is_not(running: Running, rules: Path) -> None:
    (rules / "a.yml").unlink()
    write(rules, "c", 3)
    write(rules, "d", 4)
    assert running.told() == [Change("rules: 2 before, 3 now")]
    assert [running.found(f"/bin/{name}") for name in "abcd"] == [[], ["b"], ["c"], ["d"]]
    running.clock.now += 60
    assert running.reload.care() == ()


def test_a_file_that_still_changes_is_waited_for(running: Running, rules: Path) -> None:
    for number in range(3, 7):
        write(rules, "c", number)
        running.clock.now += 30
        assert running.reload.care() == ()
        assert running.reload._build is None
    running.clock.now += 30
    assert running.reload.care() == ()
    assert running.outcome() == [Change("rules: 2 before, 3 now")]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("title: [\n", "a.yml:"),
        ("title: a\nlogsource: {category: x}\ndetection: {s: {a: b}, condition: t}\n", "a.yml:3"),
    ],
)
def test_a_set_in_which_a_used_file_fails_is_refused_until_it_is_mended(
    running: Running, rules: Path, content: str, place: str
) -> None:
    good = (rules / "a.yml").read_text()
    (rules / "a.yml").write_text(content)
    write(rules, "c", 3)
    (told,) = running.told()
    assert isinstance(told, Tamper)
    assert told.what == "new rules can't be used; the old rules and policy stay in force"
    assert f"{rules}/{place}" in told.detail
    assert ";" in told.detail
    assert [running.found(f"/bin/{name}") for name in "abc"] == [["a"], ["b"], []]
    (rules / "a.yml").write_text(good)
    assert running.asked() == [Change("rules: 2 before, 3 now")]
    assert running.found("/bin/c") == ["c"]


def test_a_new_file_that_is_wrong_is_left_out_and_told_and_the_others_are_used(running: Running, rules: Path) -> None:
    (rules / "bad.yml").write_text("title: [\n")
    write(rules, "c", 3)
    change, told = running.told()
    assert change == Change("rules: 2 before, 3 now")
    assert isinstance(told, Tamper)
    assert f"{rules}/bad.yml" in told.detail
    write(rules, "d", 4)
    assert running.told() == [Change("rules: 3 before, 4 now")]


def test_rules_that_are_all_gone_leave_the_old_ones_in_force(running: Running, rules: Path) -> None:
    rules.rename(rules.with_name("away"))
    (told,) = running.told()
    assert isinstance(told, Tamper)
    assert "there is no such file or folder" in told.detail
    assert running.found("/bin/a") == ["a"]
    running.clock.now += 60
    assert running.reload.care() == ()
    rules.with_name("away").rename(rules)
    assert running.told() == [Change("rules: 2 before, 2 now")]


def test_a_compiling_process_that_is_killed_leaves_the_old_rules_in_force(running: Running, rules: Path) -> None:
    write(rules, "c", 3)
    running.detection.renew()
    assert running.reload.care() == ()
    assert running.reload._build
    os.kill(running.reload._build._process.pid, 9)
    (told,) = running.outcome()
    assert isinstance(told, Tamper)
    assert "was ended by signal 9" in told.detail
    assert running.found("/bin/c") == []
    assert running.asked() == [Change("rules: 2 before, 3 now")]


def test_an_agent_that_ends_takes_the_compiling_process_with_it(running: Running) -> None:
    running.detection.renew()
    running.reload.care()
    assert running.reload._build
    process = running.reload._build._process
    running.reload.close()
    assert process.poll() is not None


def test_stories_go_on_with_the_new_rules(running: Running, rules: Path) -> None:
    running.event("/bin/a", 1)
    write(rules, "c", 3)
    running.told()
    after = running.event("/bin/c", 2)
    assert [signal.name for signal in after.signals] == ["c"]
    assert [signal.name for signal in after.story] == ["a"]


def test_what_correlations_have_counted_still_counts(rules: Path) -> None:
    (rules / "many.yml").write_text(COUNTING.replace("group-by: [User], ", ""))
    running = Running(rules)
    for ts in (1, 2):
        assert running.event("/bin/a", ts).signals == ()
    write(rules, "c", 3)
    assert running.told() == [Change("rules: 3 before, 4 now")]
    assert [signal.name for signal in running.event("/bin/a", 3).signals] == ["many"]


def test_a_correlation_whose_rule_is_deleted_keeps_the_old_set(rules: Path) -> None:
    (rules / "many.yml").write_text(COUNTING.replace("group-by: [User], ", ""))
    running = Running(rules)
    (rules / "a.yml").unlink()
    (told,) = running.told()
    assert isinstance(told, Tamper)
    assert "there is no rule 'a'" in told.detail


def test_a_new_policy_is_in_force_after_it_was_asked_for(tmp_path: Path, rules: Path) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text("version: 1\n")
    running = Running(rules, policy)
    before = running.event("/bin/a")
    policy.write_text("version: 2\nweights: {a: 77}\nbaseline: {learn_days: 3}\nstory: {window_seconds: 60}\n")
    running.clock.now += 60
    assert running.reload.care() == ()
    rules_now, policy_now = running.asked()
    assert rules_now == Change("rules: 2 before, 2 now")
    assert isinstance(policy_now, Change)
    after = running.event("/bin/a")
    assert (before.score, after.score) == (15, 77)
    assert policy_now.text == f"policy: {before.policy_version} before, {after.policy_version} now"
    assert after.policy_version.startswith("2+sha256:")
    assert running.detection.baseline.status.summary == "learning 0 of 3 days"
    assert running.feed._losses.window_ns == 60 * SECOND


@pytest.mark.parametrize("content", ["version: none\n", "versoin: 2\n", None])
def test_a_bad_policy_leaves_the_old_one_in_force(tmp_path: Path, rules: Path, content: str | None) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text("version: 1\n")
    running = Running(rules, policy)
    label = running.event("/bin/a").policy_version
    policy.write_text(content) if content else policy.unlink()
    (told,) = running.asked()
    assert isinstance(told, Tamper)
    assert told.what == "a new policy can't be used; the old policy and rules stay in force"
    assert str(policy) in told.detail
    assert running.event("/bin/a").policy_version == label


def test_alerts_that_are_open_stay_open(tmp_path: Path, rules: Path) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text("version: 1\nweights: {a: 90, b: 90}\n")
    running = Running(rules, policy)
    opened = running.event("/bin/a", 1)
    running.asked()
    update = running.event("/bin/b", 2)
    assert (opened.alert_id, update.alert_id) == (opened.event_id, opened.event_id)


def test_what_was_compiled_is_in_the_cache_for_the_next_start(
    tmp_path: Path, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIELD_CACHE", str(tmp_path / "cache"))
    running = Running(rules)
    assert running.asked() == [Change("rules: 2 before, 2 now")]
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".rules"]
