"""apk's database, as Alpine writes it."""

import base64
import hashlib
from pathlib import Path

import pytest

from shield.collector.linux.packages.packages import Packages


def checksum(content: bytes) -> str:
    return "Q1" + base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()


INSTALLED = f"""\
C:Q1pSfSQGAWdGGHDI1rbJJTuL0yI48=
P:musl
V:1.2.4-r2
A:x86_64
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:{checksum(b"musl")}
R:libc.musl-x86_64.so.1
a:0:0:777
Z:{checksum(b"ld-musl-x86_64.so.1")}

C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=
P:busybox
V:1.36.1-r15
F:
F:bin
R:busybox
a:0:0:755
Z:{checksum(b"busybox")}
F:etc
M:0:0:1777
R:securetty
F:usr/share/udhcpc
R:default.script
Z:Q1not base64!
"""


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    (tmp_path / "lib/apk/db").mkdir(parents=True)
    (tmp_path / "lib/apk/db/installed").write_text(INSTALLED)
    return Packages(tmp_path)


def sha1(content: bytes) -> dict[str, str]:
    return {"sha1": hashlib.sha1(content, usedforsecurity=False).hexdigest()}


def test_files_belong_to_their_package_and_are_compared_by_their_checksum(packages: Packages) -> None:
    assert packages.algorithms >= {"sha1"}
    assert packages.verdict("/bin/busybox", sha1(b"busybox")) == ("busybox", "1.36.1-r15", "unchanged")
    assert packages.verdict("/bin/busybox", sha1(b"trojan")) == ("busybox", "1.36.1-r15", "modified")
    assert packages.owner_of("/lib/ld-musl-x86_64.so.1") == "musl"
    assert packages.verdict("/bin/other", sha1(b"x")).state == "unowned"


@pytest.mark.parametrize("path", ["/etc/securetty", "/usr/share/udhcpc/default.script"])
def test_a_file_without_a_usable_checksum_is_unverified(packages: Packages, path: str) -> None:
    assert packages.verdict(path, sha1(b"x"))[::2] == ("busybox", "unverified")


def test_folders_belong_to_nobody(packages: Packages) -> None:
    assert packages.owner_of("/bin") == ""
