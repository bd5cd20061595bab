"""Bursts of changes become few observations, on real files and with a clock of the test's own."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shield.collector.linux.files.change import (
    ATTRIBUTES,
    BURST_S,
    CREATED,
    DELETED,
    GONE,
    HASH_WAIT_S,
    RENAMED,
    SETTLE_S,
    UNKNOWN_BEFORE,
    WRITTEN,
    Change,
    FileChanges,
)
from shield.collector.linux.files.hashing import NOT_HASHED_IN_TIME, TOO_LARGE, FileHasher
from shield.collector.linux.files.inventory import Inventory
from shield.collector.linux.files.place import Places
from shield.record import Actor, Observation

ALICE, BOB = Actor(10, 100), Actor(11, 101)
HASH_LIMIT = 100_000


class Bench:
    """Changes of files in `folder`, and what is told of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.added = self.given = 0
        self.hasher = FileHasher(HASH_LIMIT, rate=1 << 30)
        self.inventory = Inventory(Places({"test": (f"{folder}/*",)}), 1000)
        self.changes = FileChanges(self.inventory, self.hasher, HASH_LIMIT)

    def path(self, name: str) -> bytes:
        return os.fsencode(self.folder / name)

    def add(self, what: int, name: str, actor: Actor | None = ALICE, old: str = "", place: str = "test") -> None:
        self.added += 1
        self.changes.add(Change(what, self.path(name), place, actor, self.path(old) if old else b""), self.now)

    def told(self, after: float = SETTLE_S) -> list[Observation]:
        """What is told `after` seconds, once all is hashed."""
        self.now += after
        found = self.changes.take(1000, self.now)
        self.wait_for_hashes()
        found += self.changes.take(1000, self.now)
        self.given += len(found)
        counted = self.given - self.changes.extra + sum(self.changes.filtered.values()) + self.changes.pending
        assert self.added == counted
        return found

    def wait_for_hashes(self) -> None:
        """Jobs are done in their order: after one more, all before it are done."""
        done = threading.Event()
        self.hasher.submit(os.fsencode(__file__), lambda _: done.set())
        assert done.wait(10)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.hasher.close()


def kinds(observations: list[Observation]) -> list[tuple[str, str, str]]:
    return [(one.category, Path(one.file.path).name, one.file.place) for one in observations if one.file]


def test_creating_writing_and_changing_the_mode_is_told_once(bench: Bench) -> None:
    (bench.folder / "a").write_text("x")
    for what in (CREATED, WRITTEN, ATTRIBUTES):
        bench.add(what, "a")
    (seen,) = bench.told()
    assert kinds([seen]) == [("file_create", "a", "test")]
    assert seen.actor == ALICE
    assert not seen.gaps
    assert bench.changes.filtered == {"folded": 2}


def test_nothing_is_told_while_the_file_is_still_being_changed_but_not_forever(bench: Bench) -> None:
    (bench.folder / "a").write_text("x")
    told: list[Observation] = []
    while not told:
        bench.add(WRITTEN, "a")
        told = bench.told(SETTLE_S / 2)
    assert bench.now <= BURST_S + 2 * SETTLE_S


def test_what_two_processes_do_to_a_file_is_told_of_each(bench: Bench) -> None:
    (bench.folder / "a").write_text("x")
    bench.add(CREATED, "a", ALICE)
    os.utime(bench.folder / "a")
    bench.add(WRITTEN, "a", BOB)
    assert [(one.category, one.actor) for one in bench.told()] == [("file_create", ALICE), ("file_write", BOB)]


def test_a_process_that_ended_meanwhile_is_still_the_same(bench: Bench) -> None:
    (bench.folder / "a").write_text("x")
    bench.add(CREATED, "a", ALICE)
    bench.add(WRITTEN, "a", Actor(ALICE.pid))
    (seen,) = bench.told()
    assert seen.actor == ALICE


def test_a_change_says_what_the_file_was_like_before(bench: Bench) -> None:
    file = bench.folder / "a"
    file.write_text("old")
    file.chmod(0o600)
    bench.add(CREATED, "a")
    (created,) = bench.told()
    file.write_text("newer")
    file.chmod(0o644)
    bench.add(WRITTEN | ATTRIBUTES, "a")
    (written,) = bench.told()
    assert created.file is not None
    assert written.file is not None
    assert written.file.old_hashes == created.file.hashes != written.file.hashes
    assert (written.file.old_size, written.file.size) == (3, 5)
    assert (written.file.old_mode, written.file.mode) == (0o100600, 0o100644)


def test_a_file_that_is_replaced_by_renaming_is_one_change_with_what_was_there_before(bench: Bench) -> None:
    (bench.folder / "a").write_text("old")
    bench.add(CREATED, "a")
    (first,) = bench.told()
    (bench.folder / "a.new").write_text("new content")
    bench.add(CREATED, "a.new")
    bench.add(WRITTEN, "a.new")
    (bench.folder / "a.new").rename(bench.folder / "a")
    bench.add(RENAMED, "a", old="a.new")
    (seen,) = bench.told()
    assert kinds([seen]) == [("file_rename", "a", "test")]
    assert first.file is not None
    assert seen.file is not None
    assert Path(seen.file.old_path).name == "a.new"
    assert seen.file.old_hashes == first.file.hashes != seen.file.hashes


def test_two_files_that_change_places_are_two_renamings(bench: Bench) -> None:
    for name in "ab":
        (bench.folder / name).write_text(name)
    bench.add(RENAMED, "b", old="a")
    bench.add(RENAMED, "a", old="b")
    assert [(one.file.old_path[-1], one.file.path[-1]) for one in bench.told() if one.file] == [("a", "b"), ("b", "a")]


def test_a_setuid_bit_is_told_by_itself_also_within_a_burst_and_only_once(bench: Bench) -> None:
    file = bench.folder / "a"
    file.write_text("x")
    file.chmod(0o4755)
    bench.add(CREATED, "a")
    bench.add(ATTRIBUTES, "a")
    assert kinds(bench.told()) == [("file_create", "a", "test"), ("file_attribute", "a", "setuid")]
    file.chmod(0o4711)
    bench.add(ATTRIBUTES, "a")
    assert kinds(bench.told()) == [("file_attribute", "a", "test")]


def test_a_setuid_program_outside_of_the_places_is_told(bench: Bench) -> None:
    (bench.folder / "a").write_text("x")
    (bench.folder / "a").chmod(0o4755)
    bench.add(ATTRIBUTES, "a", place="setuid")
    (seen,) = bench.told()
    assert kinds([seen]) == [("file_attribute", "a", "setuid")]
    assert UNKNOWN_BEFORE in seen.gaps


def test_a_change_of_times_alone_is_counted_and_not_told(bench: Bench) -> None:
    (bench.folder / "a").write_text("x")
    bench.add(CREATED, "a")
    bench.told()
    os.utime(bench.folder / "a", (1, 1))
    bench.add(ATTRIBUTES, "a")
    assert bench.told() == []
    assert bench.changes.filtered["unchanged"] == 1


def test_a_file_that_comes_and_goes_is_told_as_both(bench: Bench) -> None:
    bench.add(CREATED | WRITTEN | DELETED, "a")
    seen = bench.told()
    assert kinds(seen) == [("file_create", "a", "test"), ("file_delete", "a", "test")]


def test_a_deleted_file_is_told_with_what_it_was(bench: Bench) -> None:
    (bench.folder / "a").write_text("x")
    bench.add(CREATED, "a")
    (created,) = bench.told()
    (bench.folder / "a").unlink()
    bench.add(DELETED, "a")
    (seen,) = bench.told()
    assert created.file is not None
    assert seen.file is not None
    assert seen.category == "file_delete"
    assert seen.file.old_hashes == created.file.hashes
    assert (seen.file.old_size, seen.file.size) == (1, None)


def test_a_file_gone_before_it_was_looked_at_says_so(bench: Bench) -> None:
    bench.add(CREATED, "a")
    (seen,) = bench.told()
    assert seen.category == "file_create"
    assert seen.gaps == (GONE,)


def test_a_link_says_where_it_leads_and_a_large_file_why_it_has_no_hash(bench: Bench) -> None:
    (bench.folder / "l").symlink_to("/etc/shadow")
    (bench.folder / "b").write_bytes(b"x" * (HASH_LIMIT + 1))
    bench.add(CREATED, "l")
    bench.add(CREATED, "b")
    link, large = bench.told()
    assert link.file is not None
    assert large.file is not None
    assert link.file.target == "/etc/shadow"
    assert large.gaps == (TOO_LARGE,)
    assert not large.file.hashes


def test_an_observation_waits_for_its_hash_a_moment_and_no_longer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hasher.close()
    (bench.folder / "a").write_text("x")
    bench.add(CREATED, "a")
    assert bench.changes.take(10, SETTLE_S) == []
    assert bench.changes.due_in(SETTLE_S) == pytest.approx(HASH_WAIT_S)
    (seen,) = bench.changes.take(10, SETTLE_S + HASH_WAIT_S)
    assert seen.gaps == (NOT_HASHED_IN_TIME,)


def test_a_batch_is_bounded_and_the_rest_is_due_at_once(bench: Bench) -> None:
    for number in range(5):
        bench.add(CREATED, str(number))
    assert len(bench.changes.take(3, SETTLE_S)) == 3
    assert bench.changes.due_in(SETTLE_S) == 0
    assert bench.changes.pending == 2
    assert len(bench.changes.take(3, SETTLE_S)) == 2
    assert bench.changes.due_in(SETTLE_S) is None
