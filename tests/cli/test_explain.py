"""`shield explain` as a user runs it."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from shield.cli.main import app
from shield.event import Data, Event, Persistence, Process, Signal, encode, uuid7

SECOND = 1_000_000_000
NOW = 1_795_529_002 * SECOND


def event(number: int) -> Event:
    """An ALERT that differs from others by `number`."""
    return Event(
        ts=NOW // SECOND,
        host="web-3",
        category="process_start",
        action="ALERT",
        score=70,
        rationale="web_shell",
        data=Data(process=Process(pid=100 + number, cmdline=f"sh -c \x1b[31m{number}")),
        policy_version="7@beef",
        dedupe_key="",
        correlation_id="story",
        event_id=uuid7(NOW // 1_000_000 + number, number),
        ts_ns=NOW,
        signals=(Signal("rule-1", "web_shell", 70, "A web server starts a shell", "high", "Image", "/bin/sh", "*/sh"),),
    )


EVENTS = [event(number) for number in range(14)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(encode(each) + b"\n" for each in EVENTS))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_the_story_is_told_with_its_reasons(path: Path) -> None:
    result = run(EVENTS[3].event_id, "--file", path)
    assert result.exit_code == 0
    for expected in ("A web server starts a shell", "*/sh", "sum 70", "7@beef", "sh -c \\x1b[31m3", EVENTS[3].event_id):
        assert expected in result.stdout
    assert "\x1b" not in result.stdout


def test_what_changed_is_told_with_its_difference(path: Path) -> None:
    job = Persistence(
        "cron", "/etc/cron.d/x", "added", command="sh \x1b[2J", diff="@@ -0,0 +1,1 @@\n+@daily sh \x1b[2J"
    )
    changed = replace(EVENTS[3], category="persistence_change", data=Data(persistence=job))
    path.write_bytes(encode(changed) + b"\n")
    lines = run(changed.event_id, "--file", path).stdout.splitlines()
    assert "  what       cron job added in /etc/cron.d/x: sh \\x1b[2J" in lines
    assert "    +@daily sh \\x1b[2J" in lines


def test_the_beginning_of_an_id_is_enough(path: Path) -> None:
    assert "sh -c \\x1b[31m5" in run(EVENTS[5].event_id[:13], "--file", path).stdout


def test_json_is_the_line_as_it_was_written(path: Path) -> None:
    assert run(EVENTS[5].event_id, "--file", path, "--json").stdout_bytes == encode(EVENTS[5]) + b"\n"


def test_an_event_written_twice_is_not_ambiguous(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)
    assert run(EVENTS[5].event_id, "--file", path).exit_code == 0


def test_an_ambiguous_beginning_lists_what_it_could_be(path: Path) -> None:
    result = run(EVENTS[0].event_id[:8], "--file", path)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0] == f"shield: 14 events have an id that begins with {EVENTS[0].event_id[:8]}; give more of it"
    assert lines[1].startswith(f"  {EVENTS[0].event_id}  2026-11-24T14:03:22Z  ALERT  web_shell")
    assert lines[-1] == "  and 4 more"
    assert result.stdout == ""


def test_an_unknown_id_is_said_to_be_unknown(path: Path) -> None:
    result = run("ffff", "--file", path)
    assert result.exit_code == 1
    assert "no event in" in result.stderr
    assert "`shield events` lists them" in result.stderr


@pytest.mark.parametrize("text", ["xyz", "-", "01\x1b[2J", "0" * 40])
def test_what_is_no_id_is_refused(path: Path, text: str) -> None:
    result = run("--file", path, "--", text)
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr


def test_a_missing_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    result = run("01", "--file", tmp_path / "none.jsonl")
    assert result.exit_code == 2
    assert "start the agent with `shield run`" in result.stderr


def test_damage_elsewhere_does_not_hide_the_event(path: Path) -> None:
    torn = b'{"event_id":"' + EVENTS[5].event_id.encode()
    path.write_bytes(torn + b"\n" + path.read_bytes())
    result = run(EVENTS[5].event_id, "--file", path)
    assert result.exit_code == 0
    assert f"{path}:1: not an event" in result.stderr
