"""The installed command, used as its users do."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

SHIELD = Path(sys.executable).with_name("shield")

pytestmark = pytest.mark.system
live = pytest.mark.live

IN_TMP = '{"category":"process_start","data":{"process":{"pid":7,"exe":"/tmp/a","cmdline":"/tmp/a"}}}\n'


def shield(
    *arguments: str | Path, stdin: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [SHIELD, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=60, env=env
    )
    assert "Traceback" not in done.stderr
    return done


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def plain(folder: Path) -> Path:
    """A configuration for what the tests do: what is odd about this machine's own programs stays out of their story."""
    config = folder / "plain.yml"
    config.write_text("{kernel: {enabled: false}, provenance: {enabled: false}}")
    return config


@contextmanager
def running(output: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """`shield run`, from when it watches until it is told to stop."""
    command = [SHIELD, "run", "--output", output, "--config", plain(output.parent), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "watches" in process.stderr.readline()
        assert "events to" in process.stderr.readline()
        time.sleep(0.3)
        yield process
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)


@pytest.fixture
def attack() -> Iterator[Path]:
    """A harmless imitation: a shell called nginx runs a shell that runs `true` from /tmp."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="shield-test-") as folder:
        nginx, true = Path(folder, "nginx"), Path(folder, "true")
        shutil.copy("/bin/dash", nginx)
        shutil.copy("/bin/true", true)
        yield Path(folder)


def imitate(attack: Path) -> None:
    subprocess.run([attack / "nginx", "-c", f"sh -c '{attack}/true --flag; :'; :"], check=True, start_new_session=True)


@live
def test_an_attack_becomes_one_alert_that_explains_itself(tmp_path: Path, attack: Path) -> None:
    output = tmp_path / "events.jsonl"
    with running(output, "--no-console") as process:
        imitate(attack)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, summary = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "nothing lost" in summary
    assert "OUT OF BALANCE" not in summary

    written = events(output)
    about = [event for event in written if str(attack) in json.dumps(event["data"])]
    (alert,) = [event for event in about if event["action"] == "ALERT"]
    assert set(alert["rationale"].split(";")) == {"web_server_spawns_shell", "exec_from_user_writable_path"}
    assert alert["score"] == 70
    assert alert["data"]["ancestors"][0]["name"] == "nginx"
    assert alert["data"]["process"]["exe"] == os.path.realpath("/bin/sh")
    assert len({event["correlation_id"] for event in about}) == 1
    assert [event["seq"] for event in written] == list(range(1, len(written) + 1))
    ledger = written[-1]["data"]["health"]["ledgers"][0]
    accounted = ledger["kept"] + ledger["pending"]
    accounted += sum(sum(ledger[fate].values()) for fate in ("filtered", "folded", "dropped"))
    assert ledger["seen"] == accounted

    told = shield("explain", alert["event_id"], "--file", output).stdout
    for signal_ in alert["signals"]:
        assert signal_["rule_id"] in told
    for part in ("ParentImage", f"{attack}/nginx", "50", alert["policy_version"]):
        assert part in told
    found = shield("events", "--file", output, "--action", "ALERT", "--json").stdout
    assert alert["event_id"] in found


@live
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path / "events.jsonl", "--no-console") as process:
        process.send_signal(number)
        _, summary = process.communicate(timeout=20)
    assert process.returncode == 0
    assert re.search(r"events +[\d,]+: heartbeat 2", summary)
    assert "CPU" in summary


@live
def test_killed_it_leaves_whole_lines_and_starts_again(tmp_path: Path) -> None:
    output = tmp_path / "events.jsonl"
    with running(output, "--no-console") as process:
        for number in range(200):
            subprocess.run(["/bin/true", str(number)], check=True)
        process.kill()
    before = len(events(output))
    assert before > 200
    assert shield("run", "--duration", "0.5", "--no-console", "--output", output).returncode == 0
    assert len(events(output)) > before


@live
def test_a_tiny_ring_is_told_as_a_loss_and_marks_the_alert(tmp_path: Path, attack: Path) -> None:
    config = tmp_path / "shield.yml"
    config.write_text("source: {use: ebpf, ring_bytes: 4096}\n")
    output = tmp_path / "events.jsonl"
    with running(output, "--no-console", "--config", str(config)) as process:
        process.send_signal(signal.SIGSTOP)
        for number in range(50):
            subprocess.run(["/bin/true", str(number)], check=True)
        process.send_signal(signal.SIGCONT)
        time.sleep(1.5)
        imitate(attack)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, summary = process.communicate(timeout=20)
    written = events(output)
    (loss,) = [event["data"]["loss"] for event in written if event["category"] == "loss"][:1]
    assert loss["dropped"]["ring_full_exec"] > 0
    assert "ring_bytes" in loss["remedy"]
    assert re.search(r"[\d,]+ LOST", summary)
    assert "OUT OF BALANCE" not in summary
    alerts = [event for event in written if event["action"] == "ALERT" and event["category"] == "process_start"]
    assert all(not alert["evidence_complete"] and "has lost" in alert["gaps"][-1] for alert in alerts)


@live
def test_the_live_view_shows_a_card_and_no_escape_of_the_attacker(tmp_path: Path, attack: Path) -> None:
    leader, follower = pty.openpty()
    command = [SHIELD, "run", "--duration", "3", "--output", tmp_path / "events.jsonl", "--config", plain(tmp_path)]
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        process.stderr.readline()
        time.sleep(0.5)
        hostile = "\x1b]0;owned\x07\x1b[2J"
        subprocess.run([attack / "nginx", "-c", f"sh -c '{attack}/true {hostile}; :'; :"], check=True)
        process.stderr.read()
    os.close(follower)
    shown = b""
    with suppress(OSError):
        while part := os.read(leader, 65_536):
            shown += part
    os.close(leader)
    assert b"ALERT 70" in shown
    assert b"web_server_spawns_shell" in shown
    assert b"\x1b]0;" not in shown
    assert b"\x1b[2J" not in shown


@live
def test_without_root_it_polls_and_says_what_it_cannot_see(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    code = (
        f"import os\nos.setgid(65534)\nos.setuid(65534)\nos.execv({str(sys.executable)!r}, ['python', '-m', 'shield', "
    )
    code += f"'run', '--duration', '1', '--no-console', '--output', {str(tmp_path / 'events.jsonl')!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/", timeout=60
    )
    if "No module named" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("this Python can't be read by other users")
    assert done.returncode == 0, done.stderr
    assert "through psutil" in done.stderr
    assert "not ebpf: only root may load BPF programs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "file", "told"),
    [
        (["--config"], "source:\n  use: magic\n", ":2: source.use: Invalid enum value 'magic'"),
        (["--config"], "source:\n  ring_bytes: 5000\n", "power of two"),
        (["--policy"], "version: 1\nthresholds:\n  wach: 1\n", ":3: thresholds.wach: there is no such key"),
        (["--policy"], "version: 1\nstage: contain\n", ":2: stage:"),
        (["--rules"], "title: x\ndetection: [\n", ":3: not valid YAML"),
        (["--rules"], "title: No detection\nlogsource: {category: process_creation}\n", "not-good.yml:1"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    tmp_path: Path, arguments: list[str], file: str, told: str
) -> None:
    bad, output = tmp_path / "not-good.yml", tmp_path / "events.jsonl"
    bad.write_text(file)
    done = shield("run", *arguments, bad, "--output", output)
    assert done.returncode == 2
    assert "not-good.yml" in done.stderr
    assert told in done.stderr
    assert not output.exists()


@pytest.mark.parametrize("option", ["--config", "--policy", "--rules"])
def test_a_file_that_is_not_there_is_named(option: str) -> None:
    done = shield("run", option, "/nowhere/at-all.yml")
    assert done.returncode == 2
    assert "/nowhere/at-all.yml" in done.stderr


@pytest.mark.parametrize("arguments", [["run", "--duration", "soon"], ["run", "--nonsense"], ["fly"], ["replay"]])
def test_wrong_usage_ends_with_code_2(arguments: list[str]) -> None:
    assert shield(*arguments).returncode == 2


def test_one_bad_rule_in_a_folder_is_told_and_the_others_load(tmp_path: Path) -> None:
    good = "title: T\nid: 3b9c9b8e-4a52-4c6e-9a1a-2a1a1a1a1a1a\nlevel: high\nlogsource: {category: process_creation}\n"
    (tmp_path / "good.yml").write_text(good + "detection: {s: {Image|endswith: /a}, condition: s}\n")
    (tmp_path / "bad.yml").write_text("title: [\n")
    done = shield("replay", "-", "--rules", tmp_path, "--output", "-", stdin=IN_TMP)
    assert done.returncode == 0
    assert "rule left out" in done.stderr
    assert "bad.yml:2" in done.stderr
    (event,) = map(json.loads, done.stdout.splitlines())
    assert [found["rule_id"] for found in event["signals"]] == ["3b9c9b8e-4a52-4c6e-9a1a-2a1a1a1a1a1a"]
    assert event["action"] == "ALERT"


def test_replay_is_the_same_byte_for_byte_and_again_on_its_own_output(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_text(IN_TMP * 3 + IN_TMP.replace("/tmp/a", "C:\\\\Users\\\\x\\\\AppData\\\\a.exe"))
    outputs = [tmp_path / name for name in ("one.jsonl", "two.jsonl", "three.jsonl")]
    for source, output in zip([recorded, recorded, outputs[0]], outputs, strict=True):
        assert shield("replay", source, "--output", output).returncode == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes() == outputs[2].read_bytes()
    assert [(event["score"], event["os"]) for event in events(outputs[0])] == [(20, "linux")] * 3 + [(20, "windows")]


def test_replay_counts_what_is_no_event_and_says_where(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_text(IN_TMP + "not json\n" + '{"category":"no_such"}\n' + IN_TMP[:-20])
    done = shield("replay", recorded, "--output", tmp_path / "out.jsonl")
    assert done.returncode == 2
    for line in (2, 3, 4):
        assert f"recorded.jsonl:{line}: not an event" in done.stderr
    assert "seen 4 = kept 1 + dropped 3 (not_an_event)" in done.stderr
    assert len(events(tmp_path / "out.jsonl")) == 1


def test_replay_refuses_to_overwrite_what_it_reads(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_text(IN_TMP)
    assert shield("replay", recorded, "--output", recorded).returncode == 2
    assert recorded.read_text() == IN_TMP
    assert list(tmp_path.iterdir()) == [recorded]


def test_what_show_prints_can_be_used_as_it_is(tmp_path: Path) -> None:
    for name, option in (("policy", "--policy"), ("config", "--config")):
        shown = tmp_path / f"{name}.yml"
        shown.write_text(shield("show", name).stdout)
        done = shield("run", option, shown, "--rules", "/nowhere")
        assert "/nowhere" in done.stderr
        assert str(shown) not in done.stderr
    schema = json.loads(shield("show", "schema").stdout)
    assert "Event" in json.dumps(schema)


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "shield", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == shield("--version").stdout


@live
def test_doctor_tries_every_source_and_says_what_each_cannot_see() -> None:
    done = shield("doctor", "--json")
    report = json.loads(done.stdout)
    processes = [source["source"] for source in report["sources"] if source["kind"] == "process"]
    assert processes == ["ebpf", "audit", "connector", "psutil"]
    assert all(source["blind_spots"] for source in report["sources"])
    assert report["used"]["process"] in processes
    kinds = {source["kind"] for source in report["sources"]}
    assert done.returncode == (0 if report["used"]["process"] == "ebpf" and kinds <= set(report["used"]) else 1)
