"""`shield rules` and `shield why-not` as a user runs them: what they say, and their exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shield.cli.main import app

RULE = """\
title: A shell
id: 6b1d1a0e-6f0c-4d0e-9a57-2f9a1c2c0b11
name: a_shell
tags: [attack.execution, attack.t1059.004]
logsource: {product: linux, category: process_creation}
detection:
  shell:
    Image|endswith: /bash
  quiet:
    CommandLine|contains: /opt/job
  condition: shell and not quiet
falsepositives: [People]
level: high
shield: {name: shell, points: 30, next: Ask.}
"""
CORRELATION = """\
title: Many shells
id: 6b1d1a0e-6f0c-4d0e-9a57-2f9a1c2c0b12
tags: [attack.execution, attack.t1059]
correlation: {type: event_count, rules: a_shell, timespan: 1m, condition: {gte: 2}}
falsepositives: [People]
level: high
"""
TESTS = "matches:\n  - {name: bash, data: {process: {pid: 1, exe: /bin/bash}}}\npasses: []\n"
HOSTILE = "\x1b[31m\u202e"


def line(exe: str, cmdline: str = "", seconds: int = 0) -> str:
    process = {"pid": 7, "exe": exe, "cmdline": cmdline}
    made = {"category": "process_start", "ts": 1_767_225_600 + seconds, "host": "h", "data": {"process": process}}
    return json.dumps(made) + "\n"


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIELD_CACHE", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yml").write_text(RULE)
    (tmp_path / "rules" / "a.test.yml").write_text(TESTS)
    recorded = line("/bin/cat") + line("/bin/bash", f"bash {HOSTILE}") + line("/bin/bash", "bash /opt/job/x", 5)
    (tmp_path / "events.jsonl").write_text(recorded)
    return tmp_path / "rules"


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert "\x1b" not in result.output
    assert "\u202e" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_check_of_good_rules_ends_well(folder: Path) -> None:
    result = run("rules", "check", folder)
    assert (result.exit_code, result.stdout) == (0, "1 rule in 1 file: 0 errors, 0 warnings\n")


def test_check_tells_errors_and_warnings_apart(folder: Path) -> None:
    (folder / "b.yml").write_text(RULE.replace("0b11", "0b13").replace("level: high\n", ""))
    assert run("rules", "check", folder).exit_code == 0
    assert run("rules", "check", folder, "--strict").exit_code == 1
    (folder / "c.yml").write_text("title: [\n")
    result = run("rules", "check", folder)
    assert result.exit_code == 1
    assert f"{folder}/b.yml:1: warning: level: there is none" in result.stdout
    assert f"{folder}/c.yml:2: error: not valid YAML" in result.stdout
    assert result.stdout.endswith("2 rules in 3 files: 1 error, 1 warning\n")


def test_check_as_json(folder: Path) -> None:
    (folder / "b.yml").write_text(RULE)
    (finding,) = json.loads(run("rules", "check", folder, "--json").stdout)["findings"]
    assert (finding["severity"], finding["line"], finding["key"]) == ("error", 2, "id")


@pytest.mark.parametrize("command", ["check", "test", "coverage", "list"])
def test_a_missing_place_is_refused(command: str, tmp_path: Path) -> None:
    result = run("rules", command, tmp_path / "none")
    assert result.exit_code == 2
    assert "there is no such file or folder" in result.stderr


def test_a_rule_of_hostile_text_is_checked_and_shown_harmlessly(folder: Path) -> None:
    text = (
        RULE.replace("0b11", "0b15")
        .replace("A shell", '"\\e[31m\\u202e"')
        .replace("/bash", f"'{HOSTILE[5:]}'")
        .replace("Image", "Imge")
    )
    (folder / "h\x1b[31m.yml").write_text(text)
    assert run("rules", "check", folder).exit_code == 0
    assert run("rules", "show", "6b1d1a0e-6f0c-4d0e-9a57-2f9a1c2c0b15", "--rules", folder).exit_code == 0
    assert run("rules", "check", folder, "--json").exit_code == 0


def test_test_passes_and_fails_with_the_reason(folder: Path) -> None:
    result = run("rules", "test", folder)
    assert (result.exit_code, result.stdout) == (0, "1 example of 1 file tried, 0 failed; 0 rules without tests\n")
    (folder / "a.test.yml").write_text(TESTS.replace("/bin/bash", '"/bin/z\\e[31m"'))
    result = run("rules", "test", folder)
    assert result.exit_code == 1
    assert "shell: 'bash' should match and does not: Image ends with '/bash' is not so" in result.stdout


def test_show_tells_everything_about_a_rule(folder: Path) -> None:
    for name in ("shell", "a_shell", "A SHELL", "6B1D1A0E-6f0c-4d0e-9a57-2f9a1c2c0b11"):
        result = run("rules", "show", name, "--rules", folder)
        assert result.exit_code == 0
        for expected in (
            "product linux, category process_creation",
            "30 (the rule's own)",
            "execution, T1059.004",
            "Ask.",
            "People",
            "Image ends with '/bash'",
            "not this",
            "a.test.yml",
        ):
            assert expected in result.stdout


def test_show_of_an_unknown_rule_offers_similar_ones(folder: Path) -> None:
    result = run("rules", "show", "shel", "--rules", folder)
    assert result.exit_code == 2
    assert "similar: shell" in result.stderr


def test_coverage_shows_techniques_and_writes_a_layer(folder: Path, tmp_path: Path) -> None:
    (folder / "w.yml").write_text(RULE.replace("0b11", "0b16").replace("product: linux", "product: windows"))
    result = run("rules", "coverage", folder, "--navigator", tmp_path / "layer.json", "--all")
    assert result.exit_code == 0
    assert "T1059.004 2" in result.stdout
    assert "1 of 2 rules can see something on this linux host" in result.stdout
    assert "about windows" in result.stdout
    assert json.loads((tmp_path / "layer.json").read_text())["techniques"][0]["score"] == 2


def test_a_layer_that_cannot_be_written_is_refused(folder: Path, tmp_path: Path) -> None:
    result = run("rules", "coverage", folder, "--navigator", tmp_path / "none" / "layer.json")
    assert result.exit_code == 2


def test_profile_counts_candidates_and_matches(folder: Path) -> None:
    result = run("rules", "profile", folder.parent / "events.jsonl", "--rules", folder, "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["events"] == 3
    (cost,) = told["rules"]
    assert (cost["name"], cost["candidates"], cost["matches"]) == ("shell", 2, 1)
    assert "3 events" in run("rules", "profile", folder.parent / "events.jsonl", "--rules", folder).stdout


def test_profile_of_no_events_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert run("rules", "profile", tmp_path / "empty", "--rules", folder).exit_code == 2
    assert run("rules", "profile", tmp_path / "none", "--rules", folder).exit_code == 2


def test_why_not_shows_the_nearest_events_of_a_file(folder: Path) -> None:
    result = run("why-not", "shell", folder.parent / "events.jsonl", "--rules", folder)
    assert result.exit_code == 0
    assert "an exception hides it: CommandLine contains '/opt/job', 'bash /opt/job/x'" in result.stdout
    assert "Image ends with '/bash' is not so, it is '/bin/cat'" in result.stdout
    assert "3 events: 1 matched, 2 did not, 0 of another log source" in result.stdout


def test_why_not_takes_the_file_of_a_rule_and_an_event_by_its_id(folder: Path, tmp_path: Path) -> None:
    written = tmp_path / "out.jsonl"
    assert run("replay", folder.parent / "events.jsonl", "--rules", folder, "--output", written).exit_code == 0
    ids = [json.loads(each)["event_id"] for each in written.read_text().splitlines()]
    result = run("why-not", folder / "a.yml", ids[1], "--events", written)
    assert result.exit_code == 0
    assert result.stdout.endswith("it matches\n")
    assert run("why-not", "shell", "ffff", "--events", written, "--rules", folder).exit_code == 1


def test_why_not_says_that_a_rule_is_off_or_serves_a_correlation(folder: Path, tmp_path: Path) -> None:
    (folder / "c.yml").write_text(CORRELATION)
    (tmp_path / "policy.yml").write_text("version: 1\nweights: {shell: 0}\n")
    recorded = folder.parent / "events.jsonl"
    result = run("why-not", "shell", recorded, "--rules", folder, "--policy", tmp_path / "policy.yml")
    assert "it gives no signal: its points are 0 (weights.shell of the policy)" in result.stdout
    assert "it gives no signal of its own: Many shells refers to it" in result.stdout
    result = run("why-not", "Many shells", recorded, "--rules", folder)
    assert "of 3 events shell matched 1; asked for event_count gte 2 within 1m" in result.stdout
    assert "it did not fire" in result.stdout


def test_damage_in_a_recorded_file_is_told_and_the_exit_code_is_2(folder: Path) -> None:
    recorded = folder.parent / "events.jsonl"
    recorded.write_text(recorded.read_text() + "{torn\n")
    assert run("why-not", "shell", recorded, "--rules", folder).exit_code == 2
    assert run("rules", "profile", recorded, "--rules", folder).exit_code == 2
