"""rpm's database: one that rpm itself has made, and headers that nobody should have made."""

import hashlib
import shutil
import sqlite3
import struct
import subprocess
from pathlib import Path
from subprocess import DEVNULL

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.packages.database import Damaged
from shield.collector.linux.packages.packages import Packages
from shield.collector.linux.packages.rpm import RpmHeader

SPEC = """\
Name: tool
Epoch: 2
Version: 1.5
Release: 7
Summary: A tool
License: MIT
BuildArch: noarch
%description
A tool.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc
printf tool > %{buildroot}/usr/bin/tool
printf setting > %{buildroot}/etc/tool.conf
ln -s tool %{buildroot}/usr/bin/link
%files
%dir /usr/bin
%attr(755,root,root) /usr/bin/tool
/usr/bin/link
%config /etc/tool.conf
"""


def sha256(content: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system whose database rpm has made, with one package that rpmbuild has made."""
    if not shutil.which("rpmbuild") or not shutil.which("rpm"):
        pytest.skip("rpm and rpmbuild aren't installed")
    folder = tmp_path_factory.mktemp("rpm")
    (folder / "tool.spec").write_text(SPEC)
    subprocess.run(
        ["rpmbuild", "-bb", "--define", f"_topdir {folder}/build", folder / "tool.spec"],
        check=True,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    (package,) = (folder / "build/RPMS").rglob("*.rpm")
    system = folder / "root"
    database = ["--dbpath", system / "var/lib/rpm", "--define", "_db_backend sqlite"]
    (system / "var/lib/rpm").mkdir(parents=True)
    subprocess.run(["rpm", *database, "-i", "--justdb", "--nodeps", "--ignoreos", package], check=True)
    return system


@pytest.fixture
def packages(root: Path) -> Packages:
    return Packages(root)


def test_a_program_belongs_to_its_package_and_is_compared_by_its_digest(packages: Packages) -> None:
    assert packages.verdict("/usr/bin/tool", sha256(b"tool")) == ("tool", "2:1.5-7", "unchanged")
    assert packages.verdict("/usr/bin/tool", sha256(b"trojan")) == ("tool", "2:1.5-7", "modified")
    assert packages.verdict("/usr/bin/other", sha256(b"x")).state == "unowned"
    assert packages.problems == ()


def test_links_belong_to_the_package_and_folders_to_nobody(packages: Packages) -> None:
    assert packages.owner_of("/usr/bin/link") == "tool"
    assert packages.owner_of("/usr/bin") == ""


def test_a_changed_configuration_file_is_not_called_modified(packages: Packages) -> None:
    assert packages.verdict("/etc/tool.conf", sha256(b"edited"))[::2] == ("tool", "unverified")


def test_reading_leaves_nothing_beside_the_database(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "usr/lib/sysimage/rpm"
    copy.mkdir(parents=True)
    shutil.copy(root / "var/lib/rpm/rpmdb.sqlite", copy)
    packages = Packages(tmp_path)
    assert packages.owner_of("/usr/bin/tool") == "tool"


def header(*entries: tuple[int, int, int, bytes]) -> bytes:
    """Return a header of entries: tag, type, count, data."""
    index, data = b"", b""
    for tag, kind, count, content in entries:
        index += struct.pack(">IIII", tag, kind, len(data), count)
        data += content
    return struct.pack(">II", len(entries), len(data)) + index + data


def files(*names: str, states: bytes = b"") -> bytes:
    return header(
        (1000, 6, 1, b"made\0"),
        (1001, 6, 1, b"1\0"),
        (1002, 6, 1, b"2\0"),
        (1116, 4, len(names), bytes(4 * len(names))),
        (1117, 8, len(names), b"".join(name.encode() + b"\0" for name in names)),
        (1118, 8, 1, b"/opt/\0"),
        (1035, 8, len(names), b"".join(b"%032x\0" % number for number in range(len(names)))),
        *([(1029, 2, len(states), states)] if states else []),
    )


def test_an_old_package_has_md5_digests_and_no_epoch() -> None:
    made = RpmHeader(files("a", "b"))
    assert made.package("9") == ("made", "1-2", "9")
    assert list(made.files()) == [(0, b"/opt/a"), (1, b"/opt/b")]
    assert made.digest(1) == ("md5", f"{1:032x}")
    assert made.digest(2) is None


def test_a_file_that_another_package_has_replaced_is_not_in_place() -> None:
    assert list(RpmHeader(files("a", "b", states=b"\1\0")).files()) == [(1, b"/opt/b")]


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_header_is_refused_and_never_more(tail: bytes, at: int, byte: int) -> None:
    sound = bytearray(files("a", "b") + tail)
    sound[at % len(sound)] = byte
    for blob in (bytes(sound), bytes(sound[:at]), tail):
        try:
            made = RpmHeader(blob)
            made.package("1")
            for number, _ in made.files():
                made.digest(number)
        except Damaged:
            pass


@pytest.mark.parametrize("blob", ["text", 5, None, b"", b"\0\0\0\1"])
def test_rows_that_hold_no_header_are_a_problem_that_is_told(tmp_path: Path, blob: object) -> None:
    folder = tmp_path / "var/lib/rpm"
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "rpmdb.sqlite") as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
        database.execute("INSERT INTO Packages (blob) VALUES (?)", (blob,))
    database.close()
    packages = Packages(tmp_path)
    packages.load()
    assert len(packages.problems) == 1
    assert packages.verdict("/usr/bin/tool", {}).state == ""
