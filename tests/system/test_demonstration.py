"""The demonstration shows what it says, and leaves nothing behind."""

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

DEMONSTRATE = Path(__file__).parents[2] / "scripts" / "demonstrate"

pytestmark = [
    pytest.mark.system,
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("ip"), reason="needs ip (apt-get install iproute2)"),
    pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs /usr/bin/python3"),
]


def demonstrate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEMONSTRATE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)


def traces() -> tuple[str, str, set[str], set[str]]:
    """What could be left behind: accounts, mounts, folders, processes."""
    folders = {path.name for path in Path("/tmp").glob("shield-demonstration-*")}
    running = {str(one.info["cmdline"]) for one in psutil.process_iter(["cmdline"]) if "demonstr" in str(one.info)}
    return Path("/etc/passwd").read_text(), Path("/proc/self/mounts").read_text(), folders, running


def test_every_chain_is_noticed_and_nothing_is_left_behind() -> None:
    before = traces()
    done = demonstrate()
    assert done.returncode == 0, done.stdout + done.stderr
    chains = demonstrate("--list").stdout.splitlines()
    assert len(chains) == sum(f"{chain.split()[0]}: " in done.stdout for chain in chains)
    assert "NOT NOTICED" not in done.stdout
    assert traces() == before
    assert not Path("/etc/cron.d/demonstration").exists()


def test_an_unknown_chain_is_an_error_in_words() -> None:
    done = demonstrate("nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no chain nonsense; see --list" in done.stderr
