"""A followed log: every line once, whatever rotation, a restart or an editor does to the file."""

import bz2
import gzip
import lzma
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.collector.linux.identity.logfile import LogFile

Step = Callable[[Path], None]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def numbered(*numbers: int) -> str:
    return "".join(f"line {number}\n" for number in numbers)


def told(log: LogFile) -> list[int]:
    found: list[int] = []
    for _ in range(6):
        found += [int(line.removeprefix(b"line ")) for line in log.read()]
    return found


def opened(path: Path, log: LogFile | None = None, quiet_s: float = 60) -> LogFile:
    """Return the log, followed by a new agent that goes on where that of `log` was."""
    following = LogFile(path, quiet_s=quiet_s)
    if log is not None:
        following.restore(log.positions())
        log.close()
    following.open()
    return following


def test_what_was_there_before_is_not_told_and_what_comes_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_text(numbered(1, 2) + "line")
    log = opened(path)
    assert told(log) == []
    append(path, " 3\n" + numbered(4) + "line 5")
    assert told(log) == [3, 4]
    append(path, "\n")
    assert told(log) == [5]
    log.close()


def test_a_log_that_did_not_exist_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    log = opened(path)
    assert told(log) == []
    assert not log.exists
    path.write_text(numbered(1))
    assert told(log) == [1]
    log.close()
    never = opened(tmp_path / "none" / "secure")
    assert told(never) == []
    never.close()


def renamed(path: Path) -> None:
    path.rename(path.with_name("auth.log.1"))


def renamed_by_date(path: Path) -> None:
    path.rename(path.with_name("auth.log-20260102"))


def copied(path: Path) -> None:
    shutil.copyfile(path, path.with_name("auth.log.1"))
    os.truncate(path, 0)


def compressed(opener: Callable[[Path, str], object], ending: str) -> Step:
    def rotate(path: Path) -> None:
        with opener(path.with_name("auth.log.1" + ending), "wb") as file:  # type: ignore[attr-defined]
            file.write(path.read_bytes())
        path.unlink()

    return rotate


def renamed_twice(path: Path) -> None:
    renamed(path)
    path.write_text("")
    path.with_name("auth.log.1").rename(path.with_name("auth.log.2"))
    renamed(path)


ROTATIONS = {
    "renamed": renamed,
    "renamed by date": renamed_by_date,
    "copied": copied,
    "gzip": compressed(gzip.open, ".gz"),
    "bzip2": compressed(bz2.open, ".bz2"),
    "xz": compressed(lzma.open, ".xz"),
    "renamed twice": renamed_twice,
}


@pytest.mark.parametrize("rotate", ROTATIONS.values(), ids=ROTATIONS)
@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is stopped"])
@pytest.mark.parametrize("before", [numbered(1, 2), ""], ids=["a used log", "an empty log"])
def test_rotation_neither_loses_nor_repeats(tmp_path: Path, rotate: Step, running: bool, before: str) -> None:
    if not before and not running and rotate not in (renamed, renamed_by_date, renamed_twice):
        return  # nothing tells a copy of a file of which nothing was read
    path = tmp_path / "auth.log"
    path.write_text("")
    log = opened(path)
    append(path, before)
    assert told(log) == ([1, 2] if before else [])
    if not running:
        kept = log.positions()
        log.close()
    append(path, numbered(3, 4))
    if running and not before and rotate is copied:
        assert told(log) == [3, 4]
    rotate(path)
    append(path, numbered(5, 6))
    if not running:
        log = LogFile(path)
        log.restore(kept)
        log.open()
    found = told(log)
    assert found == ([5, 6] if running and not before and rotate is copied else [3, 4, 5, 6])
    append(path, numbered(7))
    assert told(log) == [7]
    assert not log.lost
    log.close()


def test_a_writer_that_goes_on_with_the_old_file_is_read_and_a_quiet_one_is_left(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_text(numbered(1))
    log = opened(path)
    with path.open("a", buffering=1) as writer:
        renamed(path)
        path.write_text("")
        assert told(log) == []
        writer.write(numbered(2))
        assert told(log) == [2]
        append(path, numbered(3))
        writer.write(numbered(4))
        assert sorted(told(log)) == [3, 4]
        assert len(log.positions()) == 2
        log = opened(path, log)
        writer.write(numbered(5))
        append(path, numbered(6))
        assert told(log) == [5, 6]
        log = opened(path, log, quiet_s=0)
        writer.write("line 7")
        writer.flush()
        assert told(log) == [7], "the last line of a file that is over needs no newline"
    assert len(log.positions()) == 1
    log.close()


def test_a_log_that_was_rotated_several_times_while_nobody_read_is_told_in_order(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_text("")
    log = opened(path)
    append(path, numbered(1))
    assert told(log) == [1]
    append(path, numbered(2))
    compressed(gzip.open, ".gz")(path)
    path.with_name("auth.log.1.gz").rename(path.with_name("auth.log.3.gz"))
    os.utime(path.with_name("auth.log.3.gz"), ns=(1, 1))
    path.with_name("auth.log.2").write_text(numbered(3))
    os.utime(path.with_name("auth.log.2"), ns=(2, 2))
    path.with_name("auth.log.1").write_text(numbered(4))
    path.write_text(numbered(5))
    path.with_name("auth.log.old").write_text(numbered(9))
    log = opened(path, log)
    assert told(log) == [2, 3, 4, 5]
    log.close()


def test_a_rotated_log_that_is_gone_is_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_text("")
    log = opened(path)
    append(path, numbered(1))
    assert told(log) == [1]
    path.unlink()
    path.write_text(numbered(5))
    log = opened(path, log)
    assert told(log) == [5]
    assert log.lost == {"rotated_away": 1}
    log.close()


def test_a_log_that_was_emptied_without_a_copy_is_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_text("")
    log = opened(path)
    append(path, numbered(1, 2))
    assert told(log) == [1, 2]
    path.write_text(numbered(3))
    assert told(log) == [3]
    assert log.lost == {"truncated": 1}
    path.write_text(numbered(4, 5, 6))
    assert told(log) == [4, 5, 6], "even where it is longer than it was"
    log.close()


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("in_place", [True, False])
def test_a_log_out_of_which_lines_were_taken_is_a_loss_and_not_read_again(
    tmp_path: Path, running: bool, in_place: bool
) -> None:
    path = tmp_path / "auth.log"
    path.write_text("")
    log = opened(path)
    append(path, numbered(*range(100, 300)))
    assert len(told(log)) == 200
    if not running:
        kept = log.positions()
        log.close()
        log = LogFile(path)
        log.restore(kept)
    edited = path if in_place else path.with_name("sedA1b2C3")
    edited.write_text(path.read_text().replace("line 250\n", ""))
    edited.rename(path)
    if not running:
        log.open()
    assert told(log) == []
    append(path, numbered(300))
    assert told(log) == [300]
    assert log.lost == {"rewritten": 1}
    log.close()


def test_a_line_without_end_is_dropped_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_text("")
    log = opened(path)
    append(path, "x" * (3 << 20))
    found = [log.read() for _ in range(20)]
    append(path, "y\n" + numbered(1))
    assert [line for lines in [*found, log.read()] for line in lines] == [b"line 1"]
    assert log.lost == {"too_long": 1}
    log.close()


def test_bytes_that_are_no_text_are_returned_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    log = opened(path)
    path.write_bytes(b"\xff\0\x1b[2J\r\n\n\x85 x\n")
    assert log.read() == [b"\xff\0\x1b[2J\r", b"", b"\x85 x"]
    log.close()


def test_a_damaged_compressed_log_is_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_text("")
    log = opened(path)
    append(path, numbered(1))
    assert told(log) == [1]
    append(path, "".join(f"line {number:09}{os.urandom(40).hex()}\n" for number in range(20_000)))
    packed = gzip.compress(path.read_bytes())
    path.with_name("auth.log.1.gz").write_bytes(packed[: len(packed) // 2])
    path.unlink()
    path.write_text(numbered(5))
    log = opened(path, log)
    lines = [line for _ in range(20) for line in log.read()]
    assert lines[-1] == b"line 5"
    assert 1000 < len(lines) < 20_000
    assert log.lost == {"unreadable": 1}
    log.close()


def test_records_of_fixed_size_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "btmp"
    path.write_bytes(b"a" * 10 + b"b" * 4)
    log = LogFile(path, record_bytes=10)
    log.open()
    assert log.read() == []
    with path.open("ab") as file:
        file.write(b"b" * 6 + b"\n" * 10 + b"c")
    assert log.read() == [b"b" * 10, b"\n" * 10]
    log.close()


def test_a_record_that_was_wiped_out_is_a_loss_and_the_rest_stays_in_step(tmp_path: Path) -> None:
    path = tmp_path / "wtmp"
    path.touch()
    log = LogFile(path, record_bytes=1000)
    log.open()
    path.write_bytes(b"a" * 1000 + b"\nb" * 500)
    assert len(log.read()) == 2
    path.write_bytes(b"a" * 1000 + bytes(1000))
    assert log.read() == []
    with path.open("ab") as file:
        file.write(b"c" * 1000)
    assert log.read() == [b"c" * 1000]
    assert log.lost == {"rewritten": 1}
    log.close()


@given(st.lists(st.sampled_from(["write", "part", "rename", "copy", "gzip", "read", "restart"]), max_size=30))
@settings(max_examples=150, deadline=None)
def test_no_course_of_events_loses_or_repeats_a_line(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "auth.log"
        path.write_text(numbered(0))
        log = opened(path)
        number, rotations, found = 0, 0, list[int]()
        for step in steps:
            number += 1
            append(path, f"line {number}\n")
            if step == "part":
                append(path, "li")
                found += told(log)
                number += 1
                append(path, f"ne {number}\n")
            elif step == "read":
                found += told(log)
            elif step == "restart":
                log = opened(path, log)
            elif step in ("rename", "copy", "gzip"):
                found += told(log) if rotations % 2 else []
                for old in sorted(Path(folder).glob("auth.log.*"), reverse=True):
                    stem, _, ending = old.name.removeprefix("auth.log.").partition(".")
                    old.rename(path.with_name(f"auth.log.{int(stem) + 1:03}{'.' + ending if ending else ''}"))
                {"rename": renamed, "copy": copied, "gzip": compressed(gzip.open, ".gz")}[step](path)
                newest = next(old for old in Path(folder).iterdir() if old.name.startswith("auth.log.1"))
                rotations += 1
                os.utime(newest, (rotations, rotations))
                newest.rename(path.with_name(newest.name.replace(".1", ".001")))
                path.touch()
                number += 1
                append(path, f"line {number}\n")
                found += told(log)
        found += told(log)
        log.close()
        assert sorted(found) == list(range(1, number + 1))
        assert not log.lost
