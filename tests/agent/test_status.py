"""The status file: written whole, read back, and honest about an agent that has ended or fallen silent."""

import os
import time
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from shield.agent.selftest import Outcome
from shield.agent.status import NotRunning, Status, StatusFile, read
from shield.cli.main import app
from shield.event import Health, Ledger


def status(pid: int = 0, written_ns: int = 0, dropped: dict[str, int] | None = None, **fields: object) -> Status:
    ledger = Ledger("ebpf", seen=5, kept=5 - sum((dropped or {}).values()), dropped=dropped or {})
    health = Health("0.1.0", 60.0, 0.5, 50 << 20, "ebpf", 241, ledgers=(ledger,), baseline="learning")
    written = written_ns or time.time_ns()
    return Status("web-1", pid or os.getpid(), written, "1+sha256:aa", health, **fields)  # type: ignore[arg-type]


def kept(path: Path, shown: Status) -> Path:
    StatusFile(path, lambda: shown).care()
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    shown = status()
    assert read(kept(tmp_path / "run" / "status.json", shown)) == shown
    assert shown.problems == ()


def test_it_goes_with_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    file = StatusFile(path, status)
    file.care()
    file.close()
    assert list(tmp_path.iterdir()) == []


def test_an_agent_that_was_killed_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="has ended"):
        read(kept(tmp_path / "status.json", status(pid=2**22 + 1)))


@pytest.mark.parametrize("content", [b"", b"{", b'{"host": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_an_error_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content)
    with pytest.raises(NotRunning, match="no status of this version"):
        read(path)


def test_a_folder_that_can_not_be_written_does_not_stop_the_agent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    StatusFile(tmp_path / "file" / "status.json", status).care()


def test_what_is_wrong_is_named() -> None:
    failed = Outcome("file", False, "nothing arrived within 15 s")
    shown = status(dropped={"ring_full_exec": 2}, self_test=(failed,), giving_up="repeats are counted, not kept")
    assert shown.problems == (
        "ebpf has lost 2 records",
        "self-test: file: nothing arrived within 15 s",
        "over its budget: repeats are counted, not kept",
    )
    silent = status(written_ns=time.time_ns() - 100 * 10**9)
    assert silent.problems == ("the agent has not said anything for 100 s",)


def test_the_command_tells_it_and_its_exit_code_says_whether_all_is_well(tmp_path: Path) -> None:
    path = kept(tmp_path / "status.json", status())
    done = CliRunner().invoke(app, ["status", "--file", str(path)])
    assert done.exit_code == 0
    assert "241 rules" in done.stdout
    assert "problems     none" in done.stdout
    lossy = kept(tmp_path / "lossy.json", status(dropped={"ring_full_exec": 2}))
    done = CliRunner().invoke(app, ["status", "--file", str(lossy), "--json"])
    assert done.exit_code == 1
    assert msgspec.json.decode(done.stdout)["health"]["ledgers"][0]["dropped"] == {"ring_full_exec": 2}


def test_without_an_agent_the_command_says_how_to_start_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["status", "--file", str(tmp_path / "none.json")])
    assert (done.exit_code, done.stdout) == (3, "")
    assert "start the agent with `shield run`" in done.stderr
