"""The public SigmaHQ rules load, and match the events that were recorded for them.

They aren't part of the project. SHIELD_SIGMAHQ names a checkout's folder; without it, ../shared/data/sigmahq is tried,
and the recorded events are looked for in `regression` (SigmaHQ's `regression_data`) beside it.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shield.event import Ancestor, Data, Event, Process, User
from shield.policy.document import DocumentError
from shield.scorer.sigma.condition import comparisons
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.parse import parse
from shield.scorer.sigma.rule import Rule

RULES = Path(os.environ.get("SHIELD_SIGMAHQ", Path(__file__).parents[4] / "shared" / "data" / "sigmahq"))
CASES = RULES.parent / "regression"
KNOWN = {
    "Image",
    "CommandLine",
    "CurrentDirectory",
    "ParentImage",
    "ParentCommandLine",
    "ProcessId",
    "ParentProcessId",
    "User",
    "ParentUser",
    "TerminalSessionId",
}

pytestmark = pytest.mark.skipif(not RULES.is_dir(), reason=f"no SigmaHQ rules at {RULES}; set SHIELD_SIGMAHQ")


@pytest.fixture(scope="module")
def outcomes() -> dict[Path, list[Rule] | DocumentError]:
    """What became of each file; any other error fails the tests."""
    result: dict[Path, list[Rule] | DocumentError] = {}
    for path in sorted(RULES.rglob("*.yml")):
        try:
            result[path] = parse(path.read_bytes(), str(path))
        except DocumentError as error:
            result[path] = error
    return result


def test_every_file_loads_or_is_refused_with_file_and_line(outcomes: dict[Path, list[Rule] | DocumentError]) -> None:
    refused = {path: outcome for path, outcome in outcomes.items() if isinstance(outcome, DocumentError)}
    assert all(str(error).startswith(f"{path}:{error.line}: ") and error.line for path, error in refused.items())
    assert len(refused) < 0.01 * len(outcomes)


@pytest.mark.parametrize("platform", ["linux", "windows"])
def test_nearly_all_rules_about_processes_load(outcomes: dict[Path, list[Rule] | DocumentError], platform: str) -> None:
    found = [outcome for path, outcome in outcomes.items() if path.parts[-3:-1] == (platform, "process_creation")]
    assert found
    assert sum(isinstance(outcome, list) for outcome in found) >= 0.99 * len(found)


def test_recorded_process_events_match_the_rules_they_were_recorded_for(
    outcomes: dict[Path, list[Rule] | DocumentError],
) -> None:
    if not CASES.is_dir():
        pytest.skip(f"no recorded events at {CASES}")
    rules = {rule.id: rule for outcome in outcomes.values() if isinstance(outcome, list) for rule in outcome}
    together = Matcher(rules.values(), dict.fromkeys(rules, 1))
    count: Counter[str] = Counter()
    missed: list[str] = []
    for path in sorted(CASES.rglob("*.json")):
        rule, recorded = rules.get(path.stem), events(path.read_text())
        if path.parent.parent.name != "process_creation" or rule is None or not recorded:
            continue
        if any(signal.rule_id == rule.id for one in recorded for signal in together.match(one)):
            count["matched"] += 1
        elif {comparison.field for comparison in comparisons(rule.condition)} <= KNOWN:
            missed.append(path.name)
        else:
            count["needs a field that events don't have"] += 1
    assert missed == []
    assert count["matched"] > 40, count


def events(text: str) -> list[Event]:
    """The process creations among the events in a file, which stand one after another."""
    found: list[Event] = []
    while text := text.strip():
        recorded, end = json.JSONDecoder().raw_decode(text)
        text = text[end:]
        if recorded["Event"]["System"]["EventID"] == 1:
            found.append(event(recorded["Event"]["EventData"]))
    return found


def event(sysmon: dict[str, Any]) -> Event:
    """Sysmon's process creation (event id 1) as an event."""
    text = {name: str(value or "") for name, value in sysmon.items()}
    process = Process(
        pid=sysmon["ProcessId"],
        ppid=sysmon["ParentProcessId"],
        exe=text["Image"],
        name=text["Image"].rpartition("\\")[2],
        cmdline=text["CommandLine"],
        cwd=text["CurrentDirectory"],
    )
    parent = Ancestor(
        pid=sysmon["ParentProcessId"],
        exe=text["ParentImage"],
        cmdline=text["ParentCommandLine"],
        user=text.get("ParentUser", ""),
    )
    data = Data(process=process, parent=parent, ancestors=(parent,), user=User(name=text["User"]))
    return Event(1, "host", "process_start", "ALLOW", 0, "", data, "", "", "", os="windows")
