"""The demonstration: each of its attacks is noticed, and nothing of it stays."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "demonstrate"
CATEGORIES = {
    "process": "process_start",
    "provenance": "process_start",
    "memory": "process_start",
    "network": "network_connection",
    "port": "network_listen",
    "dns": "dns_query",
    "file": "file_attribute",
    "identity": "auth_success",
    "accounts": "account_change",
    "persistence": "persistence_change",
    "privileges": "privilege_change",
    "kernel": "module_load",
}
"""Each chain, and what kind of event it must be noticed by."""

pytestmark = [
    pytest.mark.system,
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("ip"), reason="needs ip (apt-get install iproute2)"),
]


def demonstrate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=300)


def table() -> dict[str, str]:
    """The rule that should notice each chain, as the script itself says."""
    lines = SCRIPT.read_text().partition("\nchains='\n")[2].partition("\n'\n")[0].splitlines()
    return {name: rule for name, rule, *_ in map(str.split, lines)}


@pytest.fixture(autouse=True)
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mark what a test starts by a variable in its environment: others may run the demonstration at the same time."""
    monkeypatch.setenv("DEMONSTRATED_FOR", str(tmp_path))


def own() -> list[psutil.Process]:
    """The processes that this test's demonstration has started and that still run, the script included."""
    return [one for one in psutil.process_iter() if one.pid != os.getpid() and _is_own(one)]


def _is_own(process: psutil.Process) -> bool:
    with suppress(psutil.Error, OSError):
        return process.environ().get("DEMONSTRATED_FOR") == os.environ["DEMONSTRATED_FOR"]
    return False


def namespaces() -> set[str]:
    """The mount and network namespaces that these are in and this process is not."""

    def of(process: int) -> set[str]:
        return {str(Path(f"/proc/{process}/ns/{kind}").readlink()) for kind in ("mnt", "net")}

    return set[str]().union(*(of(process.pid) for process in own())) - of(os.getpid())


def traces() -> dict[str, Any]:
    """What could be left behind on the host beside processes and the folder: accounts, cron jobs, mounts, listeners."""
    return {
        "accounts": Path("/etc/passwd").read_bytes(),
        "jobs": sorted(Path("/etc").glob("cron.d/*")),
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "demo" in line],
        "listeners": [one.laddr for one in psutil.net_connections() if one.laddr and one.laddr.port in (53, 31337)],
    }


def started(*arguments: str | Path) -> "tuple[subprocess.Popen[str], Path]":
    """The demonstration as soon as its agent watches, and its folder."""
    # Where the tests run in the background, SIGINT is ignored, and a script can't change that by itself.
    command = ["env", "--default-signal=INT", SCRIPT, *arguments]
    script = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert script.stdout
    assert "watches" in script.stdout.readline(), script.communicate()
    (agent,) = (words for words in map(psutil.Process.cmdline, own()) if "--config" in words)
    return script, Path(agent[agent.index("--config") + 1]).parent


def test_every_chain_is_noticed_by_its_own_kind_of_event_and_nothing_is_left_behind(tmp_path: Path) -> None:
    before, kept = traces(), tmp_path / "events.jsonl"
    script, place = started("--keep", kept)
    said, complaints = script.communicate(timeout=300)
    assert script.returncode == 0, said + complaints
    assert said.splitlines()[-1] == f"{len(CATEGORIES)} of {len(CATEGORIES)} noticed."

    rules, events = table(), [json.loads(line) for line in kept.read_text().splitlines()]
    assert rules.keys() == CATEGORIES.keys()
    for chain, category in CATEGORIES.items():
        found = [event for event in events if rules[chain] in {signal["name"] for signal in event["signals"]}]
        assert {event["category"] for event in found} == {category}, chain
        assert max(event["score"] for event in found) >= 40, chain
        (line,) = (line for line in said.splitlines() if line.startswith(f"{chain} "))
        assert rules[chain] in line

    assert not place.exists()
    assert traces() == before
    assert own() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_cleans_up_as_well(number: signal.Signals) -> None:
    before = traces()
    script, place = started("process", "kernel")
    assert script.stdout
    assert script.stdout.readline().startswith("process ")
    script.send_signal(number)
    said, _ = script.communicate(timeout=60)
    assert script.returncode == 130
    assert "noticed" not in said
    assert not place.exists()
    assert traces() == before
    assert own() == []


def test_a_killed_demonstration_takes_its_agent_and_namespaces_along() -> None:
    before = traces()
    script, place = started("process")
    assert namespaces()
    script.kill()
    script.communicate(timeout=60)
    while own():
        time.sleep(0.1)
    place.rmdir()  # which works only on an empty one
    assert traces() == before


def test_the_variable_that_marks_its_second_half_does_not_make_it_mount_over_the_host() -> None:
    before = traces()
    command = ["env", "SHIELD_DEMONSTRATION=1", SCRIPT, "accounts"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert traces() == before


def test_what_it_has_not_got_is_an_error_in_words() -> None:
    for argument, words in (("nonsense", "there is no chain nonsense"), ("--fast", "there is no option --fast")):
        done = demonstrate(argument)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr


def test_the_list_names_every_chain_with_its_technique() -> None:
    lines = demonstrate("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(CATEGORIES)
    assert all(line.split()[1].startswith("T1") for line in lines)
