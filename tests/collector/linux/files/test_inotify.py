"""The inotify source, which needs no root: what it sees of sensitive directories, also of those that come later."""

import os
import select
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shield.collector.linux.files.inotify import InotifySource
from shield.collector.linux.files.sensitive import PLACES, FileOptions
from shield.collector.source import Count, SourceUnavailable
from shield.record import Observation
from shield.text import encode

NONE = dict.fromkeys(PLACES, ())


def options(folder: Path, **settings: int) -> FileOptions:
    return FileOptions(places={**NONE, "test": (f"{folder}/**",)}, **settings)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[InotifySource]:
    opened = InotifySource(options(tmp_path))
    opened.open()
    yield opened
    opened.close()


def taken(source: InotifySource, wanted: int) -> list[Observation]:
    """Read until `wanted` observations are there, or nothing comes any more."""
    descriptor = source.fileno()
    assert descriptor is not None
    found: list[Observation] = []
    deadline = time.monotonic() + 5
    while len(found) < wanted and time.monotonic() < deadline:
        select.select([descriptor], [], [], 0.5)
        found += [record for record in source.read() if isinstance(record, Observation)]
    return found


def told(observations: list[Observation]) -> list[tuple[str, bytes]]:
    return [(one.category, encode(one.file.path).rpartition(b"/")[2]) for one in observations if one.file]


def balanced(count: Count, read: int) -> bool:
    return count.seen == read + sum(count.filtered.values()) + sum(count.dropped.values()) + count.pending


def test_a_file_written_in_one_go_is_one_observation_with_its_hash(source: InotifySource, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    (seen,) = taken(source, 1)
    assert seen.category == "file_create"
    assert seen.actor is None
    assert seen.file is not None
    assert seen.file.place == "test"
    assert seen.file.size == 5
    assert seen.file.owner == os.getuid()
    assert seen.file.hashes["sha256"].startswith("2cf24dba")
    assert balanced(source.count(), 1)


def test_files_in_directories_that_come_later_are_seen(source: InotifySource, tmp_path: Path) -> None:
    (tmp_path / "new" / "deep").mkdir(parents=True)
    (tmp_path / "new" / "deep" / "at-once").write_text("1")
    assert told(taken(source, 1)) == [("file_create", b"at-once")]
    (tmp_path / "new" / "deep" / "later").write_text("2")
    assert told(taken(source, 1)) == [("file_create", b"later")]


def test_a_renamed_directory_takes_its_files_along(source: InotifySource, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a").write_text("1")
    taken(source, 1)
    (tmp_path / "one").rename(tmp_path / "two")
    (seen,) = taken(source, 1)
    assert seen.category == "file_rename"
    assert seen.file is not None
    assert (seen.file.old_path, seen.file.path) == (f"{tmp_path}/one/a", f"{tmp_path}/two/a")
    (tmp_path / "two" / "b").write_text("2")
    (seen,) = taken(source, 1)
    assert seen.file is not None
    assert seen.file.path == f"{tmp_path}/two/b"


def test_a_file_moved_away_or_in_from_elsewhere_is_told_with_what_is_not_known(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "a").write_text("1")
    source = InotifySource(options(inside))
    source.open()
    (outside / "a").rename(inside / "a")
    (came,) = taken(source, 1)
    (inside / "a").rename(outside / "b")
    (went,) = taken(source, 1)
    source.close()
    assert came.category == "file_rename"
    assert "the old name of the file is not known" in came.gaps
    assert went.category == "file_delete"
    assert "the file was moved away; where to is not known" in went.gaps


@pytest.mark.parametrize("name", [b"new\nline", b"\x1b[31mred", b"\xff\xfe", "\uef80é".encode(), b" ", b"%s{}"])
def test_any_name_survives(source: InotifySource, tmp_path: Path, name: bytes) -> None:
    (Path(tmp_path) / os.fsdecode(name)).write_text("x")
    assert told(taken(source, 1)) == [("file_create", name)]


def test_directories_beyond_the_bound_are_counted_not_passed_over_in_silence(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    ways = len(tmp_path.parts)
    source = InotifySource(options(tmp_path, watches=ways + 2))
    source.open()
    spots = " ".join(source.blind_spots)
    source.close()
    assert "3 sensitive directories are not watched" in spots


def test_what_happened_before_the_stop_can_still_be_read_and_then_nothing(tmp_path: Path) -> None:
    source = InotifySource(options(tmp_path))
    source.open()
    (tmp_path / "a").write_text("x")
    source.stop()
    (tmp_path / "b").write_text("x")
    records = taken(source, 1)
    assert told(records) == [("file_create", b"a")]
    source.close()
    source.close()
    assert balanced(source.count(), 1)
    assert source.fileno() is None
    assert source.read() == []


def test_a_removed_directory_ends_its_watch_and_its_files_are_told(source: InotifySource, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("1")
    taken(source, 1)
    shutil.rmtree(tmp_path / "d")
    assert told(taken(source, 1)) == [("file_delete", b"a")]


def test_without_anything_to_watch_it_says_so(tmp_path: Path) -> None:
    source = InotifySource(options(tmp_path, watches=0))
    with pytest.raises(SourceUnavailable, match="no directory could be watched"):
        source.open()
