"""Changes to accounts: each told once, as what it is, with the file it was made in and without any secret."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.identity.account_comparison import Accounts, compare
from shield.collector.linux.identity.account_files import (
    Digests,
    granted_groups,
    group_shadows,
    groups,
    shadows,
    sudo_rules,
    users,
)
from shield.collector.linux.identity.accounts_change import AccountSource
from shield.collector.source import SourceUnavailable
from shield.event import Account
from shield.record import Observation

HASH, OTHER_HASH = "$y$j9T$abcdefgh$0123456789", "$6$salt$0123456789abcdef"
PASSWD = (
    "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n"
    "alice:x:1000:1000::/home/alice:/bin/bash\n"
)
SHADOW = f"root:*:19000:0:99999:7:::\nwww-data:*:19000:0:99999:7:::\nalice:{HASH}:19000:0:99999:7:::\n"
GROUP = "root:x:0:\nsudo:x:27:\nwww-data:x:33:\nusers:x:100:\nalice:x:1000:\n"
GSHADOW = "root:*::\nsudo:*::\nwww-data:*::\nusers:*::\nalice:!::\n"
SUDOERS = "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    etc = tmp_path / "etc"
    (etc / "sudoers.d").mkdir(parents=True)
    for name, text in (("passwd", PASSWD), ("shadow", SHADOW), ("group", GROUP), ("gshadow", GSHADOW)):
        (etc / name).write_text(text)
    (etc / "sudoers").write_text(SUDOERS)
    return tmp_path


def opened(root: Path) -> AccountSource:
    source = AccountSource(root)
    source.open()
    assert source.read() == []
    return source


def told(source: AccountSource) -> list[Account]:
    records = source.read()
    assert source.count().seen >= len(records)
    found = [record.account for record in records if isinstance(record, Observation) and record.account is not None]
    assert len(found) == len(records)
    return found


def replaced(root: Path, name: str, old: str, new: str) -> None:
    """Change a file as the account tools do: a new one takes its place."""
    path = root / "etc" / name
    text = path.read_text()
    assert old in text
    fresh = path.with_name(f"{name}+")
    fresh.write_text(text.replace(old, new))
    fresh.rename(path)


def appended(root: Path, name: str, text: str) -> None:
    with (root / "etc" / name).open("a") as file:
        file.write(text)


BOB = "bob:x:1001:1001::/home/bob:/bin/bash\n"


@pytest.mark.parametrize(
    ("name", "old", "new", "account"),
    [
        ("passwd", "alice:x", f"{BOB}alice:x", Account("user", "bob", "added", 1001, new="/bin/bash")),
        (
            "passwd",
            "alice:x",
            "toor:x:0:0::/root:/bin/sh\nalice:x",
            Account("user", "toor", "added", 0, new="/bin/sh", privileged=True, duplicate_of="root"),
        ),
        (
            "passwd",
            "alice:x:1000",
            "alice:x:0",
            Account("user", "alice", "id", 0, old="1000", new="0", privileged=True, duplicate_of="root"),
        ),
        (
            "passwd",
            "/usr/sbin/nologin",
            "/bin/sh",
            Account("user", "www-data", "shell", 33, old="/usr/sbin/nologin", new="/bin/sh"),
        ),
        ("passwd", "/home/alice", "/tmp/a", Account("user", "alice", "home", 1000, old="/home/alice", new="/tmp/a")),
        (
            "passwd",
            "root:x:0",
            "root::0",
            Account("user", "root", "password", 0, old="locked", new="none", privileged=True),
        ),
        (
            "passwd",
            "alice:x:1000:1000::/home/alice:/bin/bash\n",
            "",
            Account("user", "alice", "removed", 1000, old="/bin/bash"),
        ),
        (
            "shadow",
            "www-data:*",
            f"www-data:{HASH}",
            Account("user", "www-data", "password", 33, old="locked", new="set"),
        ),
        ("shadow", HASH, OTHER_HASH, Account("user", "alice", "password", 1000, old="set", new="set")),
        ("shadow", HASH, f"!{HASH}", Account("user", "alice", "locked", 1000, old="set", new="locked")),
        ("shadow", HASH, "", Account("user", "alice", "password", 1000, old="set", new="none")),
        (
            "shadow",
            "19000:0:99999:7:::\nwww",
            "19000:0:99999:7::1:\nwww",
            Account("user", "root", "changed", 0, new="expires on day 1", privileged=True),
        ),
        (
            "group",
            "sudo:x:27:",
            "sudo:x:27:alice",
            Account("membership", "sudo", "member_added", 27, "alice", privileged=True),
        ),
        ("group", "users:x:100:", "users:x:100:alice", Account("membership", "users", "member_added", 100, "alice")),
        ("group", "users:x:100", "users:x:101", Account("group", "users", "id", 101, old="100", new="101")),
        ("group", "users:x", "new:x:5000:\nusers:x", Account("group", "new", "added", 5000)),
        ("group", "users:x:100:\n", "", Account("group", "users", "removed", 100)),
        ("gshadow", "users:*", f"users:{HASH}", Account("group", "users", "password", 100, old="locked", new="set")),
        (
            "gshadow",
            "sudo:*::",
            "sudo:*:alice:",
            Account("group", "sudo", "changed", 27, "alice", new="administrator", privileged=True),
        ),
        (
            "sudoers",
            "root ALL",
            "eve\tALL=(ALL) NOPASSWD: \\\n   ALL # so\nroot ALL",
            Account("sudoers", "eve", "added", new="eve ALL=(ALL) NOPASSWD: ALL", privileged=True),
        ),
        ("sudoers", "env_reset", "!env_reset", Account("sudoers", "Defaults", "added", new="Defaults !env_reset")),
    ],
)
def test_each_change_is_told_as_what_it_is(root: Path, name: str, old: str, new: str, account: Account) -> None:
    source = opened(root)
    before, text = time.time_ns(), (root / "etc" / name).read_text()
    replaced(root, name, old, new)
    records = source.read()
    first = records[0]
    assert isinstance(first, Observation)
    assert first.account == account
    assert first.category == "account_change"
    assert first.file is not None
    assert first.file.path == str(root / "etc" / name)
    assert abs(first.ts_ns - before) < 2_000_000_000
    others = [record.account for record in records[1:] if isinstance(record, Observation) and record.account]
    assert all(other.change == "removed" and other.kind == "sudoers" for other in others)
    (root / "etc" / name).write_text(text)
    assert told(source), "and back again"
    assert source.read() == []
    source.close()


def test_what_is_locked_is_unlocked_again(root: Path) -> None:
    source = opened(root)
    replaced(root, "shadow", HASH, f"!{HASH}")
    replaced(root, "shadow", f"!{HASH}", HASH)
    assert told(source) == [], "what is back where it was when it is looked at was nothing"
    replaced(root, "shadow", HASH, f"!{HASH}")
    (locked,) = told(source)
    replaced(root, "shadow", f"!{HASH}", HASH)
    (unlocked,) = told(source)
    assert (locked.change, unlocked.change) == ("locked", "unlocked")
    source.close()


def test_a_new_member_of_an_administrators_group_is_told_first_even_if_it_is_its_primary_one(root: Path) -> None:
    source = opened(root)
    appended(root, "group", "a-club:x:900:bob\n")
    replaced(root, "passwd", "alice:x", "bob:x:1001:27::/home/bob:/bin/bash\nalice:x")
    first, second, *others = told(source)
    assert {(first.kind, first.change), (second.kind, second.change)} == {
        ("user", "added"),
        ("membership", "member_added"),
    }
    assert first.privileged
    assert second.privileged
    assert not any(other.privileged for other in others)
    source.close()


def test_groups_that_sudoers_names_give_power_too(root: Path) -> None:
    (root / "etc/sudoers.d/ops").write_text('%ops,%"domain admins" web=(root) /usr/bin/systemctl\n')
    appended(root, "group", "ops:x:901:\n")
    source = opened(root)
    replaced(root, "group", "ops:x:901:", "ops:x:901:alice")
    (joined,) = told(source)
    assert joined == Account("membership", "ops", "member_added", 901, "alice", privileged=True)
    source.close()


def test_a_file_in_sudoers_d_is_told_when_it_is_written_and_when_it_goes(root: Path) -> None:
    source = opened(root)
    rules = root / "etc/sudoers.d/cloud"
    rules.write_text("# by hand\nubuntu ALL=(ALL) NOPASSWD:ALL\n")
    (root / "etc/sudoers.d/cloud.bak").write_text("eve ALL=(ALL) ALL\n")
    (root / "etc/sudoers.d/cloud~").write_text("eve ALL=(ALL) ALL\n")
    (added,) = told(source)
    assert (added.name, added.change, added.new) == ("ubuntu", "added", "ubuntu ALL=(ALL) NOPASSWD:ALL")
    rules.unlink()
    (removed,) = told(source)
    assert (removed.change, removed.old) == ("removed", "ubuntu ALL=(ALL) NOPASSWD:ALL")
    source.close()


def test_a_folder_for_rules_that_comes_later_is_watched_too(root: Path) -> None:
    (root / "etc/sudoers.d").rmdir()
    source = opened(root)
    (root / "etc/sudoers.d").mkdir()
    (root / "etc/sudoers.d/one").write_text("one ALL=(ALL) ALL\n")
    assert [account.name for account in told(source)] == ["one"]
    (root / "etc/sudoers.d/two").write_text("two ALL=(ALL) ALL\n")
    assert [account.name for account in told(source)] == ["two"]
    source.close()


def test_a_file_that_is_empty_or_gone_is_a_loss_and_no_removal_of_everybody(root: Path) -> None:
    source = opened(root)
    passwd = root / "etc/passwd"
    passwd.write_text("")
    assert source.read() == []
    passwd.unlink()
    assert source.read() == []
    assert source.count().dropped == {"unreadable": 2}
    passwd.write_text(PASSWD + BOB)
    assert [account.name for account in told(source)] == ["bob"]
    count = source.count()
    assert count.seen == 1 + sum(count.dropped.values())
    source.close()


def test_a_file_written_by_another_name_is_noticed_a_little_later(root: Path) -> None:
    os.link(root / "etc/passwd", root / "elsewhere")
    source = AccountSource(root, interval=0)
    source.open()
    with (root / "elsewhere").open("a") as file:
        file.write(BOB)
    assert [account.name for _ in range(3) for account in told(source)] == ["bob"]
    source.close()


def test_what_changed_while_nobody_watched_is_told_after_a_restart(root: Path) -> None:
    source = opened(root)
    kept = source.state()
    source.close()
    assert HASH.encode() not in kept
    assert b"0123456789" not in kept
    replaced(root, "shadow", HASH, OTHER_HASH)
    appended(root, "passwd", BOB)
    again = AccountSource(root)
    again.restore(kept)
    again.open()
    records = again.read()
    changes = {(r.account.name, r.account.change) for r in records if isinstance(r, Observation) and r.account}
    assert changes == {("alice", "password"), ("bob", "added")}
    assert all(isinstance(r, Observation) and r.gaps == ("it happened while Shield did not run",) for r in records)
    assert again.read() == []
    again.close()


def test_a_host_without_a_password_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="etc/passwd"):
        AccountSource(tmp_path).open()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("useradd") is None, reason="needs root and the account tools")
def test_the_real_tools_are_understood(root: Path) -> None:
    def run(*command: str) -> list[tuple[str, str, str]]:
        subprocess.run([command[0], "--prefix", str(root), *command[1:]], check=True, capture_output=True)
        return sorted((account.kind, account.name, account.change) for account in told(source))

    (root / "etc/login.defs").write_text("")
    source = opened(root)
    assert run("useradd", "-U", "-M", "eve") == [("group", "eve", "added"), ("user", "eve", "added")]
    assert run("usermod", "-p", HASH, "eve") == [("user", "eve", "password")]
    assert run("usermod", "-L", "eve") == [("user", "eve", "locked")]
    assert run("usermod", "-U", "eve") == [("user", "eve", "unlocked")]
    assert run("usermod", "-aG", "sudo", "eve") == [("membership", "sudo", "member_added")]
    assert run("usermod", "-s", "/bin/dash", "eve") == [("user", "eve", "shell")]
    assert run("usermod", "-o", "-u", "0", "eve") == [("user", "eve", "id")]
    assert run("groupadd", "club") == [("group", "club", "added")]
    removed = run("userdel", "-f", "eve")
    assert ("user", "eve", "removed") in removed
    assert ("membership", "sudo", "member_removed") in removed
    source.close()


def test_rules_of_sudoers_are_read_as_sudo_reads_them() -> None:
    text = (
        b"# a\n#1000 ALL=ALL\n#includedir /x\nUser_Alias A = %b\nalice ALL = \\\n  /bin/a,\\\n  /bin/b\n\xff ALL=ALL\n"
    )
    rules = list(sudo_rules(text))
    assert rules[:4] == ["#1000 ALL=ALL", "#includedir /x", "User_Alias A = %b", "alice ALL = /bin/a, /bin/b"]
    assert rules[4].endswith(" ALL=ALL")
    assert granted_groups(['%ops,%"domain admins" ALL=ALL', "Defaults:%x !a", "bob ALL=(%y) ALL"]) == {
        "ops",
        "domain admins",
    }


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_bytes_raise_or_are_lost_in_writing(before: bytes, after: bytes) -> None:
    digests = Digests(b"k" * 32)

    def read(text: bytes) -> Accounts:
        rules = {"etc/sudoers": sudo_rules(text)}
        parsed = users(text, digests), groups(text, digests), shadows(text, digests), group_shadows(text, digests)
        return Accounts(*parsed, rules)

    for change in compare(read(before), read(after)):
        msgspec.json.encode(change.account)
    assert compare(read(after), read(after)) == []
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(read(after)), type=Accounts) == read(after)


def test_thousands_of_accounts_are_compared_in_no_time() -> None:
    digests = Digests(b"k" * 32)
    passwd = "".join(f"u{n}:x:{n}:{n}::/home/u{n}:/bin/sh\n" for n in range(20_000)).encode()
    group = "".join(f"u{n}:x:{n}:u{n + 1}\n" for n in range(20_000)).encode()
    old = Accounts(users(passwd, digests), groups(group, digests))
    new = Accounts(users(passwd + b"z:x:99999:0::/:/bin/sh\n", digests), groups(group, digests))
    assert [change.account.name for change in compare(old, new)] == ["z"]
