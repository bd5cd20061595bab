"""`shield events` as a user runs it."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from shield.cli.main import app
from shield.event import Account, Data, Event, File, Process, Signal, User, encode, uuid7
from shield.exporter.jsonl import JsonlWriter

SECOND = 1_000_000_000
NOW = 1_795_529_002 * SECOND
SHIELD = [sys.executable, "-m", "shield"]


def event(number: int, cmdline: str = "", score: int = 0) -> Event:
    """An event that differs from others by `number`; with a score of 70 or more an ALERT of two rules."""
    alert = score >= 70
    return Event(
        ts=NOW // SECOND + number,
        host="web-3",
        category="process_start",
        action="ALERT" if alert else "ALLOW",
        score=score,
        rationale="web_shell;odd_path" if alert else "low_signal",
        data=Data(process=Process(pid=100 + number, cmdline=cmdline or f"true {number}"), user=User(33, "www-data")),
        policy_version="1",
        dedupe_key="",
        correlation_id=f"story-{number}",
        event_id=uuid7(NOW // 1_000_000 + number, number),
        ts_ns=NOW + number * SECOND,
        seq=number,
        signals=(Signal("rule-1", "web_shell", 50), Signal("rule-2", "odd_path", 20)) if alert else (),
    )


EVENTS = [event(number) for number in range(8)] + [event(8, "sh -c \x1b[31m\u202eid", 70), event(9)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    writer = JsonlWriter(path, rotate_bytes=1200, fsync="never", keep_seconds=None)
    for each in EVENTS:
        writer.write([encode(each)], each.ts_ns)
    writer.close()
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["events", *map(str, arguments)])


def test_events_are_listed_one_a_line_oldest_first(path: Path) -> None:
    result = run("--file", path)
    lines = result.stdout.splitlines()
    assert len(lines) == 10
    assert lines[0] == f"2026-11-24T14:03:22Z ALLOW    0 {EVENTS[0].event_id} www-data   true 0"
    assert lines[8].endswith("www-data   web_shell;odd_path  sh -c \\x1b[31m\\u202eid")
    assert result.exit_code == 0


def test_what_processes_did_is_listed_in_the_words_of_the_cards(path: Path) -> None:
    file = File("/etc/\x1b[2Jcron d", mode=0o100666, old_mode=0o100644)
    wrote = Data(process=Process(7, exe="/usr/bin/vim"), user=User(name="eve"), file=file)
    added = Data(account=Account("user", "eve", "added", 0, duplicate_of="root"))
    made = [
        replace(EVENTS[0], category="file_write", data=wrote),
        replace(EVENTS[0], category="account_change", data=added),
    ]
    path.write_bytes(b"".join(encode(each) + b"\n" for each in made))
    lines = run("--file", path, "--since", "2026-11-24").stdout.splitlines()[-2:]
    assert lines[0].endswith(
        'eve        vim wrote "/etc/\\x1b[2Jcron d" (mode 0644 -> 0666, anybody may write to it now!)  (pid 7)'
    )
    assert lines[1].endswith("-          user eve added, uid 0: the same as root")


def test_json_is_what_was_written_byte_for_byte(path: Path) -> None:
    assert run("--file", path, "--json").stdout_bytes == b"".join(encode(each) + b"\n" for each in EVENTS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--action", "alert"], [8]),
        (["--category", "loss", "--category", "tamper"], []),
        (["--min-score", "1"], [8]),
        (["--since", "2026-11-24T14:03:30Z"], [8, 9]),
        (["--since", "2026-11-24T15:03:30+01:00", "--until", "2026-11-24T14:03:31"], [8]),
        (["--since", "1m"], []),
        (["--pid", "103"], [3]),
        (["--rule", "rule-2"], [8]),
        (["--rule", "web_shell"], [8]),
        (["--story", "story-4"], [4]),
        (["--grep", "TRUE 5"], [5]),
        (["--limit", "2"], [8, 9]),
        (["--limit", "1", "--action", "ALLOW"], [9]),
    ],
)
def test_options_choose_events(
    path: Path, options: list[str], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: NOW + 3600 * SECOND)
    lines = run("--file", path, "--json", *options).stdout_bytes.splitlines()
    assert lines == [encode(EVENTS[number]) for number in expected]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--since", "yesterday"], "--since yesterday: not a time; write 30s, 10m"),
        (["--until", "2026-13-01"], "--until 2026-13-01: not a time"),
        (["--action", "KILL"], "--action KILL: no such value; write one of ALLOW, WATCH, ALERT"),
        (["--category", "x\x1b[2J"], "--category x\\x1b[2j: no such value"),
    ],
)
def test_bad_options_are_refused_with_a_remedy(path: Path, options: list[str], told: str) -> None:
    result = run("--file", path, *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"shield: {told}")
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_is_not_there_is_refused_with_a_remedy(tmp_path: Path) -> None:
    result = run("--file", tmp_path / "none.jsonl")
    assert result.exit_code == 2
    assert "none.jsonl: no events there; start the agent with `shield run`" in result.stderr


def test_a_file_one_may_not_read_asks_for_the_privilege(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shield.exporter.history.rotated", refuse)
    result = run("--file", path)
    assert result.exit_code == 3
    assert "permission denied; run as root or as a member of the file's group" in result.stderr


def test_damaged_lines_are_told_with_file_and_line(path: Path) -> None:
    path.write_bytes(b"{torn\n" * 7 + encode(EVENTS[9]) + b"\n")
    result = run("--file", path)
    assert result.stdout.endswith("true 9\n")
    told = result.stderr.splitlines()
    assert told[0].startswith(f"shield: {path}:1: not an event, skipped: ")
    assert told[5:] == ["shield: 2 more lines were not events"]
    assert result.exit_code == 0


def test_the_default_file_is_where_the_agent_writes(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path.parent.joinpath("shield").mkdir()
    path.rename(tmp_path / "shield" / "events.jsonl")
    assert "true 9" in run().stdout


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_leaves_is_no_error(path: Path, form: list[str]) -> None:
    path.write_bytes((encode(EVENTS[8]) + b"\n") * 3000)
    with subprocess.Popen(
        [*SHIELD, "events", "--file", str(path), *form], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 0


def test_following_begins_with_the_last_ones_and_ends_quietly_on_ctrl_c(path: Path) -> None:
    command = [*SHIELD, "events", "--file", str(path), "--follow", "--limit", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stderr
        assert child.stdout.readline().endswith("true 9\n")
        writer = JsonlWriter(path, rotate_bytes=1, fsync="never", keep_seconds=None)
        for number in (10, 11):
            writer.write([encode(event(number))], NOW)
        assert child.stdout.readline().endswith("true 10\n")
        assert child.stdout.readline().endswith("true 11\n")
        child.send_signal(signal.SIGINT)
        assert child.wait() == 0
        assert child.stderr.read() == ""
        writer.close()


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_terminal_is_shown_nothing_it_could_act_on(path: Path, form: list[str]) -> None:
    terminal, line = pty.openpty()
    command = [*SHIELD, "events", "--file", str(path), "--action", "ALERT", *form]
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "80", "PYTHONUTF8": "1"}
    with subprocess.Popen(command, stdout=line, stderr=line, env=environment) as child:
        os.close(line)
        shown = b""
        try:
            while chunk := os.read(terminal, 65_536):
                shown += chunk
        except OSError:  # what Linux says when the other side has closed
            pass
        assert child.wait() == 0
    os.close(terminal)
    assert b"\\u202e" in shown if form else b"web_shell +1" in shown
    assert "\u202e".encode() not in shown
    assert b"\x1b[31m" not in shown
