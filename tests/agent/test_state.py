"""What the agent remembers outlives a restart; what can't be used is set aside, what can't be written is told once."""

import os
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from shield.agent import statefolder
from shield.agent.companion import Told
from shield.agent.state import KeptState, Remembered
from shield.agent.statefolder import StateFolder
from shield.event import Data, Event, Loss, Process, Tamper
from shield.policy.schema import BaselineSettings
from shield.scorer.baseline import Baseline

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")


class Note:
    """Something to remember, that refuses what doesn't begin with `note`."""

    def __init__(self, text: bytes = b"") -> None:
        self.text = text

    def restore(self, stored: bytes) -> None:
        if not stored.startswith(b"note"):
            raise ValueError("this is no note; remove it")
        self.text = stored


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def kept(folder: Path, note: Note, clock: Clock | None = None) -> KeptState:
    return KeptState(folder, [Remembered("note", lambda: note.text, note.restore)], clock or Clock())


def settled(state: KeptState) -> Sequence[Told]:
    """What is told once the thread that writes has come to its end."""
    end = time.monotonic() + 10
    state.care()
    while state._writing is not None and state._writing.is_alive() and time.monotonic() < end:
        time.sleep(0.001)
    return state.care()


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"lock"}


def test_what_is_remembered_at_the_end_is_known_at_the_next_start(tmp_path: Path) -> None:
    assert kept(tmp_path / "deep" / "state", Note(b"note 1")).close() == []
    again = Note()
    state = kept(tmp_path / "deep" / "state", again)
    assert again.text == b"note 1"
    assert state.problems == []
    assert stat.S_IMODE((tmp_path / "deep" / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "state" / "note").stat().st_mode) == 0o600


def test_it_is_written_every_few_minutes_so_that_a_crash_costs_no_more(tmp_path: Path) -> None:
    clock, note = Clock(), Note(b"note 1")
    state = kept(tmp_path, note, clock)
    assert settled(state) == []
    assert left(tmp_path) == set()
    clock.now += 301
    assert settled(state) == []
    note.text = b"note 2"
    assert settled(state) == []
    assert (tmp_path / "note").read_bytes() == b"note 1"
    clock.now += 301
    assert settled(state) == []
    assert (tmp_path / "note").read_bytes() == b"note 2"
    assert left(tmp_path) == {"note"}


def test_a_baseline_goes_on_where_it_was(tmp_path: Path) -> None:
    def baseline() -> Baseline:
        return Baseline(BaselineSettings(learn_days=2, min_days_known=1, quarantine_seconds=0))

    def start(day: int) -> Event:
        data = Data(process=Process(pid=7, exe="/bin/a"))
        return Event(day, "h", "process_start", "ALLOW", 0, "", data, "", "", "", ts_ns=day * 86_400_000_000_000)

    before, after = baseline(), baseline()
    state = KeptState(tmp_path, [Remembered("baseline", before.export, before.restore)])
    for day in range(20_000, 20_004):
        before.learn(start(day), "ALLOW")
    state.close()
    assert KeptState(tmp_path, [Remembered("baseline", after.export, after.restore)]).problems == []
    assert after.status == before.status
    assert after.status.phase == "scoring"
    assert after.things() == before.things()


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x00" * 4096])
def test_a_damaged_file_is_set_aside_and_told_as_tampering(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "note").write_bytes(content)
    note = Note(b"note new")
    state = kept(tmp_path, note)
    (problem,) = state.problems
    assert problem == (f"{tmp_path}/note: this is no note; set aside as note.damaged, and it begins anew")
    (told,) = state.care()
    assert isinstance(told, Tamper)
    assert told.detail == problem
    assert state.close() == []
    assert (tmp_path / "note.damaged").read_bytes() == content
    assert (tmp_path / "note").read_bytes() == b"note new"


def test_a_second_damaged_file_does_not_replace_the_first(tmp_path: Path) -> None:
    for content in (b"one", b"two", b"three"):
        (tmp_path / "note").write_bytes(content)
        kept(tmp_path, Note(b"note")).close()
    names = ("note.damaged", "note.damaged-2", "note.damaged-3")
    assert [(tmp_path / name).read_bytes() for name in names] == [b"one", b"two", b"three"]


def _give_away(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


def _open_up(path: Path) -> None:
    path.chmod(0o666)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


@pytest.mark.parametrize(
    ("meddle", "why"),
    [
        pytest.param(_give_away, "it belongs to another user (uid 65534)", marks=as_root),
        (_open_up, "it can be written by other users (mode 0666)"),
        (_open_folder, "its folder can be written by other users (mode 0777)"),
        (_link, "it is a symbolic link"),
        (_pipe, "it is no regular file"),
    ],
)
def test_a_file_that_somebody_else_could_have_written_is_not_used(tmp_path: Path, meddle, why: str) -> None:  # type: ignore[no-untyped-def]
    kept(tmp_path, Note(b"note old")).close()
    meddle(tmp_path / "note")
    note = Note(b"note new")
    state = kept(tmp_path, note)
    assert note.text == b"note new"
    assert why in state.problems[0]
    state.close()
    assert os.path.lexists(tmp_path / "note.damaged")
    assert not (tmp_path / "note").is_symlink()
    assert (tmp_path / "note").read_bytes() == b"note new"


def test_a_disk_without_room_is_told_once_and_the_old_file_stays(tmp_path: Path) -> None:
    clock, note = Clock(), Note(b"note" * 10)
    state = kept(tmp_path, note, clock)
    clock.now += 301
    settled(state)
    note.text = b"note" * 100_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        told: list[Told] = []
        for _ in range(3):
            clock.now += 301
            told += settled(state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told == [Loss("state", {"disk_full": 1}, "Make room where the state is kept.")]
    assert state.failed == {"disk_full": 3}
    assert left(tmp_path) == {"note"}
    assert (tmp_path / "note").read_bytes() == b"note" * 10
    clock.now += 301
    assert settled(state) == []
    assert (tmp_path / "note").read_bytes() == note.text


def test_a_folder_that_cannot_be_made_is_told_and_the_agent_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    clock = Clock()
    state = kept(tmp_path / "file" / "state", Note(b"note"), clock)
    assert "nothing will be remembered of this run" in state.problems[0]
    (told,) = state.care()
    assert isinstance(told, Loss)
    clock.now += 301
    assert settled(state) == []
    assert state.close() == []


def test_a_folder_that_is_taken_away_is_told_and_the_agent_goes_on(tmp_path: Path) -> None:
    clock = Clock()
    state = kept(tmp_path / "state", Note(b"note"), clock)
    (tmp_path / "state" / "lock").unlink()
    (tmp_path / "state").rmdir()
    clock.now += 301
    (told,) = settled(state)
    assert isinstance(told, Loss)
    assert told.dropped == {"io_error": 1}


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    first = kept(tmp_path, Note(b"note first"))
    second = kept(tmp_path, Note(b"note second"))
    assert "another run of Shield uses it; give each its own" in second.problems[0]
    assert second.care() == []
    assert second.close() == []
    first.close()
    assert (tmp_path / "note").read_bytes() == b"note first"
    assert kept(tmp_path, Note()).problems == []


def test_a_process_killed_while_it_writes_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from shield.agent.statefolder import StateFolder\n"
        "folder = StateFolder(Path(sys.argv[1])); print(flush=True)\n"
        "while True:\n"
        "    for letter in b'ab': folder.write('note', bytes([letter]) * 200_000)\n"
    )
    for delay in (0.001, 0.01, 0.03):
        with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            writer.stdout.readline()
            while not (tmp_path / "note").exists():
                time.sleep(0.001)
            time.sleep(delay)
            writer.kill()
        content = StateFolder(tmp_path).read("note")
        assert content in (b"a" * 200_000, b"b" * 200_000)
    StateFolder(tmp_path).open()
    assert left(tmp_path) == {"note"}


def test_the_usual_place_depends_on_the_user_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert statefolder.default_folder() is None
    monkeypatch.setenv("SHIELD_STATE", "/somewhere")
    assert statefolder.default_folder() == Path("/somewhere")
    monkeypatch.delenv("SHIELD_STATE")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/a/.state")
    assert statefolder.default_folder() == Path("/home/a/.state/shield")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert statefolder.default_folder() == Path("/var/lib/shield")


def test_what_must_be_kept_at_once_is_written_as_soon_as_it_changes(tmp_path: Path) -> None:
    now = 0.0
    content = {"quick": b"1", "slow": b"1"}
    state = KeptState(
        tmp_path / "state",
        [
            Remembered("quick", lambda: content["quick"], lambda _: None, every_s=1.0),
            Remembered("slow", lambda: content["slow"], lambda _: None),
        ],
        lambda: now,
    )

    def cared() -> dict[str, bytes]:
        state.care()
        if state._writing is not None:
            state._writing.join(10)
        return {path.name: path.read_bytes() for path in state._folder.path.iterdir() if path.name != "lock"}

    now = 1.0
    assert cared() == {"quick": b"1"}
    written = (tmp_path / "state" / "quick").stat().st_mtime_ns
    now = 2.0
    cared()
    assert (tmp_path / "state" / "quick").stat().st_mtime_ns == written
    content["quick"], now = b"2", 3.0
    assert cared() == {"quick": b"2"}
    state.close()
    assert cared() == {"quick": b"2", "slow": b"1"}
