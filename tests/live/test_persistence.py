"""Drift of persistence below a folder of the real kernel: each change once, in order."""

import os
import select
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shield.collector.linux.persistence.drift import PersistenceOptions, PersistenceSource
from shield.collector.linux.persistence.state import StateDamaged
from shield.event import Persistence
from shield.record import Observation

JOB = "* * * * * root /opt/{}\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGHxTqQ5lO9y me\n"
WAIT_S = 20  # only a failing test waits that long

Told = list[tuple[str, str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("etc/cron.d", "etc/systemd/system", "root/.ssh", "var/spool/cron/crontabs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/bash\n")
    (tmp_path / "etc/cron.d/old").write_text(JOB.format("old"))
    return tmp_path


def make(root: Path, **options: float) -> PersistenceSource:
    return PersistenceSource(PersistenceOptions(root=str(root), settle_s=0.05, **options))


@pytest.fixture
def source(root: Path) -> Iterator[PersistenceSource]:
    opened = make(root)
    opened.open()
    yield opened
    opened.close()


def seen(source: PersistenceSource, number: int) -> list[Observation]:
    """Wait in the kernel, as the agent does, until so many changes are told."""
    fd = source.fileno()
    assert fd is not None
    found: list[Observation] = []
    end = time.monotonic() + WAIT_S
    while len(found) < number and time.monotonic() < end:
        select.select([fd], [], [], 1)
        found += [one for one in source.read() if isinstance(one, Observation)]
    assert len(found) == number
    return found


def rest(source: PersistenceSource) -> list[Observation]:
    """What is still told when the source is stopped."""
    source.stop()
    found: list[Observation] = []
    while batch := source.read():
        found += [one for one in batch if isinstance(one, Observation)]
    return found


def about(one: Observation) -> Persistence:
    assert one.persistence is not None
    return one.persistence


def told(found: list[Observation]) -> Told:
    return [(about(one).change, about(one).mechanism, about(one).path) for one in found]


def balanced(source: PersistenceSource, read: int) -> bool:
    count = source.count()
    return count.seen == read + sum(count.filtered.values()) + sum(count.dropped.values()) + count.pending


def test_what_is_there_at_the_start_is_no_change(source: PersistenceSource) -> None:
    assert rest(source) == []
    assert source.count().seen == 0


def test_a_cron_file_a_unit_a_drop_in_and_a_key_are_told_once_each_and_in_order(
    source: PersistenceSource, root: Path
) -> None:
    files = {
        "/etc/cron.d/new": ("cron", JOB.format("new")),
        "/etc/systemd/system/a.service": ("systemd_service", "[Service]\nExecStart=/tmp/a\n"),
        "/etc/systemd/system/a.service.d/b.conf": ("systemd_drop_in", "[Service]\nExecStartPost=/tmp/b\n"),
        "/root/.ssh/authorized_keys": ("ssh_key", KEY),
    }
    for path, (_, content) in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        file.chmod(0o600)
    found = seen(source, len(files))
    assert sorted(told(found)) == sorted(("added", mechanism, path) for path, (mechanism, _) in files.items())
    assert [one.ts_ns for one in found] == sorted(one.ts_ns for one in found)
    for path in files:
        (root / path.lstrip("/")).unlink()
        seen(source, 1)
    assert rest(source) == []
    assert balanced(source, 2 * len(files))


def test_a_changed_line_is_told_with_its_difference_and_without_its_secret(
    source: PersistenceSource, root: Path
) -> None:
    file = root / "etc/cron.d/old"
    file.write_text("* * * * * root /opt/old --password hunter2\n")
    (one,) = seen(source, 1)
    change = about(one)
    assert (change.change, change.name, change.command) == ("changed", "old", "/opt/old --password [redacted]")
    assert "-* * * * * root /opt/old\n+* * * * * root /opt/old --password [redacted]" in change.diff
    assert change.hashes != change.old_hashes
    assert b"hunter2" not in source.state()


def test_a_change_in_a_secret_only_is_told_as_such(source: PersistenceSource, root: Path) -> None:
    file = root / "etc/cron.d/old"
    file.write_text("* * * * * root /opt/old --password one\n")
    seen(source, 1)
    file.write_text("* * * * * root /opt/old --password two\n")
    (one,) = seen(source, 1)
    assert about(one).change == "changed"
    assert about(one).diff == ""
    assert "secret" in one.gaps[0]


def test_a_file_that_comes_and_goes_at_once_is_told_as_added_then_removed(
    source: PersistenceSource, root: Path
) -> None:
    file = root / "etc/cron.d/short"
    file.write_text(JOB.format("x"))
    file.unlink()
    assert [change for change, _, path in told(seen(source, 2)) if path == "/etc/cron.d/short"] == ["added", "removed"]


def test_what_was_in_a_file_that_came_and_went_is_told_if_it_could_be_read(
    source: PersistenceSource, root: Path
) -> None:
    file = root / "etc/cron.d/short"
    file.write_text(JOB.format("x"))
    assert source.read() == []  # too early to tell, in time to read
    file.unlink()
    assert [(about(one).change, about(one).command) for one in seen(source, 2)] == [
        ("added", "/opt/x"),
        ("removed", "/opt/x"),
    ]


@pytest.mark.parametrize("temporary", ["tmp.Ab12", "root.dpkg-new"])
def test_a_file_put_in_the_place_of_another_is_one_change(
    source: PersistenceSource, root: Path, temporary: str
) -> None:
    folder = root / "var/spool/cron/crontabs"
    (folder / temporary).write_text("0 0 * * * /opt/x\n")
    source.read()
    (folder / temporary).rename(folder / "root")
    assert told(seen(source, 1)) == [("added", "cron", "/var/spool/cron/crontabs/root")]
    assert rest(source) == []
    assert source.count().filtered == {"unchanged": 1}


def test_a_burst_of_writes_is_one_change(source: PersistenceSource, root: Path) -> None:
    for number in range(50):
        (root / "etc/cron.d/old").write_text(JOB.format(f"old {number}"))
    assert [about(one).command for one in rest(source)] == ["/opt/old 49"]


def test_more_rights_are_a_change(source: PersistenceSource, root: Path) -> None:
    (root / "etc/cron.d/old").chmod(0o666)
    (one,) = seen(source, 1)
    assert one.file is not None
    assert (one.file.old_mode, one.file.mode) == (0o644, 0o666)


def test_folders_that_come_later_are_watched_too(source: PersistenceSource, root: Path) -> None:
    folder = root / "root/.config/systemd/user"
    folder.mkdir(parents=True)
    (folder / "a.service").write_text("[Service]\nExecStart=/tmp/a\n")
    assert told(seen(source, 1)) == [("added", "systemd_service", "/root/.config/systemd/user/a.service")]
    shutil.rmtree(root / "root/.config")
    assert told(seen(source, 1)) == [("removed", "systemd_service", "/root/.config/systemd/user/a.service")]


def test_a_folder_moved_into_place_is_found_with_all_in_it(source: PersistenceSource, root: Path) -> None:
    staged = root / "tmp/x.service.d"
    staged.mkdir(parents=True)
    (staged / "a.conf").write_text("[Service]\nExecStart=/x\n")
    staged.rename(root / "etc/systemd/system/x.service.d")
    assert told(seen(source, 1)) == [("added", "systemd_drop_in", "/etc/systemd/system/x.service.d/a.conf")]


def test_without_watches_the_slow_look_finds_every_change(root: Path) -> None:
    source = make(root, watches=0, every_s=0.2)
    source.open()
    try:
        assert any("can't be watched" in one for one in source.blind_spots)
        (root / "etc/cron.d/new").write_text(JOB.format("new"))
        (root / "etc/cron.d/old").unlink()
        assert sorted(told(seen(source, 2))) == [
            ("added", "cron", "/etc/cron.d/new"),
            ("removed", "cron", "/etc/cron.d/old"),
        ]
    finally:
        source.close()


def test_what_changed_while_nobody_watched_is_told_with_a_gap(root: Path) -> None:
    first = make(root)
    first.open()
    first.stop()
    (root / "etc/cron.d/new").write_text(JOB.format("new"))
    (root / "etc/cron.d/old").unlink()
    second = make(root)
    second.restore(first.state())
    second.open()
    try:
        found = seen(second, 2)
        assert sorted(change for change, _, _ in told(found)) == ["added", "removed"]
        assert all("not watching" in one.gaps[0] for one in found)
        added = next(one for one in found if about(one).change == "added")
        assert added.ts_ns == (root / "etc/cron.d/new").stat().st_ctime_ns
    finally:
        second.close()


def test_what_is_known_keeps_the_time_at_which_it_was_first_seen(root: Path) -> None:
    first = make(root)
    first.open()
    first.close()
    second = make(root)
    second.restore(first.state())
    second.open()
    (root / "etc/cron.d/old").unlink()
    (before,) = (about(one).first_seen_ns for one in rest(second))
    assert 0 < before < time.time_ns()
    assert first.state().find(before.to_bytes(8, "big")) > 0


@pytest.mark.parametrize("stored", [b"", b"\xff", b"\x94\x02\x00\x90\x90", b"x" * 100])
def test_a_damaged_state_is_refused(root: Path, stored: bytes) -> None:
    with pytest.raises(StateDamaged):
        make(root).restore(stored)


def test_a_state_cut_short_anywhere_is_refused(source: PersistenceSource, root: Path) -> None:
    state = source.state()
    for length in range(0, len(state), 7):
        with pytest.raises(StateDamaged):
            make(root).restore(state[:length])


def test_a_queue_that_overflowed_is_counted_and_everything_looked_at_again(root: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    source = make(root)
    source.open()
    try:
        old = root / "etc/cron.d/old"
        for number in range(most // 2 + 10):
            os.chmod(old, 0o600 + number % 2)  # noqa: PTH101  tens of thousands
            os.chmod(root / "etc/passwd", 0o644)  # noqa: PTH101
        rest(source)
        assert source.count().dropped == {"queue_overflow": 1}
    finally:
        source.close()


def test_a_thousand_files_written_by_nobody_in_particular_are_all_told(source: PersistenceSource, root: Path) -> None:
    for number in range(1000):
        (root / f"etc/cron.d/job{number}").write_text(JOB.format(number))
    found = rest(source)
    assert len({about(one).path for one in found}) == len(found) == 1000
    assert balanced(source, 1000)


def test_nothing_is_left_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a count
    for _ in range(3):
        one = make(root)
        one.open()
        one.close()
        one.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
