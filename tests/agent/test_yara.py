"""Scanning with YARA rules: what is found, what is never opened, and what survives a bad rule or a dead scanner."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shield.agent import yara, yara_rules
from shield.agent.configuration import YaraSettings
from shield.agent.yara import Finding, YaraScanner
from shield.agent.yara_message import Ask, Order
from shield.agent.yara_rules import BadYaraRules, compile_rules
from shield.event import Category, Data, Event, File, Process
from shield.policy.schema import Policy
from shield.text import decode

pytest.importorskip("yara_x", reason="yara-x, an extra, is not installed")

from shield.agent.yara_worker import Worker

RULE = """rule evil_marker : loader t1105 {
  meta:
    description = "A marker of evil"
    score = 55
    mitre_attack = "T1059.004"
  strings:
    $marker = "EVIL-MARKER"
  condition:
    $marker
}
"""
POLICY = Policy(version=1)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "evil.yar").write_text(RULE)
    return folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scanner(rules: Path, clock: Clock) -> Iterator[YaraScanner]:
    scanner = YaraScanner(YaraSettings(rules=(str(rules),), queue=8), POLICY, clock)
    yield scanner
    scanner.close()


def written(path: Path | str, category: Category = "file_write") -> Event:
    return event(category, Data(file=File(path=str(path))))


def event(category: Category, data: Data) -> Event:
    return Event(1, "h", category, "ALLOW", 0, "low_signal", data, "1", "", "story-7", ts_ns=10**9)


def settle(scanner: YaraScanner, until_s: float = 20) -> list[Finding]:
    """Everything found until nothing is pending."""
    found: list[Finding] = []
    end = time.monotonic() + until_s
    while time.monotonic() < end:
        found += scanner.findings()
        if not scanner.ledger().pending:
            break
        time.sleep(0.01)
    assert scanner.ledger().balanced
    return found


def test_a_written_file_that_a_rule_matches_is_a_finding_of_the_same_story(
    scanner: YaraScanner, tmp_path: Path
) -> None:
    path = tmp_path / "drop"
    path.write_bytes(b"\x00\x1b[31m" + b"EVIL-MARKER" + b"\x00")
    scanner.offer(written(path))
    (finding,) = settle(scanner)
    assert finding.event.correlation_id == "story-7"
    (signal_,) = finding.signals
    assert signal_.rule_id == "yara:evil.evil_marker"
    assert signal_.points == 55
    assert signal_.field == "file.path"
    assert signal_.value == str(path)
    assert signal_.attack == ("T1059.004", "T1105")
    assert "loader" in signal_.pattern
    assert signal_.further[0].value == "EVIL-MARKER"
    assert signal_.title == "A marker of evil"


def test_the_policy_weighs_a_rule_before_its_author(rules: Path, tmp_path: Path) -> None:
    scanner = YaraScanner(YaraSettings(rules=(str(rules),)), Policy(version=1, weights={"yara:evil.evil_marker": 7}))
    try:
        (tmp_path / "drop").write_bytes(b"EVIL-MARKER")
        scanner.offer(written(tmp_path / "drop"))
        assert settle(scanner)[0].signals[0].points == 7
    finally:
        scanner.close()


def test_a_running_program_is_scanned_by_the_file_that_runs(scanner: YaraScanner, tmp_path: Path) -> None:
    program = tmp_path / "sleeper"
    shutil.copy("/bin/sleep", program)
    with program.open("ab") as file:
        file.write(b"EVIL-MARKER")
    program.chmod(0o755)
    inode = program.stat().st_ino
    running = subprocess.Popen([program, "60"])
    try:
        program.unlink()
        program.write_bytes(b"harmless, and there after the start")
        started = Data(process=Process(pid=running.pid, exe=str(program), exe_inode=inode))
        scanner.offer(event("process_start", started))
        (finding,) = settle(scanner)
        assert finding.signals[0].field == "process.exe"
    finally:
        running.kill()
        running.wait()


def test_a_program_replaced_since_it_ran_is_not_taken_for_it(scanner: YaraScanner, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"EVIL-MARKER")
    data = Data(process=Process(pid=os.getpid(), exe=str(other), exe_inode=other.stat().st_ino + 1))
    scanner.offer(event("process_start", data))
    assert settle(scanner) == []
    assert scanner.ledger().filtered == {"another_file": 1}


def test_each_state_of_a_file_is_scanned_once(scanner: YaraScanner, tmp_path: Path) -> None:
    path = tmp_path / "drop"
    path.write_bytes(b"EVIL-MARKER")
    for _ in range(2):
        scanner.offer(written(path))
        settle(scanner)
    assert scanner.ledger().kept == 1
    assert scanner.ledger().filtered == {"unchanged": 1}
    path.write_bytes(b"EVIL-MARKER again")
    scanner.offer(written(path))
    assert len(settle(scanner)) == 1


def test_nothing_but_regular_files_is_opened(scanner: YaraScanner, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "target").write_bytes(b"EVIL-MARKER")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "link", tmp_path / "socket", tmp_path, Path("/dev/zero")):
            scanner.offer(written(path))
        assert settle(scanner) == []
    assert scanner.ledger().filtered == {"not_a_regular_file": 5}


def test_paths_that_are_no_text_are_scanned_and_those_that_are_gone_counted(
    scanner: YaraScanner, tmp_path: Path
) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9\n\x1b[2J"
    with open(raw, "wb") as file:  # noqa: PTH123
        file.write(b"EVIL-MARKER")
    scanner.offer(written(decode(raw)))
    scanner.offer(written(tmp_path / "never"))
    (finding,) = settle(scanner)
    assert finding.path == decode(raw)
    assert scanner.ledger().filtered == {"gone": 1}


def test_a_file_that_is_too_large_is_left_alone(rules: Path, tmp_path: Path) -> None:
    worker = Worker()
    worker.order(Order((str(rules),), max_bytes=10, timeout_seconds=5))
    (tmp_path / "large").write_bytes(b"EVIL-MARKER" * 10)
    assert worker.answer(Ask(1, str(tmp_path / "large"))).outcome == "too_large"


def test_a_full_queue_is_counted_and_repeats_wait_once(scanner: YaraScanner, tmp_path: Path) -> None:
    for number in range(10):
        scanner.offer(written(tmp_path / str(number)))
    scanner.offer(written(tmp_path / "0"))
    assert scanner.dropped == {"queue_full": 2}
    assert scanner.ledger().filtered == {"already_waiting": 1}
    settle(scanner)


def test_a_scanner_that_dies_is_replaced_and_what_it_had_is_counted(
    scanner: YaraScanner, tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "drop"
    path.write_bytes(b"EVIL-MARKER")
    worker = scanner._worker
    assert worker
    os.kill(worker._process.pid, signal.SIGSTOP)
    scanner.offer(written(path))
    scanner.findings()
    clock.now += 16  # past the time limit and the grace
    scanner.findings()
    assert scanner.dropped == {"hung": 1}
    assert scanner.news()
    clock.now += 11
    scanner.offer(written(path))
    assert len(settle(scanner)) == 1


def test_bad_new_rules_leave_the_old_ones_in_force(
    scanner: YaraScanner, rules: Path, tmp_path: Path, clock: Clock
) -> None:
    (rules / "evil.yar").write_text("rule broken {\n condition: $nowhere }\n")
    news = _changed(scanner, clock)
    assert f"{rules}/evil.yar:2: unknown pattern" in news[0]
    assert "old YARA rules stay in force" in news[0]
    (tmp_path / "drop").write_bytes(b"EVIL-MARKER")
    scanner.offer(written(tmp_path / "drop"))
    assert len(settle(scanner)) == 1


def test_new_rules_are_used_without_a_restart(scanner: YaraScanner, rules: Path, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "drop").write_bytes(b"EVIL-MARKER OTHER")
    scanner.offer(written(tmp_path / "drop"))
    settle(scanner)
    (rules / "more.yar").write_text(RULE.replace("EVIL-MARKER", "OTHER").replace("evil_marker", "other"))
    assert not _changed(scanner, clock, rules=2)
    scanner.offer(written(tmp_path / "drop"))
    (finding,) = settle(scanner)
    assert {one.rule_id for one in finding.signals} == {"yara:evil.evil_marker", "yara:more.other"}


def _changed(scanner: YaraScanner, clock: Clock, rules: int = 0) -> list[str]:
    """Let the scanner notice changed rules, and return its news."""
    end = time.monotonic() + 20
    for _ in range(2):
        clock.now += 6
        scanner.findings()
    news: list[str] = []
    while time.monotonic() < end and not news and scanner.rules != rules:
        time.sleep(0.01)
        scanner.findings()
        news = scanner.news()
    return news


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rule a { condition: }", "bad.yar:1: syntax error"),
        ('\n\nrule a { strings: $a = "x" condition: true }', "bad.yar:3: unused pattern"),
        ('include "/etc/passwd"', "name the included files"),
    ],
)
def test_a_bad_rule_is_told_with_its_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.yar").write_text(text)
    with pytest.raises(BadYaraRules, match=told):
        compile_rules([str(tmp_path / "bad.yar")])


def test_a_bad_file_in_a_folder_leaves_the_others(rules: Path) -> None:
    (rules / "bad.yar").write_text("rule")
    (rules / "latin.yar").write_bytes(b"// caf\xe9")
    compiled, problems = compile_rules([str(rules)])
    assert len(list(compiled)) == 1
    assert ["bad.yar" in problem or "UTF-8" in problem for problem in problems] == [True, True]


def test_files_of_the_same_name_have_their_own_namespaces(rules: Path) -> None:
    (rules / "deep").mkdir()
    shutil.copy(rules / "evil.yar", rules / "deep" / "evil.yar")
    compiled, _ = compile_rules([str(rules)])
    assert {rule.namespace for rule in compiled} == {"evil", "evil-2"}


def test_a_missing_place_and_a_missing_yara_x_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(BadYaraRules, match="no such file or folder"):
        YaraScanner(YaraSettings(rules=(str(tmp_path / "none"),)), POLICY)
    monkeypatch.setattr(yara_rules, "find_spec", lambda _name: None)
    with pytest.raises(BadYaraRules, match=r"cyberdudebivash-shield\[yara\]"):
        YaraScanner(YaraSettings(rules=(str(tmp_path),)), POLICY)


def test_rules_are_compiled_again_when_that_is_asked_for(scanner: YaraScanner, rules: Path) -> None:
    (rules / "more.yar").write_text("rule more { condition: false }")
    scanner.renew()
    end = time.monotonic() + 20
    while scanner.rules == 1 and time.monotonic() < end:
        assert scanner.findings() == []
        time.sleep(0.01)
    assert scanner.rules == 2


def test_every_loss_reason_has_a_remedy() -> None:
    assert set(yara.DROPPED) == set(yara.REMEDIES)
