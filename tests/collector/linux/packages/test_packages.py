"""The index over all databases: when it is renewed, and what is said while it can't be trusted."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from shield.collector.linux.packages.packages import Packages


@pytest.fixture
def root(tmp_path: Path) -> Path:
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info.parent / "status").write_text("Package: tool\nVersion: 1\n")
    (info.parent / "lock").touch()
    (info / "tool.list").write_text("/opt/tool\n")
    return tmp_path


def test_a_new_package_is_known_after_the_next_load(root: Path) -> None:
    packages = Packages(root)
    assert not packages.ready
    packages.load()
    assert packages.ready
    assert packages.settled()
    assert packages.owner_of("/opt/new") == ""
    (root / "var/lib/dpkg/info/new.list").write_text("/opt/new\n")
    assert not packages.settled()
    packages.load()
    assert packages.owner_of("/opt/new") == "new"
    assert packages.generation == 2
    packages.load()
    assert packages.generation == 2


def test_while_the_package_manager_holds_its_lock_nothing_is_settled(root: Path) -> None:
    packages = Packages(root)
    packages.load()
    child = os.fork()
    if not child:
        with (root / "var/lib/dpkg/lock").open("w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            (root / "held").touch()
            while not (root / "release").exists():
                pass
        os._exit(0)
    while not (root / "held").exists():
        pass
    held = packages.settled()
    (root / "release").touch()
    os.waitpid(child, 0)
    assert not held
    assert packages.settled()


def test_without_any_database_nothing_is_called_unowned(tmp_path: Path) -> None:
    packages = Packages(tmp_path)
    assert packages.verdict("/usr/bin/tool", {}) == ("", "", "")
    assert packages.problems == ()


def test_a_database_that_cannot_be_read_is_named_and_nothing_is_called_unowned(root: Path) -> None:
    (root / "var/lib/rpm").mkdir()
    (root / "var/lib/rpm/rpmdb.sqlite").write_bytes(b"not a database, but longer than nothing" * 100)
    packages = Packages(root)
    packages.load()
    assert packages.owner_of("/opt/tool") == "tool"
    assert packages.verdict("/opt/other", {}).state == ""
    assert "rpm" in packages.problems[0]


def test_an_older_form_of_rpms_database_is_said_to_be_unsupported(tmp_path: Path) -> None:
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    (tmp_path / "var/lib/rpm/Packages").write_bytes(b"Berkeley DB")
    packages = Packages(tmp_path)
    assert "older form" in packages.problems[0]
    assert packages.verdict("/usr/bin/tool", {}).state == ""


def test_of_packages_that_share_a_file_the_one_that_brought_it_decides(root: Path) -> None:
    info = root / "var/lib/dpkg/info"
    (info / "twin.list").write_text("/opt/tool\n")
    (info / "tool.md5sums").write_text(f"{'0' * 32}  opt/tool\n")
    (info / "twin.md5sums").write_text(f"{'1' * 32}  opt/tool\n")
    assert Packages(root).verdict("/opt/tool", {"md5": "1" * 32}).state == "unchanged"
    assert Packages(root).verdict("/opt/tool", {"md5": "2" * 32}).state == "modified"


def test_many_threads_that_ask_at_once_build_one_index(root: Path) -> None:
    packages = Packages(root)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(packages.owner_of("/opt/tool"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["tool"] * 8
    assert packages.generation == 1


def test_the_index_of_a_hundred_thousand_files_takes_less_than_two_megabytes(root: Path) -> None:
    info = root / "var/lib/dpkg/info"
    (info / "large.list").write_text("".join(f"/opt/large/{number}\n" for number in range(100_000)))
    packages = Packages(root)
    packages.load()
    assert packages.size < 2_000_000
    assert packages.owner_of("/opt/large/77777") == "large"
    assert packages.owner_of("/opt/large/100000") == ""
