"""Indicator files are found, read and renewed; a bad one never takes the good ones out of force."""

import os
import time
from pathlib import Path

import pytest

from shield.agent import indicators
from shield.agent.indicator_renewal import Renewal, RenewedIndicators
from shield.agent.indicators import NoIndicators, build
from shield.event import Data, Dns, Event
from shield.policy.schema import Policy
from shield.scorer.indicators.index import Index, block

POLICY = Policy(version=1)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def shows(renewed: RenewedIndicators, name: str) -> bool:
    event = Event(1, "h", "dns_query", "ALLOW", 0, "", Data(dns=Dns(name)), "1", "", "", ts_ns=10**9)
    return bool(renewed.current.signals(event))


def renewal(renewed: RenewedIndicators, clock: Clock) -> Renewal:
    """What comes of changed files."""
    for _ in range(2):
        clock.now += 6
        assert renewed.care() is None
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if came := renewed.care():
            return came
        time.sleep(0.01)
    raise AssertionError("nothing came")


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    folder = tmp_path / "feeds"
    folder.mkdir()
    (folder / "one.txt").write_text("evil.example\n")
    return folder


def test_files_and_folders_of_every_format_are_one_index(feed: Path, tmp_path: Path) -> None:
    (feed / "two.csv").write_bytes(b"\xef\xbb\xbfindicator,type\n198.51.100.7,ip\n")
    (feed / "deep").mkdir()
    (feed / "deep" / "three.json").write_text('[{"type":"domain","value":"misp.example","to_ids":true}]')
    (feed / "README.md").write_text("not.a.feed.example")
    (feed / ".hidden.txt").write_text("hidden.example")
    windows = tmp_path / "windows.lst"
    windows.write_bytes("utf16.example\r\n".encode("utf-16"))
    steps: list[tuple[int, int]] = []
    builder, report = build([str(feed), str(windows)], lambda done, total: steps.append((done, total)))
    index = Index(block(builder))
    assert (report.files, report.loaded, report.problems) == (4, 4, 0)
    assert index.domain("utf16.example")[0].source == "windows"
    assert index.domain("misp.example")
    assert index.ip("198.51.100.7")
    assert not index.domain("hidden.example")
    assert steps[-1][0] == steps[-1][1]


def test_every_bad_line_is_counted_and_the_first_are_told_with_file_and_line(feed: Path) -> None:
    (feed / "bad.txt").write_text("good.example\n" + "127.0.0.1\n" * 500 + "e3b0c44298fc1c14")
    _, report = build([str(feed)])
    assert (report.loaded, report.problems, len(report.told)) == (2, 501, indicators.PROBLEMS_TOLD)
    assert report.told[0].startswith(f"{feed}/bad.txt:2: 127.0.0.1 is a private or reserved address")
    assert not report.unusable


def test_a_file_that_cannot_be_used_at_all_is_told_and_the_others_are_used(feed: Path) -> None:
    (feed / "cut.json").write_text('{"type":"bundle","objects":[{"type":"indicator",')
    (feed / "empty.txt").write_text("")
    (feed / "nothing_yet.txt").write_text("# no indicators today\n")
    _, report = build([str(feed)])
    assert report.loaded == 1
    assert [line.partition(":")[0] for line in report.unusable] == [f"{feed}/cut.json", f"{feed}/empty.txt"]


def test_a_pipe_is_not_waited_for_and_a_missing_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    _, report = build([str(tmp_path / "pipe.txt")])
    assert "no regular file" in report.unusable[0]
    with pytest.raises(NoIndicators, match="no such file or folder"):
        build([str(tmp_path / "none")])
    with pytest.raises(NoIndicators, match="no such file or folder"):
        RenewedIndicators([str(tmp_path / "none")], POLICY)


def test_expired_indicators_are_counted(feed: Path) -> None:
    (feed / "old.csv").write_text("value,expires\nold.example,2001-01-01\nnew.example,2900-01-01\n")
    assert build([str(feed)])[1].expired == 1


def test_changed_files_are_in_force_without_a_restart(feed: Path) -> None:
    clock = Clock()
    renewed = RenewedIndicators([str(feed)], POLICY, clock)
    assert shows(renewed, "evil.example")
    (feed / "one.txt").unlink()
    (feed / "two.txt").write_text("new.example\n")
    came = renewal(renewed, clock)
    assert came.indicators is renewed.current
    assert not came.problem
    assert shows(renewed, "new.example")
    assert not shows(renewed, "evil.example")
    clock.now += 60
    assert renewed.care() is None


@pytest.mark.parametrize("content", ["", "127.0.0.1\n", '{"Event": {"Attribute": [', "\x00\x01"])
def test_a_bad_new_file_leaves_the_old_ones_in_force_and_is_told_once(feed: Path, content: str) -> None:
    clock = Clock()
    renewed = RenewedIndicators([str(feed)], POLICY, clock)
    (feed / "one.txt").write_text(content)
    came = renewal(renewed, clock)
    assert came.indicators is None
    assert f"{feed}/one.txt" in came.problem
    assert "The old indicators stay in force" in came.problem
    assert shows(renewed, "evil.example")
    for _ in range(5):
        clock.now += 6
        assert renewed.care() is None
    (feed / "one.txt").write_text("mended.example\n")
    assert renewal(renewed, clock).indicators
    assert shows(renewed, "mended.example")


def test_a_file_that_vanishes_leaves_the_old_ones_in_force(feed: Path) -> None:
    clock = Clock()
    renewed = RenewedIndicators([str(feed / "one.txt")], POLICY, clock)
    (feed / "one.txt").unlink()
    assert "no such file" in renewal(renewed, clock).problem
    assert shows(renewed, "evil.example")


def test_a_reader_that_is_killed_leaves_the_old_ones_in_force(feed: Path) -> None:
    clock = Clock()
    renewed = RenewedIndicators([str(feed)], POLICY, clock)
    (feed / "big.txt").write_text("".join(f"n{number}.example\n" for number in range(200_000)))
    for _ in range(2):
        clock.now += 6
        renewed.care()
    assert renewed._build
    renewed._build._process.kill()
    renewed._build._process.wait()
    came = renewed.care()
    assert came
    assert "signal 9" in came.problem
    assert shows(renewed, "evil.example")


def test_a_clock_that_jumps_back_only_delays_the_next_look(feed: Path) -> None:
    clock = Clock()
    renewed = RenewedIndicators([str(feed)], POLICY, clock)
    clock.now -= 900
    assert renewed.care() is None
    (feed / "one.txt").write_text("new.example\n")
    clock.now += 900
    assert renewal(renewed, clock).indicators
    renewed.close()


def test_files_are_read_again_when_that_is_asked_for(feed: Path) -> None:
    clock = Clock()
    renewed = RenewedIndicators([str(feed)], POLICY, clock)
    renewed.renew()
    assert renewed.care() is None
    end = time.monotonic() + 20
    while not (came := renewed.care()) and time.monotonic() < end:
        time.sleep(0.01)
    assert came
    assert not came.problem
    clock.now += 60
    assert renewed.care() is None


def test_a_new_policy_gives_the_points(feed: Path) -> None:
    renewed = RenewedIndicators([str(feed)], POLICY)
    event = Event(1, "h", "dns_query", "ALLOW", 0, "", Data(dns=Dns("evil.example")), "1", "", "", ts_ns=10**9)
    before = renewed.signals(event)[0].points
    renewed.judge_by(Policy(version=2, weights={"indicator:domain": 3}))
    assert (before, renewed.signals(event)[0].points) == (70, 3)
