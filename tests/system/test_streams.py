"""The command where its files and standard streams are not what they usually are."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SHIELD = Path(sys.executable).with_name("shield")

pytestmark = pytest.mark.system
live = pytest.mark.live

EVENT = b'{"category":"process_start","data":{"process":{"pid":7,"exe":"/tmp/a","cmdline":"/tmp/a"}}}\n'


def shell(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a shell command, in which `$0` is shield and `$1` the first of the arguments."""
    words = ["bash", "-c", command, SHIELD, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.jsonl"
    path.write_bytes(EVENT * 100)
    return path


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_device_is_written_to_and_never_replaced(recorded: Path) -> None:
    assert shell('"$0" replay "$1" --output /dev/null', recorded).returncode == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    full = shell('"$0" replay "$1" --output /dev/full', recorded)
    assert full.returncode == 2
    assert "/dev/full: can't be written: No space left on device" in full.stderr


def test_a_link_to_the_output_stays_a_link(tmp_path: Path, recorded: Path) -> None:
    (tmp_path / "real.jsonl").write_text("old")
    (tmp_path / "link.jsonl").symlink_to("real.jsonl")
    assert shell('"$0" replay "$1" --output "$2"', recorded, tmp_path / "link.jsonl").returncode == 0
    assert (tmp_path / "link.jsonl").is_symlink()
    assert len((tmp_path / "real.jsonl").read_bytes().splitlines()) == 100


def test_a_planted_link_in_the_place_of_the_unfinished_output_is_not_followed(tmp_path: Path, recorded: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".out.jsonl.partial").symlink_to(victim)
    assert shell('"$0" replay "$1" --output "$2"', recorded, tmp_path / "out.jsonl").returncode == 0
    assert victim.read_text() == "precious"
    assert left(tmp_path) == {"recorded.jsonl", "victim", "out.jsonl"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_replay_that_is_stopped_leaves_the_old_output_and_no_part_of_a_new_one(
    tmp_path: Path, number: signal.Signals
) -> None:
    pipe, output = tmp_path / "pipe", tmp_path / "out.jsonl"
    os.mkfifo(pipe)
    output.write_text("old")
    writer = os.open(pipe, os.O_RDWR)
    command = [SHIELD, "replay", pipe, "--output", output]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        os.write(writer, EVENT)
        deadline = time.monotonic() + 30
        while ".out.jsonl.partial" not in left(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    os.close(writer)
    assert process.returncode == 128 + signal.SIGINT
    assert told == f"shield: {output}: stopped before the end; replay again for the whole\n"
    assert output.read_text() == "old"
    assert left(tmp_path) == {"pipe", "out.jsonl"}


def test_a_full_disk_leaves_the_old_output(tmp_path: Path, recorded: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("old")
    limit: Callable[[], None] = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # noqa: E731
    command = [SHIELD, "replay", recorded, "--output", output]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 2
    assert "can't be written: File too large" in done.stderr
    assert output.read_text() == "old"
    assert left(tmp_path) == {"recorded.jsonl", "out.jsonl"}


def test_an_input_that_breaks_off_is_named_not_the_output(tmp_path: Path) -> None:
    done = shell('"$0" replay /proc/self/mem --output "$1"', tmp_path / "out.jsonl")
    assert done.returncode == 2
    assert "/proc/self/mem: can't be read to its end: Input/output error" in done.stderr
    assert left(tmp_path) == set()


def test_stdin_and_stdout_can_stand_for_files(recorded: Path) -> None:
    done = shell('"$0" replay - --output - < "$1"', recorded)
    assert done.returncode == 0
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 100


@pytest.mark.parametrize("command", ["show policy", "show schema", "rules list", 'replay "$1" --output -'])
def test_output_that_finds_no_room_is_refused_in_one_line(recorded: Path, command: str) -> None:
    done = shell(f'"$0" {command} > /dev/full', recorded)
    assert done.returncode == 2
    assert "shield: the output can't be written: No space left on device" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_error(tmp_path: Path, recorded: Path, closed: str) -> None:
    output = tmp_path / "out.jsonl"
    assert shell(f'"$0" show config {closed}').returncode == 0
    assert shell(f'"$0" replay "$1" --output "$2" {closed}', recorded, output).returncode == 0
    assert len([json.loads(line) for line in output.read_text().splitlines()]) == 100


def test_a_terminal_without_unicode_is_shown_everything_it_can(tmp_path: Path) -> None:
    recorded, rule = tmp_path / "recorded.jsonl", tmp_path / "rule.yml"
    recorded.write_bytes(EVENT.replace(b'"/tmp/a"}', '"/tmp/a \u00e9"}'.encode()))
    rule.write_text(
        "title: T\nid: 3b9c9b8e-4a52-4c6e-9a1a-2a1a1a1a1a1a\nlevel: high\nlogsource: {category: process_creation}\n"
        "detection: {s: {Image: /tmp/a}, condition: s}\n"
    )
    done = shell('PYTHONIOENCODING=ascii "$0" replay "$1" --rules "$2"', recorded, rule)
    assert done.returncode == 0
    assert "/tmp/a \\xe9" in done.stdout


@live
def test_a_watch_goes_on_when_nobody_reads_its_words(tmp_path: Path) -> None:
    output = tmp_path / "events.jsonl"
    done = shell('"$0" run --duration 0.3 --output "$1" 2>&1 | head -1; exit "${PIPESTATUS[0]}"', output)
    assert done.returncode == 0
    last = json.loads(output.read_text().splitlines()[-1])
    assert (last["category"], last["data"]["health"]["uptime_s"] >= 0.3) == ("heartbeat", True)


@live
def test_a_watch_that_cannot_write_has_not_begun(tmp_path: Path) -> None:
    done = shell('"$0" run --output "$1"', tmp_path)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert "watches" not in done.stderr


def test_a_file_without_end_is_no_policy() -> None:
    done = shell('"$0" run --policy /dev/zero')
    assert done.returncode == 2
    assert "/dev/zero: larger than 16 MiB" in done.stderr
