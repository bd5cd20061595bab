"""`shield inventory persistence` as a user meets it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shield.agent.statefolder import StateFolder
from shield.cli.main import app
from shield.collector.linux.persistence.drift import PersistenceOptions, PersistenceSource
from shield.collector.linux.persistence.state import KEPT_AS

run = CliRunner()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/cron.d").mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "etc/cron.d/job").write_text("* * * * * root /opt/x --password hunter2 \x1b[31m\n")
    (tmp_path / "etc/profile").write_text("")
    return tmp_path


def test_the_table_groups_by_mechanism_and_is_safe_for_a_terminal(root: Path) -> None:
    told = run.invoke(app, ["inventory", "persistence", "--root", str(root)])
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert "cron" in lines
    assert "shell_startup" in lines
    assert "\x1b" not in told.stdout
    assert "hunter2" not in told.stdout
    assert "2 items of 2 mechanisms" in told.stdout


def test_json_is_one_object_a_line(root: Path) -> None:
    told = run.invoke(app, ["inventory", "persistence", "--json", "--root", str(root)])
    items = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(one["mechanism"], one["path"], one["owner"]) for one in items] == [
        ("cron", "/etc/cron.d/job", "root"),
        ("shell_startup", "/etc/profile", "root"),
    ]
    assert "\x1b" not in told.stdout


def test_one_mechanism_can_be_chosen_and_an_unknown_one_is_refused(root: Path) -> None:
    one = run.invoke(app, ["inventory", "persistence", "--json", "--root", str(root), "--mechanism", "cron"])
    assert len(one.stdout.splitlines()) == 1
    assert run.invoke(app, ["inventory", "persistence", "--mechanism", "none"]).exit_code == 2
    assert run.invoke(app, ["inventory", "persistence", "--root", str(root / "none")]).exit_code == 2


def test_the_time_at_which_the_agent_first_saw_an_item_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = PersistenceSource(PersistenceOptions())
    source.open()
    source.close()
    monkeypatch.setenv("SHIELD_STATE", str(tmp_path))
    tmp_path.chmod(0o700)
    StateFolder(tmp_path).write(KEPT_AS, source.state())
    told = run.invoke(app, ["inventory", "persistence", "--json"])
    times = [json.loads(line)["first_seen_ns"] for line in told.stdout.splitlines()]
    assert times
    assert all(times)
