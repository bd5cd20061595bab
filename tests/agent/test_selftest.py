"""The self-test with a real probe: what arrives is recognised, what doesn't is a tamper event, and nothing is left."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from shield.agent import selftest
from shield.agent.companion import Change
from shield.agent.selftest import SelfTest
from shield.collector.source import Kind
from shield.event import Category, Data, Dns, Event, File, Process, Tamper


def event(category: Category, data: Data) -> Event:
    return Event(1, "h", category, "ALLOW", 0, "low_signal", data, "", "", "", ts_ns=time.time_ns())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_SETTLE_S", 0.0)
    monkeypatch.setattr(selftest, "_WAIT_S", 0.3)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, _quick: None) -> None:
    """Time enough for a probe to do all that it can."""
    monkeypatch.setattr(selftest, "_WAIT_S", 20.0)


def begun(folder: Path, *kinds: Kind) -> SelfTest:
    test = SelfTest(folder, lambda: kinds, every_s=0.0)
    assert test.care() == ()
    assert test.running
    return test


def finished(test: SelfTest) -> list[object]:
    end = time.monotonic() + 10
    while test.running and time.monotonic() < end:
        told = test.care()
        time.sleep(0.02)
    return list(told)


def traces(test: SelfTest) -> Iterable[Event]:
    token = test._token
    assert test._probe
    pid = test._probe.pid
    yield event("process_start", Data(process=Process(pid=pid, cmdline=f"python -m shield.agent.probe {token} x")))
    yield event("network_connection", Data(process=Process(pid=pid)))
    yield event("dns_query", Data(dns=Dns(f"{token}.invalid")))
    yield event("file_create", Data(file=File(path=f"/state/self-test/{token}")))


def test_what_arrives_is_told_with_its_delay(tmp_path: Path) -> None:
    test = begun(tmp_path / "probes", "process", "network", "dns", "file")
    test.note(list(traces(test)))
    assert finished(test) == []
    assert [(one.kind, one.arrived) for one in test.outcomes] == [
        ("dns", True), ("file", True), ("network", True), ("process", True)
    ]  # fmt: skip
    assert all(one.delay_ms >= 0 for one in test.outcomes)


def test_what_does_not_arrive_is_tampering(tmp_path: Path) -> None:
    test = begun(tmp_path / "probes", "process", "file")
    test.note([one for one in traces(test) if one.category == "process_start"])
    (told,) = finished(test)
    assert told == Tamper("the self-test failed", "file: nothing arrived within 0.3 s")
    assert [(one.kind, one.failed) for one in test.outcomes] == [("process", False), ("file", True)]


def test_what_works_again_is_told(tmp_path: Path) -> None:
    test = begun(tmp_path / "probes", "file")
    finished(test)
    test.care()
    test.note(list(traces(test)))
    assert finished(test) == [Change("the self-test works again: file")]


def test_the_doings_of_others_are_not_taken_for_the_probes(tmp_path: Path) -> None:
    test = begun(tmp_path / "probes", "process", "network")
    test.note([event("process_start", Data(process=Process(pid=5, cmdline="sh"))), event("network_connection", Data())])
    assert len(finished(test)) == 2


def test_what_is_not_watched_is_not_expected_and_what_would_do_harm_is_not_probed(tmp_path: Path) -> None:
    test = begun(tmp_path / "probes", "account", "persistence", "privilege", "kernel")
    assert finished(test) == []
    assert {one.arrived for one in test.outcomes} == {None}
    assert all(one.detail.startswith("not probed: ") for one in test.outcomes)


def test_what_the_host_does_not_let_the_probe_do_has_not_failed(tmp_path: Path, patient: None) -> None:
    (tmp_path / "file").touch()
    test = begun(tmp_path / "file" / "probes", "file")
    assert finished(test) == []
    (outcome,) = test.outcomes
    assert (outcome.arrived, outcome.detail.startswith("not probed: [Errno 20]")) == (None, True)


def test_the_probe_stays_for_sources_that_poll_and_ends_with_the_test(tmp_path: Path, patient: None) -> None:
    test = begun(tmp_path / "probes", "process")
    probe = test._probe
    assert probe
    while not test._done:
        test._hear()
    assert probe.poll() is None
    test.note(list(traces(test)))
    finished(test)
    assert probe.poll() is not None


def test_a_probe_leaves_nothing_behind(tmp_path: Path, patient: None) -> None:
    test = begun(tmp_path / "probes", "file")
    test.note(list(traces(test)))
    assert finished(test) == []
    assert list((tmp_path / "probes").iterdir()) == []


def test_a_test_that_can_not_be_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    test = SelfTest(tmp_path / "probes", lambda: ("file",), every_s=60.0)
    (told,) = test.care()
    assert isinstance(told, Tamper)
    assert not test.running
