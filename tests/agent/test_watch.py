"""A whole watch over a source that does what a test tells it to, writing to a real file."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from shield.agent.configuration import YaraSettings
from shield.agent.detection import Detection
from shield.agent.feed import Feed
from shield.agent.feeds import Feeds
from shield.agent.identity import Identity
from shield.agent.indicator_renewal import RenewedIndicators
from shield.agent.parts import Parts
from shield.agent.rulebook import Rulebook
from shield.agent.watch import Summary, Watch, id_bits, new_id
from shield.agent.yara import YaraScanner
from shield.collector.source import Count, Kind
from shield.event import Process, User
from shield.exporter.jsonl import JsonlWriter
from shield.normalizer.lineage import Lineage
from shield.normalizer.live import LiveNormalizer
from shield.normalizer.origin import Origin
from shield.policy.load import built_in
from shield.record import ProcessExec, ProcessExit, ProcessFork, Record
from shield.scorer.baseline import Baseline, Status
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.parse import parse, parse_all
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.ruleset import Ruleset

RULE = b"""
title: Anything from /tmp
id: 11111111-1111-4111-8111-111111111111
logsource: {category: process_creation}
detection: {selection: {Image|startswith: /tmp/}, condition: selection}
level: high
"""
SECOND = 1_000_000_000
BOOK = Rulebook(Ruleset(tuple(parse(RULE, "rule.yml"))))


class ScriptedSource:
    """Gives one batch a read; the losses a batch comes with are counted when it is read."""

    name = "scripted"
    provides: frozenset[Kind] = frozenset(("process",))
    interval: float | None = 0.001
    blind_spots: tuple[str, ...] = ("Everything that isn't in the script.",)

    def __init__(self, *batches: list[Record], lost: dict[int, int] | None = None, at_stop: list[Record] | None = None):
        self.remedies = {"overflow": "Read faster."}
        self._batches = list(batches)
        self._lost = lost or {}
        self._at_stop = at_stop or []
        self._reads = self._read = self._dropped = 0
        self.calls: list[str] = []

    def open(self) -> None:
        self.calls.append("open")

    def fileno(self) -> int | None:
        return None

    def read(self) -> list[Record]:
        self._dropped += self._lost.get(self._reads, 0)
        self._reads += 1
        batch = self._batches.pop(0) if self._batches else []
        self._read += len(batch)
        return batch

    def count(self) -> Count:
        dropped = {"overflow": self._dropped} if self._dropped else {}
        pending = sum(len(batch) for batch in self._batches)
        return Count(self._read + self._dropped + pending, {}, dropped, pending)

    def stop(self) -> None:
        self.calls.append("stop")
        if self._at_stop:
            self._batches.append(self._at_stop)
            self._at_stop = []

    def close(self) -> None:
        self.calls.append("close")

    @property
    def done(self) -> bool:
        return not self._batches


def process(pid: int, exe: str, ts_ns: int = SECOND) -> list[Record]:
    started = Process(pid=pid, ppid=1, exe=exe, args=(exe,), cmdline=exe, name=exe, start_ns=ts_ns)
    return [
        ProcessFork(ts_ns, pid, 1, pid),
        ProcessExec(ts_ns, started, User(id=0, name="root"), pid),
        ProcessExit(ts_ns + 5, pid, 1, pid, 0, 5),
    ]


def watched(
    tmp_path: Path,
    source: ScriptedSource,
    stopping: Callable[[], bool] | None = None,
    indicators: RenewedIndicators | None = None,
    scanner: YaraScanner | None = None,
    state: Path | None = None,
    book: Rulebook = BOOK,
) -> tuple[Summary, list[Any]]:
    identity = Identity("web-1", "linux", "agent-1", "scope")
    feeds = Feeds([Feed("process", [source], 600 * SECOND)])
    feeds.open()
    output = tmp_path / "events.jsonl"
    detection = Detection(identity, built_in(), book, feeds, indicators, scanner)
    if state is not None:
        detection.remember(state)
    watch = Watch(
        Parts(
            identity=identity,
            feeds=feeds,
            normalizer=LiveNormalizer(Origin("web-1", "linux", new_id), Lineage("scope"), id_bits),
            pipeline=detection.pipeline,
            writer=JsonlWriter(output, fsync="never"),
            heartbeat_s=60,
            baseline=detection.baseline,
            scanner=detection.scanner,
            companions=detection.companions,
        )
    )
    summary = watch.run(stopping or (lambda: source.done))
    return summary, [json.loads(line) for line in output.read_text().splitlines()]


def told(events: list[Any], category: str) -> list[Any]:
    return [event["data"][category] for event in events if event["category"] == category]


def test_records_become_numbered_events_between_two_heartbeats(tmp_path: Path) -> None:
    summary, events = watched(tmp_path, ScriptedSource(process(10, "/bin/a"), process(11, "/tmp/b")))
    assert [event["category"] for event in events] == ["heartbeat", *["process_start", "process_exit"] * 2, "heartbeat"]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event["action"] for event in events] == ["ALLOW", "ALLOW", "ALLOW", "ALERT", "ALLOW", "ALLOW"]
    assert {event["policy_version"] for event in events} == {built_in().label}
    assert summary.tally.actions == {"ALLOW": 5, "ALERT": 1}


def test_every_ledger_balances_at_the_end(tmp_path: Path) -> None:
    summary, events = watched(tmp_path, ScriptedSource(process(10, "/bin/a"), process(11, "/bin/b"), lost={1: 7}))
    source, _, output = summary.ledgers
    assert all(ledger.balanced for ledger in summary.ledgers)
    assert (source.seen, source.kept, source.dropped) == (13, 4, {"overflow": 7})
    assert source.folded == {"fork_into_lineage": 2}
    assert output.kept == len(events)
    assert events[-1]["data"]["health"]["ledgers"][0]["seen"] == 13


def test_a_loss_is_told_once_with_its_remedy(tmp_path: Path) -> None:
    _, events = watched(tmp_path, ScriptedSource(process(10, "/bin/a"), process(11, "/bin/b"), lost={0: 3, 1: 4}))
    losses = [event for event in events if event["category"] == "loss"]
    assert sum(event["data"]["loss"]["dropped"]["overflow"] for event in losses) == 7
    assert all(event["data"]["loss"]["remedy"] == "Read faster." for event in losses)
    assert all((event["action"], event["rationale"]) == ("WATCH", "telemetry_loss") for event in losses)


def test_an_alert_after_a_loss_says_that_its_evidence_has_a_gap(tmp_path: Path) -> None:
    source = ScriptedSource(process(10, "/tmp/a"), process(11, "/tmp/b"), lost={1: 4})
    _, events = watched(tmp_path, source)
    before, after = [event for event in events if event["action"] == "ALERT"]
    # The parent is not known here, so the first alert has a gap too; only the second one is about the loss.
    assert not any("has lost" in gap for gap in before["gaps"])
    assert after["gaps"][-1] == "scripted has lost 4 records, the last within 600 s"
    assert not after["evidence_complete"]


def test_what_was_captured_before_the_stop_is_still_written(tmp_path: Path) -> None:
    source = ScriptedSource(at_stop=process(12, "/tmp/late"))
    _, events = watched(tmp_path, source, stopping=lambda: True)
    assert [event["data"]["process"]["exe"] for event in events if event["action"] == "ALERT"] == ["/tmp/late"]
    assert source.calls == ["open", "stop", "close"]


def test_a_file_that_is_taken_away_is_told_as_tampering(tmp_path: Path) -> None:
    output = tmp_path / "events.jsonl"
    turns = iter(range(5000))

    def stopping() -> bool:
        turn = next(turns)
        if turn == 10:
            output.rename(tmp_path / "taken")
        return turn > 2500

    _, events = watched(tmp_path, ScriptedSource(), stopping)
    (tamper,) = [event for event in events if event["category"] == "tamper"]
    assert tamper["action"] == "ALERT"
    assert "removed or replaced 1 times" in tamper["data"]["tamper"]["detail"]


def test_a_polled_source_is_asked_at_its_interval_and_once_more_at_the_end(tmp_path: Path) -> None:
    reads: list[float] = []

    class Polled(ScriptedSource):
        interval: float | None = 0.6

        def read(self) -> list[Record]:
            reads.append(time.monotonic())
            return super().read() if len(reads) > 1 else []

        def count(self) -> Count:
            return msgspec.structs.replace(super().count(), pending=0)

    began = time.monotonic()
    _, events = watched(tmp_path, Polled(process(10, "/tmp/a")), lambda: time.monotonic() - began > 0.8)
    assert reads[0] - began > 0.59
    assert [event["data"]["process"]["exe"] for event in events if event["action"] == "ALERT"] == ["/tmp/a"]


def test_what_a_polled_source_has_ready_is_read_without_waiting(tmp_path: Path) -> None:
    class Patient(ScriptedSource):
        interval: float | None = 1e9

    _, events = watched(tmp_path, Patient(process(10, "/tmp/a"), process(11, "/tmp/b")))
    assert [event["action"] for event in events].count("ALERT") == 2


def test_a_heartbeat_says_how_far_the_baseline_is(tmp_path: Path) -> None:
    _, events = watched(tmp_path, ScriptedSource(process(10, "/bin/a")))
    assert events[-1]["data"]["health"]["baseline"] == "learning 0 of 14 days"
    assert events[-1]["data"]["health"]["rules"] == 1


def test_what_was_seen_is_known_to_the_next_run(tmp_path: Path) -> None:
    state = tmp_path / "state"

    def stored() -> Status:
        baseline = Baseline(built_in().policy.baseline)
        baseline.restore((state / "baseline").read_bytes())
        return baseline.status

    watched(tmp_path, ScriptedSource(process(10, "/bin/a", time.time_ns()), process(11, "/tmp/b")), state=state)
    seen = stored()
    assert (seen.held > 0, seen.tainted) == (True, 1)
    watched(tmp_path, ScriptedSource(), state=state)
    assert stored() == seen


def test_state_that_is_damaged_is_an_alert_and_the_run_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "baseline").write_bytes(b"shield-baseline 1\nbroken")
    (state / "correlations").write_bytes(b"shield correlations 9\n")
    _, events = watched(tmp_path, ScriptedSource(process(10, "/tmp/a")), state=state)
    assert [one["what"] for one in told(events, "tamper")] == ["stored state can't be used"] * 2
    assert all(event["action"] == "ALERT" for event in events if event["category"] == "tamper")
    assert "baseline.damaged" in told(events, "tamper")[0]["detail"]
    assert {path.name for path in state.iterdir()} == {
        *("baseline", "baseline.damaged", "correlations", "correlations.damaged", "lock")
    }


def test_an_indicator_adds_to_the_score_and_new_ones_are_told(tmp_path: Path) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("/opt/bad\n")
    now = 0.0
    indicators = RenewedIndicators([str(feed)], built_in().policy, lambda: now)
    turns = 0

    def stopping() -> bool:
        nonlocal now, turns
        turns += 1
        if turns == 3:
            feed.write_text("127.0.0.1\n")
            now += 6
        if turns == 4:
            indicators.renew()
        return turns > 10_000 or bool(turns % 50 == 0 and '"tamper":{' in (tmp_path / "events.jsonl").read_text())

    _, events = watched(tmp_path, ScriptedSource(process(10, "/opt/bad")), stopping, indicators=indicators)
    (start,) = [event for event in events if event["category"] == "process_start"]
    assert start["rationale"] == "indicator_file(feed)"
    (tamper,) = told(events, "tamper")
    assert tamper["what"] == "new indicators can't be used"
    assert f"{feed}:1: 127.0.0.1" in tamper["detail"]


def test_what_a_scan_finds_is_another_event_of_the_same_story(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_bytes(b"\x7fELF harmless marker_of_a_test")
    rules = tmp_path / "rules.yar"
    rules.write_text('rule Marker { meta: score = 30 strings: $a = "marker_of_a_test" condition: $a }')
    scanner = YaraScanner(YaraSettings((str(rules),)), built_in().policy)
    end = time.monotonic() + 20

    def stopping() -> bool:
        return scanner.ledger().kept > 0 or time.monotonic() > end

    book = Rulebook(Ruleset(tuple(parse(RULE.replace(b"/tmp/", str(tmp_path).encode()), "rule.yml"))))
    summary, events = watched(tmp_path, ScriptedSource(process(10, str(tool))), stopping, scanner=scanner, book=book)
    first, found = [event for event in events if event["category"] == "process_start"]
    assert [signal["name"] for signal in first["signals"]] == ["Anything from /tmp"]
    assert [signal["rule_id"] for signal in found["signals"]] == ["yara:rules.Marker"]
    assert [signal["name"] for signal in found["story"]] == ["Anything from /tmp"]
    assert found["story"][0]["event_id"] == first["event_id"]
    assert found["event_id"] != first["event_id"]
    assert (found["score"], found["action"], found["alert_id"]) == (100, "ALERT", first["event_id"])
    assert found["data"] == first["data"]
    assert all(ledger.balanced for ledger in summary.ledgers)
    assert [ledger.source for ledger in summary.ledgers] == ["scripted", "procfs_snapshot", "jsonl", "yara"]


def test_what_could_not_be_scanned_is_a_loss_with_its_remedy(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yar"
    rules.write_text("rule Any { condition: true }")
    scanner = YaraScanner(YaraSettings((str(rules),), queue=1), built_in().policy)
    flood = [record for number in range(9) for record in process(10 + number, f"/opt/{number}")]
    _, events = watched(tmp_path, ScriptedSource(flood), scanner=scanner)
    (loss,) = told(events, "loss")
    assert loss == {
        "source": "yara",
        "dropped": {"queue_full": 8},
        "remedy": "Give yara.queue more room, or scan with fewer rules.",
    }


def test_groups_that_correlations_gave_up_are_a_loss(tmp_path: Path) -> None:
    counting = b"""
title: many
id: 22222222-1111-4111-8111-111111111111
correlation:
  type: event_count
  rules: [11111111-1111-4111-8111-111111111111]
  group-by: [Image]
  timespan: 1h
  condition: {gte: 3}
level: high
"""
    (rule,), (correlation,) = parse_all(RULE, "rule.yml"), parse_all(counting, "many.yml")
    assert isinstance(rule, Rule)
    assert isinstance(correlation, Correlation)
    flood = [record for number in range(10_001) for record in process(10 + number, f"/tmp/{number}", SECOND + number)]
    _, events = watched(tmp_path, ScriptedSource(flood), book=Rulebook(Ruleset((rule,), (correlation,))))
    (loss,) = told(events, "loss")
    assert loss["source"] == "correlations"
    assert loss["dropped"] == {"too_many_groups": 1}
    assert loss["remedy"].startswith("Group by fewer fields")
