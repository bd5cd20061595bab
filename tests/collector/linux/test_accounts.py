"""Names of user ids."""

import os
from pathlib import Path

from shield.collector.linux.accounts import UserNames

NOBODY_HAS = 4_000_000_123


def test_root_has_a_name_and_no_user_none() -> None:
    names = UserNames()
    assert names.name(0) == "root"
    assert names.name(0) == "root"
    assert names.name(NOBODY_HAS) == ""
    assert names.name(None) == ""
    assert names.name(0xFFFF_FFFF) == ""


def test_a_refresh_tells_whether_the_password_file_changed(tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.touch()
    names = UserNames(passwd)
    assert names.refresh()
    assert not names.refresh()
    os.utime(passwd, ns=(1, passwd.stat().st_mtime_ns + 1))
    assert names.refresh()
    passwd.unlink()
    assert names.refresh()
    assert not names.refresh()


def test_names_are_looked_up_again_after_a_change(tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.touch()
    names = UserNames(passwd)
    names.refresh()
    assert names.name(0) == "root"
    os.utime(passwd, ns=(1, passwd.stat().st_mtime_ns + 1))
    names.refresh()
    assert names.name(0) == "root"
