"""The demonstration: each of its attacks is noticed, and nothing of it stays."""

import json
import shutil
import signal
import subprocess
import time
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


def own(pids: set[int] | None = None) -> set[int]:
    """The processes that are the demonstration's by their command line, or are among `pids` and still there."""
    told = {
        one.pid
        for one in psutil.process_iter(["cmdline"])
        if "shield-demo" in " ".join(one.info["cmdline"] or ()) or str(SCRIPT) in (one.info["cmdline"] or ())
    }
    return told | {pid for pid in pids or () if psutil.pid_exists(pid)}


def namespaces() -> set[str]:
    """The mount and network namespaces that the demonstration's processes are in, and this one is not."""

    def of(process: int | str) -> set[str]:
        return {str(Path(f"/proc/{process}/ns/{kind}").readlink()) for kind in ("mnt", "net")}

    return set[str]().union(*map(of, own())) - of("self")


def traces() -> dict[str, Any]:
    """All that could be left behind: accounts, cron jobs, mounts, listeners, folders."""
    return {
        "accounts": Path("/etc/passwd").read_bytes(),
        "jobs": sorted(Path("/etc").glob("cron.d/*")),
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "demo" in line],
        "listeners": [one.laddr for one in psutil.net_connections() if one.laddr and one.laddr.port in (53, 31337)],
        "folders": list(Path("/tmp").glob("shield-demo.*")),
    }


def test_every_chain_is_noticed_by_its_own_kind_of_event_and_nothing_is_left_behind(tmp_path: Path) -> None:
    before, kept = traces(), tmp_path / "events.jsonl"
    done = demonstrate("--keep", kept)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{len(CATEGORIES)} of {len(CATEGORIES)} noticed."

    rules, events = table(), [json.loads(line) for line in kept.read_text().splitlines()]
    assert rules.keys() == CATEGORIES.keys()
    for chain, category in CATEGORIES.items():
        found = [event for event in events if rules[chain] in {signal["name"] for signal in event["signals"]}]
        assert {event["category"] for event in found} == {category}, chain
        assert max(event["score"] for event in found) >= 40, chain
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"{chain} "))
        assert rules[chain] in line

    assert traces() == before
    assert own() == set()


def started() -> "subprocess.Popen[str]":
    """The demonstration, watching, after the first of its chains."""
    # Where the tests run in the background, SIGINT is ignored, and a script can't change that by itself.
    command = ["env", "--default-signal=INT", SCRIPT, "process", "kernel"]
    script = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert script.stdout
    while not (line := script.stdout.readline()).startswith("process "):
        assert line, script.communicate()[1]
    return script


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_cleans_up_as_well(number: signal.Signals) -> None:
    before = traces()
    script = started()
    script.send_signal(number)
    said, _ = script.communicate(timeout=60)
    assert script.returncode == 130
    assert "noticed" not in said
    assert traces() == before
    assert own() == set()


def test_a_killed_demonstration_takes_its_agent_and_namespaces_along() -> None:
    before = traces()
    script = started()
    children = {child.pid for child in psutil.Process(script.pid).children(recursive=True)}
    assert namespaces()
    script.kill()
    script.communicate(timeout=60)
    while own(children):
        time.sleep(0.1)
    assert namespaces() == set()
    (empty,) = traces()["folders"]
    empty.rmdir()
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
