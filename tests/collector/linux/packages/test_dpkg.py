"""dpkg's database: this machine's own, compared with dpkg's word, and small ones made for what is rare."""

import hashlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from shield.collector.linux.packages.packages import Packages
from shield.text import decode

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg") or not Path("/var/lib/dpkg/info").is_dir(), reason="no dpkg")

STATUS = """\
Package: tool
Status: install ok installed
Architecture: amd64
Version: 1.2-3

Package: libtool
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 4.5-1
"""


@pytest.fixture(scope="module")
def host() -> Packages:
    return Packages()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with merged /usr and two packages, the first of which lists its program as /bin/tool."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr/bin/tool").write_bytes(b"tool")
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info.parent / "status").write_text(STATUS)
    (info / "tool.list").write_text("/.\n/bin\n/bin/tool\n/etc\n/etc/tool.conf\n/usr\n/usr/share\n/usr/share/tool\n")
    (info / "tool.md5sums").write_text(f"{md5(b'tool')}  bin/tool\n")
    (info / "libtool:amd64.list").write_text("/.\n/usr\n/usr/lib\n/usr/lib/libtool.so\n")
    (info / "libtool:amd64.md5sums").write_text(f"{md5(b'lib')}  usr/lib/libtool.so\n")
    return tmp_path


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def hashes(content: bytes) -> dict[str, str]:
    return {"md5": md5(content)}


@needs_dpkg
def test_three_hundred_files_of_this_machine_belong_to_whom_dpkg_says(host: Packages) -> None:
    lists = sorted(Path("/var/lib/dpkg/info").glob("*.list"))
    listed = (line for file in lists for line in file.read_bytes().splitlines() if not line.endswith(b"/."))
    everything = [path for path in listed if b"*" not in path and Path(os.fsdecode(path)).is_file()]
    chosen = random.Random(4).sample(everything, 300)
    told = subprocess.run(["dpkg", "-S", "--", *chosen], capture_output=True, check=False).stdout
    owners: dict[bytes, set[str]] = {}
    for line in told.splitlines():
        names, _, path = line.partition(b": ")
        if not names.startswith(b"diversion"):
            owners.setdefault(path, set()).update(name.partition(":")[0] for name in decode(names).split(", "))
    assert len(owners) > 250
    for path, names in owners.items():
        assert host.owner_of(decode(path)) in names, path


@needs_dpkg
def test_what_no_package_brought_belongs_to_none(host: Packages, tmp_path: Path) -> None:
    for path in ("/usr/bin/no-such-program", str(tmp_path), "/", "", "/etc/passwd", "relative"):
        assert host.owner_of(path) == ""
    assert host.verdict("/usr/bin/no-such-program", {}).state == "unowned"


@needs_dpkg
@pytest.mark.parametrize("name", ["ls", "cat", "env", "sha256sum"])
def test_programs_of_this_machine_are_what_their_package_brought(host: Packages, name: str) -> None:
    content = Path("/usr/bin", name).read_bytes()
    for folder in ("/usr/bin", "/bin"):
        verdict = host.verdict(f"{folder}/{name}", hashes(content))
        assert (verdict.package, verdict.state) == ("coreutils", "unchanged")
        assert verdict.version == subprocess.check_output(["dpkg-query", "-W", "-f${Version}", "coreutils"], text=True)
        assert host.verdict(f"{folder}/{name}", hashes(content + b"\0")).state == "modified"


def test_a_file_is_found_by_both_names_where_usr_is_merged(root: Path) -> None:
    packages = Packages(root)
    for path in ("/bin/tool", "/usr/bin/tool"):
        assert packages.verdict(path, hashes(b"tool")) == ("tool", "1.2-3", "unchanged")
        assert packages.verdict(path, hashes(b"other")) == ("tool", "1.2-3", "modified")


def test_where_usr_is_not_merged_the_names_are_two_files(root: Path) -> None:
    (root / "bin").unlink()
    (root / "bin").mkdir()
    packages = Packages(root)
    assert packages.owner_of("/bin/tool") == "tool"
    assert packages.owner_of("/usr/bin/tool") == ""


def test_a_package_of_one_architecture_goes_by_its_plain_name(root: Path) -> None:
    verdict = Packages(root).verdict("/usr/lib/libtool.so", hashes(b"lib"))
    assert verdict == ("libtool", "4.5-1", "unchanged")


def test_a_changed_configuration_file_is_not_called_modified(root: Path) -> None:
    assert Packages(root).verdict("/etc/tool.conf", hashes(b"edited")).state == "unverified"


def test_a_package_without_checksums_leaves_its_files_unverified(root: Path) -> None:
    (root / "var/lib/dpkg/info/tool.md5sums").unlink()
    assert Packages(root).verdict("/bin/tool", hashes(b"tool")).state == "unverified"


def test_a_diverted_file_belongs_to_the_package_that_lists_it_under_its_old_name(root: Path) -> None:
    dpkg = root / "var/lib/dpkg"
    (dpkg / "diversions").write_text("/bin/tool\n/bin/tool.real\nwrapper\n")
    (dpkg / "info/wrapper.list").write_text("/.\n/bin\n/bin/tool\n")
    (dpkg / "info/wrapper.md5sums").write_text(f"{md5(b'wrapper')}  bin/tool\n")
    packages = Packages(root)
    assert packages.verdict("/usr/bin/tool", hashes(b"wrapper"))[::2] == ("wrapper", "unchanged")
    assert packages.verdict("/usr/bin/tool.real", hashes(b"tool"))[::2] == ("tool", "unchanged")
    assert packages.verdict("/usr/bin/tool.real", hashes(b"other")).state == "modified"


def test_names_that_are_not_text_are_found(root: Path) -> None:
    name = b"/usr/bin/caf\xe9 \x1b[31m"
    (root / "var/lib/dpkg/info/tool.list").write_bytes(b"/.\n/usr\n/usr/bin\n%b\n" % name)
    assert Packages(root).owner_of(decode(name)) == "tool"
