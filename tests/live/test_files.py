"""The fanotify source against the running kernel, on a real file system: all changes once, each with its process."""

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.files.fanotify import OVERFLOW, FanotifySource
from shield.collector.linux.files.fanotify_marks import Marks
from shield.collector.linux.files.sensitive import PLACES, FileOptions
from shield.collector.linux.files.watch import COMPARED
from shield.collector.linux.procfs import ProcfsReader
from shield.collector.source import Count, SourceUnavailable
from shield.record import Observation
from shield.text import encode

NONE = dict.fromkeys(PLACES, ())
QUEUE = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())

# Writes files named after a number and waits, so that it is still there when it is looked up.
WRITER = """
import os, sys
folder, prefix, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
for index in range(number):
    with open(f"{folder}/{prefix}-{index}", "w") as file:
        file.write("x" * 100)
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory on a disk, not in memory."""
    made = Path(tempfile.mkdtemp(dir="/var/tmp"))
    yield made
    shutil.rmtree(made)


@contextmanager
def watching(folder: Path) -> Iterator[FanotifySource]:
    source = FanotifySource(FileOptions(places={**NONE, "test": (f"{folder}/**",)}))
    source.open()
    try:
        yield source
    finally:
        source.close()


def taken(source: FanotifySource, folder: Path, wanted: int) -> list[Observation]:
    """Read until `wanted` observations about `folder` are there, or nothing comes any more."""
    descriptor = source.fileno()
    assert descriptor is not None
    found: list[Observation] = []
    deadline = time.monotonic() + 20
    while len(found) < wanted and time.monotonic() < deadline:
        select.select([descriptor], [], [], 0.5)
        found += about(folder, source.read())
    return found


def about(folder: Path, records: list[object]) -> list[Observation]:
    return [
        one for one in records if isinstance(one, Observation) and one.file and one.file.path.startswith(f"{folder}/")
    ]


def told(observations: list[Observation]) -> list[tuple[str, bytes]]:
    return [(one.category, encode(one.file.path).rpartition(b"/")[2]) for one in observations if one.file]


def balanced(count: Count, read: int) -> bool:
    return count.seen == read + sum(count.filtered.values()) + sum(count.dropped.values()) + count.pending


def start_ticks(pid: int) -> int:
    return ProcfsReader(BootClock(), UserNames()).start_ticks(pid)


def shell(folder: Path, command: str) -> None:
    subprocess.run(["/bin/sh", "-c", command], cwd=folder, check=True)


def test_a_thousand_files_of_four_processes_are_all_seen_once_with_who_wrote_them(folder: Path) -> None:
    with watching(folder) as source:
        command = [sys.executable, "-c", WRITER, str(folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        writers = [subprocess.Popen([*command, str(one), "250"], **pipes) for one in range(4)]  # type: ignore[call-overload]
        seen = taken(source, folder, 1000)
        ticks = [start_ticks(writer.pid) for writer in writers]
        for writer in writers:
            writer.communicate()
        seen += about(folder, source.read())
        assert Counter(told(seen)) == Counter(
            ("file_create", f"{one}-{index}".encode()) for one in range(4) for index in range(250)
        )
        for one in seen:
            assert one.file is not None
            assert one.actor is not None
            number = int(Path(one.file.path).name[0])
            assert (one.actor.pid, one.actor.start_ticks) == (writers[number].pid, ticks[number])
            assert one.file.size == 100
        assert not source.count().dropped


def test_each_kind_of_change_is_told_with_what_changed(folder: Path) -> None:
    (folder / "a").write_text("old")
    with watching(folder) as source:
        time.sleep(0.5)  # what the file is like is learnt in the background
        steps = {
            "echo newer > a": ("file_write", b"a"),
            "mv a b": ("file_rename", b"b"),
            "chmod 4755 b": ("file_attribute", b"b"),
            "chown 65534:65534 b": ("file_attribute", b"b"),
            "ln -s /etc/shadow l": ("file_create", b"l"),
            "rm b": ("file_delete", b"b"),
        }
        seen: list[Observation] = []
        for command in steps:
            shell(folder, command)
            seen += taken(source, folder, 1)
    assert told(seen) == list(steps.values())
    write, rename, setuid, owner, link, delete = [one.file for one in seen if one.file]
    assert write.old_size == 3
    assert write.old_hashes
    assert write.old_hashes != write.hashes
    assert rename.old_path == f"{folder}/a"
    assert rename.hashes == write.hashes
    assert setuid.place == "setuid"
    assert (setuid.old_mode, setuid.mode) == (0o100644, 0o104755)
    assert (owner.old_owner, owner.owner) == (0, 65534)
    assert link.target == "/etc/shadow"
    assert delete.old_hashes == write.hashes
    assert all(one.actor is not None and one.actor.pid > 0 for one in seen)


def test_a_setuid_program_is_seen_outside_of_the_sensitive_places_and_ordinary_files_are_not(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    with watching(folder / "nowhere") as source:
        shell(elsewhere, "echo > a; chmod 755 a; cp a b; chmod u+s b; rm a")
        opened = "import os; os.close(os.open('c', os.O_CREAT | os.O_WRONLY, 0o4700))"
        subprocess.run([sys.executable, "-c", opened], cwd=elsewhere, check=True)
        seen = taken(source, folder, 2)
    assert [(one.category, one.file.path, one.file.place) for one in seen if one.file] == [
        ("file_attribute", f"{elsewhere}/b", "setuid"),
        ("file_attribute", f"{elsewhere}/c", "setuid"),
    ]


def test_a_file_capability_is_seen_like_a_setuid_bit(folder: Path) -> None:
    # struct vfs_ns_cap_data of linux/capability.h: revision 2, cap_net_raw permitted
    capability = "import os; os.setxattr('a', 'security.capability', bytes.fromhex('0000000200200000') + bytes(12))"
    (folder / "a").write_text("x")
    (folder / "a").chmod(0o755)
    with watching(folder) as source:
        time.sleep(0.5)
        subprocess.run([sys.executable, "-c", capability], cwd=folder, check=True)
        (seen,) = taken(source, folder, 1)
    assert seen.file is not None
    assert (seen.category, seen.file.place) == ("file_attribute", "capabilities")


@pytest.mark.parametrize(
    "name", [b"new\nline", b"\x1b[31mred", b"\xff\xfe\x80", "\uef80é".encode(), b" (deleted)", b"n" * 255]
)
def test_any_name_survives(folder: Path, name: bytes) -> None:
    with watching(folder) as source:
        path = os.fsencode(folder) + b"/" + name
        subprocess.run([b"/bin/cp", b"/etc/hostname", path], check=True)
        assert told(taken(source, folder, 1)) == [("file_create", name)]


def test_files_of_a_new_directory_and_of_one_that_is_renamed_have_their_true_paths(folder: Path) -> None:
    with watching(folder) as source:
        shell(folder, "mkdir -p one/deep; echo > one/deep/a")
        assert told(taken(source, folder, 1)) == [("file_create", b"a")]
        shell(folder, "mv one two")
        (moved,) = taken(source, folder, 1)
        shell(folder, "echo > two/deep/b")
        (later,) = taken(source, folder, 1)
    assert moved.file is not None
    assert later.file is not None
    assert moved.category == "file_rename"
    assert (moved.file.old_path, moved.file.path) == (f"{folder}/one/deep/a", f"{folder}/two/deep/a")
    assert later.file.path == f"{folder}/two/deep/b"


def test_a_file_saved_as_an_editor_does_is_one_change(folder: Path) -> None:
    (folder / "a").write_text("old")
    with watching(folder) as source:
        time.sleep(0.5)
        shell(folder, "sed -i s/old/new/ a")
        (seen,) = taken(source, folder, 1)
    assert seen.file is not None
    assert told([seen]) == [("file_rename", b"a")]
    assert seen.file.old_hashes != seen.file.hashes


def test_what_the_agent_writes_itself_is_left_out(folder: Path) -> None:
    with watching(folder) as source:
        for index in range(20):
            (folder / str(index)).write_text("x")
        shell(folder, "echo > other")
        assert told(taken(source, folder, 1)) == [("file_create", b"other")]
        assert source.count().filtered["own"] >= 20


def test_events_that_found_no_room_are_counted_and_the_changes_found_by_comparing(folder: Path) -> None:
    places, other = folder / "places", folder / "other"
    places.mkdir()
    other.mkdir()
    (places / "kept").write_text("x")
    with watching(places) as source:
        time.sleep(1)
        flood = (
            f"import os\nfor n in range({QUEUE + 2000}): os.close(os.open(f'{other}/{{n}}', os.O_CREAT | os.O_WRONLY))"
        )
        subprocess.run([sys.executable, "-c", flood], check=True)
        (places / "kept").write_text("changed while nobody could see it")  # by the agent, and lost as well
        shell(places, "echo > lost")
        seen = taken(source, places, 2)
        assert source.count().dropped[OVERFLOW] >= 1
        assert balanced(source.count(), len(seen))
    assert sorted(told(seen)) == [("file_create", b"lost"), ("file_write", b"kept")]
    assert all(one.actor is None and COMPARED in one.gaps for one in seen)


def test_what_happened_before_the_stop_can_still_be_read_and_the_books_balance(folder: Path) -> None:
    source = FanotifySource(FileOptions(places={**NONE, "test": (f"{folder}/**",)}))
    source.open()
    shell(folder, "echo > a")
    source.stop()
    shell(folder, "echo > b")
    seen = taken(source, folder, 1)
    source.close()
    source.close()
    assert told(seen) == [("file_create", b"a")]
    assert balanced(source.count(), len(seen))
    assert source.read() == []


def test_nothing_is_left_open_behind(folder: Path) -> None:
    with watching(folder):
        pass
    before = len(list(Path("/proc/self/fd").iterdir()))
    with watching(folder) as source:
        shell(folder, "for n in 1 2 3 4 5 6 7 8 9; do echo > $n; done")
        taken(source, folder, 9)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_kernel_that_tells_renamings_in_halves_is_understood(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Marks.__init__

    def halves(self: Marks, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        self.halves = True

    monkeypatch.setattr(Marks, "__init__", halves)
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    with watching(folder / "in") as source:
        shell(folder, "echo > in/a; sleep 0.5; mv in/a in/b; sleep 0.5; mv in/b out/c; sleep 0.5; mv out/c in/d")
        seen = taken(source, folder, 4)
    assert [one.category for one in seen] == ["file_create", "file_rename", "file_rename", "file_rename"]
    assert [Path(one.file.path).name for one in seen if one.file] == ["a", "b", "c", "d"]


def test_without_the_right_to_it_the_source_says_what_it_needs() -> None:
    program = (
        "import os\nfrom shield.collector.linux.files.fanotify import FanotifySource\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try: FanotifySource().open()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert answer.startswith(SourceUnavailable.__name__)
    assert "run Shield as the host's root" in answer
