"""`shield timeline` as a user runs it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shield.cli.main import app
from shield.event import Data, Event, Process, Signal, encode, uuid7

SECOND = 1_000_000_000
NOW = 1_795_529_002 * SECOND


def event(number: int, story: str) -> Event:
    process = Process(pid=100 + number, entity_id=f"{number}", cmdline=f"run \x1b[31m{number}")
    ts_ns = NOW + number * SECOND
    event_id = uuid7(ts_ns // 1_000_000, number)
    return Event(
        *(ts_ns // SECOND, "web-3", "process_start", "ALERT", 70, "web_shell", Data(process=process), "1", "", story),
        event_id=event_id,
        ts_ns=ts_ns,
        signals=(Signal("rule-1", "web_shell", 70),),
        alert_id=event_id,
    )


EVENTS = [event(1, "aa11"), event(2, "aa11"), event(3, "aa22"), event(4, "bb33")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(encode(each) + b"\n" for each in EVENTS))
    return path


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["timeline", *map(str, arguments)])
    assert "\x1b" not in result.output
    return result


@pytest.mark.parametrize("name", ["aa11", "aa1", EVENTS[1].event_id])
def test_a_story_is_found_by_its_id_or_that_of_an_event(path: Path, name: str) -> None:
    result = run(name, "--events", path)
    assert result.exit_code == 0
    assert result.stdout.startswith("story aa11 on web-3\n")
    assert "+1.000 s ALERT 70  run \\x1b[31m2  (pid 102)  [alert opened]  [+70 web_shell]" in result.stdout


def test_json_is_the_story_as_data(path: Path) -> None:
    told = json.loads(run("bb", "--file", path, "--json").stdout)
    assert told["correlation_id"] == "bb33"
    assert [one["id"] for one in told["processes"]] == ["4"]


def test_an_ambiguous_beginning_lists_the_stories(path: Path) -> None:
    result = run("aa", "--events", path)
    assert result.exit_code == 1
    assert "2 stories have an id that begins with aa" in result.stderr
    assert "aa22  2026-11-24T14:03:25Z  1 events" in result.stderr


@pytest.mark.parametrize("name", ["ffff", '"', "\x1b[2J", "\\"])
def test_an_unknown_story_is_said_to_be_unknown(path: Path, name: str) -> None:
    assert run("--events", path, "--", name).exit_code == 1


def test_an_empty_id_and_a_missing_file_are_refused(path: Path, tmp_path: Path) -> None:
    assert run("", "--events", path).exit_code == 2
    assert run("aa", "--events", tmp_path / "none").exit_code == 2


def test_an_event_written_twice_is_drawn_once_and_damage_is_told(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2 + b'{"correlation_id":"aa11"\n')
    result = run("aa11", "--events", path)
    assert "2 events in" in result.stdout
    assert ":9: not an event" in result.stderr
