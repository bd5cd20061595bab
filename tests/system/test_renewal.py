"""A running agent: new rules, a new policy and new indicators come into force, and it remembers what it has learnt."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SHIELD = Path(sys.executable).with_name("shield")

pytestmark = [pytest.mark.system, pytest.mark.live]

RULE = """title: {name}
id: {id}
logsource: {{category: process_creation}}
detection: {{selection: {{Image|endswith: /{name}}}, condition: selection}}
level: high
"""


class Agent:
    """A `shield run` of its own, with its configuration, rules, policy, indicators and state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "events.jsonl"
        self.config = folder / "shield.yml"
        (folder / "rules").mkdir()
        self.rule("first_marker", 1)
        (folder / "policy.yml").write_text("version: 1\n")
        (folder / "feed.txt").write_text("indicated.example\n")
        places = {name: str(folder / name) for name in ("rules", "policy.yml", "state", "feed.txt")}
        self.config.write_text(
            f"source: {{use: psutil, poll_seconds: 0.1}}\nheartbeat_seconds: 1\nrules: [{places['rules']}]\n"
            f"policy: {places['policy.yml']}\nstate: {places['state']}\nindicators: [{places['feed.txt']}]\n"
        )

    def rule(self, name: str, number: int) -> Path:
        path = self.folder / "rules" / f"{name}.yml"
        path.write_text(RULE.format(name=name, id=f"{str(number) * 8}-1111-4111-8111-111111111111"))
        return path

    @contextmanager
    def running(self, **streams: Any) -> Iterator[subprocess.Popen[str]]:
        command = [SHIELD, "run", "--config", self.config, "--output", self.output, "--no-console"]
        streams = {"stderr": subprocess.PIPE} | streams
        before = len(self.events())
        with subprocess.Popen(command, text=True, **streams) as process:
            try:
                self.until(lambda event: event["category"] == "heartbeat", since=before)
                yield process
            finally:
                process.send_signal(signal.SIGTERM)

    def events(self) -> list[dict[str, Any]]:
        text = self.output.read_text() if self.output.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def until(
        self, wanted: Callable[[dict[str, Any]], bool], also: Callable[[], object] = lambda: None, since: int = 0
    ) -> dict[str, Any]:
        """The first event that is wanted, from the number `since` on; `also` is done again and again meanwhile."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            also()
            for event in self.events()[since:]:
                if wanted(event):
                    return event
            time.sleep(0.1)
        raise AssertionError("it did not come")


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


def changes(event: dict[str, Any]) -> str:
    return " ".join(event["data"].get("health", {}).get("changes", ()))


def test_hangup_renews_rules_and_policy_and_a_bad_set_changes_nothing(agent: Agent, tmp_path: Path) -> None:
    second = tmp_path / "second_marker"
    shutil.copy("/bin/sleep", second)
    with agent.running() as process:
        good = agent.rule("second_marker", 2).read_text()
        (tmp_path / "policy.yml").write_text("version: 2\nweights: {second_marker: 99}\n")
        process.send_signal(signal.SIGHUP)
        told = agent.until(lambda event: "policy: 1+sha256:" in changes(event))
        assert "rules: 1 before, 2 now" in changes(told)
        found = agent.until(
            lambda event: event["score"] == 99, also=lambda: subprocess.run([second, "0.3"], check=True)
        )
        assert found["rationale"] == "second_marker"
        assert found["policy_version"].startswith("2+sha256:")

        agent.rule("second_marker", 2).write_text(good.replace("selection}\n", "nothing}\n"))
        process.send_signal(signal.SIGHUP)
        refused = agent.until(lambda event: "new rules" in event["data"].get("tamper", {}).get("what", ""))
        assert f"{tmp_path}/rules/second_marker.yml:4" in refused["data"]["tamper"]["detail"]
        assert refused["action"] == "ALERT"
        process.send_signal(signal.SIGTERM)
        _, summary = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "OUT OF BALANCE" not in summary
    assert agent.events()[-1]["data"]["health"]["rules"] == 2
    assert [event["seq"] for event in agent.events()] == list(range(1, len(agent.events()) + 1))


def test_new_rules_are_seen_without_being_told(agent: Agent) -> None:
    with agent.running():
        agent.rule("second_marker", 2)
        agent.until(lambda event: "rules: 1 before, 2 now" in changes(event))


def test_a_terminal_that_goes_away_ends_the_agent_cleanly(agent: Agent) -> None:
    leader, follower = pty.openpty()
    with agent.running(stderr=follower) as process:
        os.close(follower)
        os.close(leader)
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
    assert agent.events()[-1]["category"] == "heartbeat"


def test_what_it_has_learnt_is_shown_exported_and_reset(agent: Agent, tmp_path: Path) -> None:
    def baseline(*words: str) -> subprocess.CompletedProcess[str]:
        command = [SHIELD, "baseline", *words, "--config", agent.config]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert "not there yet" in baseline("show").stderr
    with agent.running():
        subprocess.run(["/bin/sleep", "0.5"], check=True)
    with agent.running():
        assert "another run of Shield uses it" in baseline("reset", "--yes").stderr
    assert "learning 0 of 14 days" in baseline("show").stdout
    assert json.loads(baseline("show", "--json").stdout)["held"] > 0
    assert baseline("show", "--kind", "executable").returncode == 0
    assert baseline("export", str(tmp_path / "things.jsonl")).returncode == 0
    assert (tmp_path / "things.jsonl").exists()
    refused = baseline("reset")
    assert (refused.returncode, (tmp_path / "state/baseline").exists()) == (2, True)
    assert "--yes" in refused.stderr
    assert baseline("reset", "--yes").returncode == 0
    left = {path.name for path in (tmp_path / "state").iterdir()}
    assert "baseline.reset" in left
    assert "baseline" not in left


def test_killed_while_it_compiles_it_starts_again_with_the_new_rules(agent: Agent) -> None:
    with agent.running() as process:
        agent.rule("second_marker", 2)
        process.send_signal(signal.SIGHUP)
        process.kill()
    with agent.running():
        beats = [event["data"]["health"] for event in agent.events() if event["category"] == "heartbeat"]
        assert beats[-1]["rules"] == 2
