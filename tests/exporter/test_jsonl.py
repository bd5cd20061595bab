"""The events file: nothing is lost, split or damaged by rotation, crashes, full disks, clocks and other people."""

import itertools
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.exporter.jsonl import JsonlWriter, OutputError, default_path
from shield.exporter.rotation import rotated

SECOND = 1_000_000_000
NOW = 1_795_529_002 * SECOND
DAY = 86_400 * SECOND
LINES = st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b""))


def everything(path: Path) -> bytes:
    """All that was written to `path`, in order, through all rotations."""
    files = [each.path for each in rotated(path)] + [path]
    return b"".join(file.read_bytes() for file in files if file.exists())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "shield-test", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_lines_are_appended_and_directories_made_for_the_group_to_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "events.jsonl"
    path.parent.parent.parent.chmod(0o755)
    writer = JsonlWriter(path)
    writer.write([b'{"a":1}', b'{"a":2}'], NOW)
    writer.write([b'{"a":3}'], NOW)
    writer.close()
    assert path.read_bytes() == b'{"a":1}\n{"a":2}\n{"a":3}\n'
    assert writer.written == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o750


def test_an_existing_file_is_continued(path: Path) -> None:
    path.write_bytes(b"old\n")
    writer = JsonlWriter(path)
    writer.write([b"new"], path.stat().st_mtime_ns)
    writer.close()
    assert path.read_bytes() == b"old\nnew\n"
    assert writer.torn_lines == 0


def test_a_line_torn_by_a_crash_is_ended_and_never_deleted(path: Path) -> None:
    path.write_bytes(b'whole\n{"tor')
    writer = JsonlWriter(path)
    writer.write([b"new"], path.stat().st_mtime_ns)
    writer.close()
    assert path.read_bytes() == b'whole\n{"tor\nnew\n'
    assert writer.torn_lines == 1


def test_a_symlink_is_never_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "shadow"
    target.write_bytes(b"secret")
    path.symlink_to(target)
    with pytest.raises(OutputError, match="is a symbolic link; name the file itself"):
        JsonlWriter(path)
    assert target.read_bytes() == b"secret"


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_what_is_no_regular_file_is_refused_with_a_remedy(path: Path, kind: str) -> None:
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case _:
            path = Path("/dev/null")
    with pytest.raises(OutputError, match=r"is (not a regular file|a directory); name a file") as refusal:
        JsonlWriter(path)
    assert refusal.value.path == path
    assert refusal.value.remedy


def test_a_file_in_the_way_of_a_directory_is_named(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(OutputError, match="a directory on the way to it is a file"):
        JsonlWriter(path / "events.jsonl")


def test_a_second_writer_is_refused(path: Path) -> None:
    first = JsonlWriter(path)
    with pytest.raises(OutputError, match="another process writes to it"):
        JsonlWriter(path)
    first.close()
    JsonlWriter(path).close()


def test_a_file_is_rotated_before_it_grows_too_large_and_no_batch_is_split(path: Path) -> None:
    writer = JsonlWriter(path, rotate_bytes=10)
    for batch in ([b"1234"], [b"5678"], [b"a", b"b"], [b"longer than the limit"], [b"z"]):
        writer.write(batch, NOW)
    writer.close()
    assert [file.path.read_bytes() for file in rotated(path)] == [
        b"1234\n5678\n",
        b"a\nb\n",
        b"longer than the limit\n",
    ]
    assert path.read_bytes() == b"z\n"
    assert rotated(path)[0].path.name == "events-20261124T140322Z-0000.jsonl"


def test_a_new_day_begins_a_new_file(path: Path) -> None:
    writer = JsonlWriter(path, rotate_seconds=86_400)
    writer.write([b"monday"], NOW)
    writer.write([b"monday"], NOW + 3600 * SECOND)
    writer.write([b"tuesday"], NOW + DAY)
    writer.close()
    assert [file.path.read_bytes() for file in rotated(path)] == [b"monday\nmonday\n"]


def test_a_file_left_from_yesterday_is_rotated_by_a_new_writer(path: Path) -> None:
    path.write_bytes(b"yesterday\n")
    os.utime(path, ns=(NOW - DAY, NOW - DAY))
    writer = JsonlWriter(path, keep_seconds=None)
    writer.write([b"today"], NOW)
    writer.close()
    assert [file.path.read_bytes() for file in rotated(path)] == [b"yesterday\n"]


def test_a_clock_set_back_keeps_the_order_and_rotation_going(path: Path) -> None:
    writer = JsonlWriter(path, rotate_bytes=4, rotate_seconds=86_400, keep_seconds=None)
    times = [NOW, NOW + 400 * DAY, NOW + 400 * DAY, NOW - 30 * DAY, NOW - 30 * DAY, NOW - 29 * DAY]
    for index, now in enumerate(times):
        writer.write([b"%d" % index], now)
    writer.write([b"6"], NOW - 28 * DAY)
    writer.close()
    assert everything(path) == b"0\n1\n2\n3\n4\n5\n6\n"
    assert path.read_bytes() == b"6\n"


def test_the_newest_files_are_kept_and_nobody_elses_are_deleted(path: Path) -> None:
    others = ["events-20200101T000000Z-0000.jsonl.gz", "events-notes.jsonl", "other-20200101T000000Z-0000.jsonl"]
    for name in others:
        path.with_name(name).write_bytes(b"keep")
    link = path.with_name("events-20200101T000000Z-0000.jsonl")
    link.symlink_to(path.with_name(others[0]))
    writer = JsonlWriter(path, rotate_bytes=2, keep_files=2)
    for line in b"abcdef":
        writer.write([bytes([line])], NOW)
    writer.close()
    assert everything(path) == b"d\ne\nf\n"
    assert writer.expired_files == 3
    assert all(path.with_name(name).exists() for name in others)
    assert link.is_symlink()


def test_old_files_expire(path: Path) -> None:
    old = path.with_name("events-20200101T000000Z-0000.jsonl")
    old.write_bytes(b"old\n")
    os.utime(old, ns=(NOW - 31 * DAY, NOW - 31 * DAY))
    writer = JsonlWriter(path, rotate_bytes=2, keep_seconds=30 * 86_400)
    for line in b"ab":
        writer.write([bytes([line])], NOW)
    writer.close()
    assert not old.exists()
    assert writer.expired_files == 1


@given(
    batches=st.lists(
        st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=5), max_size=20
    ),
    steps=st.lists(st.integers(-2 * DAY, 2 * DAY), min_size=20, max_size=20),
    limit=st.integers(1, 60),
)
def test_any_batches_through_any_rotations_read_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], steps: list[int], limit: int
) -> None:
    path = tmp_path_factory.mktemp("rotation") / "events.jsonl"
    writer = JsonlWriter(path, rotate_bytes=limit, keep_files=None, keep_seconds=None, fsync="never")
    for batch, now in zip(batches, itertools.accumulate(steps, initial=NOW), strict=False):
        writer.write(batch, now)
    writer.close()
    assert everything(path) == b"".join(line + b"\n" for batch in batches for line in batch)
    assert writer.written == sum(map(len, batches))


def test_a_full_disk_loses_nothing_once_there_is_room_again(tiny_disk: Path) -> None:
    path = tiny_disk / "events.jsonl"
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    writer = JsonlWriter(path)
    lines = [b'{"n":%04d,"fill":"%s"}' % (number, b"y" * 1000) for number in range(60)]
    for start in range(0, 60, 7):
        writer.write(lines[start : start + 7], NOW)
    assert writer.pending > 0
    assert writer.written + writer.pending == 60
    assert writer.errors["disk_full"] > 0
    assert path.read_bytes().endswith(b"}\n")
    ballast.unlink()
    writer.flush(NOW + SECOND)
    assert writer.pending == 0
    writer.close()
    assert path.read_bytes() == b"".join(line + b"\n" for line in lines)
    assert not writer.dropped


def test_what_does_not_fit_into_memory_either_is_counted(tiny_disk: Path) -> None:
    writer = JsonlWriter(tiny_disk / "events.jsonl", backlog_bytes=20_000)
    for number in range(200):
        writer.write([b"%04d" % number + b"z" * 996], NOW)
    writer.close()
    kept = (tiny_disk / "events.jsonl").read_bytes().splitlines()
    assert writer.dropped == {"disk_full": 200 - len(kept)}
    assert [int(line[:4]) for line in kept] == list(range(len(kept)))
    assert "No space left" in writer.last_error


def test_a_file_size_limit_in_mid_line_leaves_only_whole_lines(path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = JsonlWriter(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (25, limit[1]))
    try:
        writer.write([b"0123456789", b"abcdefghij", b"ABCDEFGHIJ"], NOW)
        assert path.read_bytes() == b"0123456789\nabcdefghij\n"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    writer.write([b"next"], NOW)
    writer.close()
    assert path.read_bytes() == b"0123456789\nabcdefghij\nABCDEFGHIJ\nnext\n"


def test_a_removed_file_is_noticed_within_a_second(path: Path) -> None:
    writer = JsonlWriter(path)
    writer.write([b"one"], NOW)
    path.unlink()
    writer.write([b"two"], NOW + SECOND)
    writer.close()
    assert path.read_bytes() == b"two\n"
    assert writer.reopened == 1


def test_a_file_replaced_by_a_symlink_is_not_written_through(path: Path, tmp_path: Path) -> None:
    writer = JsonlWriter(path)
    writer.write([b"one"], NOW)
    path.rename(tmp_path / "stolen")
    path.symlink_to(tmp_path / "victim")
    writer.write([b"two"], NOW + SECOND)
    assert not (tmp_path / "victim").exists()
    assert writer.pending == 1
    assert "symbolic link" in writer.last_error
    path.unlink()
    writer.flush(NOW + 2 * SECOND)
    writer.close()
    assert path.read_bytes() == b"two\n"


def test_what_never_could_be_written_is_counted_at_the_end(path: Path, tmp_path: Path) -> None:
    writer = JsonlWriter(path)
    path.unlink()
    path.symlink_to(tmp_path / "victim")
    writer.write([b"one", b"two"], NOW)
    writer.close()
    writer.write([b"three"], NOW)
    assert writer.dropped == {"unwritable": 2, "closed": 1}
    assert writer.pending == 0


def test_somebody_cutting_the_file_is_noticed(path: Path) -> None:
    writer = JsonlWriter(path)
    writer.write([b"one"], NOW)
    os.truncate(path, 0)
    writer.write([b"two"], NOW + SECOND)
    writer.close()
    assert path.read_bytes() == b"two\n"
    assert writer.truncated == 1


def test_a_file_replaced_just_before_a_rotation_is_left_alone(path: Path) -> None:
    writer = JsonlWriter(path, rotate_bytes=5)
    writer.write([b"one"], NOW)
    path.unlink()
    path.write_bytes(b"theirs\n")
    writer.write([b"two"], NOW)
    writer.close()
    assert path.read_bytes() == b"theirs\ntwo\n"
    assert not rotated(path)


def test_a_killed_writer_leaves_whole_lines_but_for_the_last(path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from shield.exporter.jsonl import JsonlWriter\n"
        "writer = JsonlWriter(pathlib.Path(sys.argv[1]), rotate_bytes=200_000, keep_files=None)\n"
        "number = 0\n"
        "while True:\n"
        "    writer.write([b'{\"n\":%d}' % (number + each) for each in range(50)], time.time_ns())\n"
        "    number += 50\n"
        "    print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout
        while (acknowledged := int(child.stdout.readline())) < 30_000:
            pass
        child.send_signal(signal.SIGKILL)
    writer = JsonlWriter(path)
    writer.close()
    lines = everything(path).split(b"\n")
    assert lines.pop() == b""
    if writer.torn_lines:
        lines.pop()
    assert lines == [b'{"n":%d}' % number for number in range(len(lines))]
    assert len(lines) >= acknowledged
    assert len(rotated(path)) >= 1


def test_an_unknown_home_is_no_obstacle_to_a_default_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_path() == Path("/var/log/shield/events.jsonl")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "shield" / "events.jsonl"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local" / "state" / "shield" / "events.jsonl"
