"""The traces of logins, read together: from a text log or the journal, with audit and login records beside them."""

import json
import os
import struct
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shield.collector.linux.identity import audit_user
from shield.collector.linux.identity.login_records import parse
from shield.collector.linux.identity.source import IdentityOptions, IdentitySource
from shield.collector.source import SourceUnavailable
from shield.normalizer.log import LogNormalizer
from shield.record import LogRecord, Record

ROW = struct.Struct("<h2xi32s4s32s256shhiIi16s20x")
FAILED = "Failed password for root from 192.0.2.9 port 22 ssh2"


def stamp() -> str:
    return time.strftime("%b %e %H:%M:%S")


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{stamp()} web-3 {line}\n" for line in lines)


def row(
    user: str, address: bytes = b"\xc0\0\2\x09", kind: int = 7, host: str = "", pid: int = 7, line: str = "pts/0"
) -> bytes:
    now = int(time.time())
    parts = line.encode(), b"ts/0", user.encode(), host.encode()
    return ROW.pack(kind, pid, *parts, 0, 0, 0, now, 250_000, address)


@pytest.fixture
def options(tmp_path: Path) -> IdentityOptions:
    for name in ("wtmp", "btmp"):
        (tmp_path / name).touch()
    return IdentityOptions(
        logs=tuple(tmp_path / name for name in ("auth.log", "secure", "syslog", "messages")),
        journald=tmp_path / "none",
        wtmp=tmp_path / "wtmp",
        btmp=tmp_path / "btmp",
        audit=False,
    )


def opened(options: IdentityOptions) -> IdentitySource:
    source = IdentitySource(options)
    source.open()
    return source


def everything(source: IdentitySource, before: int = 0) -> list[LogRecord]:
    """Return what is told by the end, with what waited; every record is accounted for, those `before` too."""
    records: list[Record] = source.read()
    source.stop()
    records += source.read()
    count = source.count()
    assert (
        count.seen == before + len(records) + sum(count.filtered.values()) + sum(count.dropped.values()) + count.pending
    )
    source.close()
    return [record for record in records if isinstance(record, LogRecord)]


def messages(source: IdentitySource) -> list[str]:
    return [record.message for record in everything(source)]


def test_lines_about_logins_are_told_and_others_are_counted(options: IdentityOptions) -> None:
    log = options.logs[0]
    log.touch()
    source = opened(options)
    append(
        log,
        f"sshd[7]: {FAILED}",
        "sshd[7]: error: kex_exchange_identification: banner line contains invalid characters",
        "cockpit-tls[8]: pam_unix(cockpit:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=::1",
        "CRON[9]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
        "named[9]: hello",
        "useradd[9]: new user: name=eve, UID=0, GID=0, home=/, shell=/bin/sh",
        "crontab[9]: (alice) REPLACE (alice)",
    )
    with log.open("ab") as file:
        file.write(b"\xff\xfe\x1b[2J no line\n\n")
    found = everything(source)
    assert [(record.provider, record.fields.get("event")) for record in found] == [
        ("sshd", "failed"),
        ("sshd", None),
        ("crontab", "crontab"),
        ("cockpit-tls", "failed"),
    ]
    assert source.count().filtered == {"not_about_identity": 2, "told_by_account_files": 1, "no_log_line": 1}


@pytest.mark.parametrize("number", range(4))
def test_whichever_log_there_is_is_read_and_only_the_best(options: IdentityOptions, number: int) -> None:
    for log in options.logs[number:]:
        log.touch()
    source = opened(options)
    for log in options.logs[number:]:
        append(log, f"sshd[7]: {FAILED}")
    assert messages(source) == [FAILED]


def test_a_better_log_that_appears_is_taken_and_the_other_left(options: IdentityOptions) -> None:
    source = opened(options)
    assert source.read() == []
    append(options.logs[2], "su[1]: (to root) alice on pts/0")
    assert len(source.read()) == 1
    append(options.logs[2], "su[1]: (to root) bob on pts/0")
    append(options.logs[0], "su[1]: (to root) carol on pts/0")
    append(options.logs[2], "su[1]: (to root) dave on pts/0")
    assert len(source.read()) == 3
    append(options.logs[2], "su[1]: (to root) eve on pts/0")
    assert everything(source, before=4) == []


def test_while_a_log_is_rotated_no_worse_one_is_read_in_its_stead(options: IdentityOptions) -> None:
    options.logs[0].touch()
    append(options.logs[2], "su[1]: (to root) alice on pts/0")
    source = opened(options)
    options.logs[0].rename(options.logs[0].with_name("auth.log.1"))
    assert source.read() == []
    kept = source.state()
    source.close()
    again = IdentitySource(options)
    again.restore(kept)
    again.open()
    append(options.logs[2], "su[1]: (to root) bob on pts/0")
    append(options.logs[0], "su[1]: (to root) carol on pts/0")
    assert "(to root) alice on pts/0" not in messages(again)


def test_one_failed_login_leaves_four_traces_and_is_told_once(options: IdentityOptions) -> None:
    options.logs[0].touch()
    source = opened(options)
    append(
        options.logs[0],
        "sshd[7]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.9"
        "  user=root",
        f"sshd[7]: {FAILED}",
    )
    options.btmp.write_bytes(row("root", kind=6, host="192.0.2.9", line="ssh:notty"))
    assert messages(source) == [FAILED]
    assert source.count().filtered == {"told_already": 2}


def test_login_records_speak_where_no_log_does(options: IdentityOptions) -> None:
    options.wtmp.write_bytes(row("before"))
    source = opened(options)
    with options.wtmp.open("ab") as file:
        file.write(row("alice", host="client.example") + row("", kind=2) + row("alice", kind=8))
    with options.btmp.open("ab") as file:
        file.write(row("ro\xff\x1bot", b"\x20\x01\x0d\xb8" + bytes(11) + b"\1", kind=6, host="x" * 300)[: ROW.size])
    done, failed = (LogNormalizer("live").event(record, 0) for record in everything(source))
    assert (done.category, failed.category) == ("auth_success", "auth_failure")
    assert done.data.network is not None
    assert (done.data.network.source_ip, done.data.network.source_host) == ("192.0.2.9", "client.example")
    assert done.data.auth is not None
    assert done.data.auth.tty == "pts/0"
    assert abs(done.ts_ns - time.time_ns()) < 3_000_000_000
    assert done.ts_ns % 1_000_000_000 == 250_000_000
    assert failed.data.network is not None
    assert failed.data.network.source_ip == "2001:db8::1"
    assert source.count().filtered == {"no_login": 2}


def test_a_restart_neither_repeats_nor_loses_what_waited_or_was_written_meanwhile(options: IdentityOptions) -> None:
    options.logs[0].touch()
    source = opened(options)
    append(
        options.logs[0], *(f"sshd[7]: {FAILED} {number}" for number in range(3000)), "sshd[9]: Invalid user a from ::1"
    )
    first = source.read()
    assert source.count().pending
    kept = source.state()  # and now it is killed
    append(options.logs[0], "su[1]: (to root) alice on pts/0")
    again = IdentitySource(options)
    again.restore(kept)
    again.open()
    found = [record.message for record in first if isinstance(record, LogRecord)]
    later = [record for _ in range(5) for record in again.read()]
    later += everything(again, before=len(later))
    found += [record.message for record in later if isinstance(record, LogRecord)]
    source.close()
    assert sorted(found) == sorted(
        [f"{FAILED} {number}" for number in range(3000)] + ["Invalid user a from ::1", "(to root) alice on pts/0"]
    )


def test_a_source_that_is_opened_again_goes_on_and_counts_anew(options: IdentityOptions) -> None:
    options.logs[0].touch()
    source = opened(options)
    append(options.logs[0], f"sshd[7]: {FAILED}")
    assert len(source.read()) == 1
    source.close()
    assert source.count().seen == 1
    append(options.logs[0], "su[1]: (to root) alice on pts/0")
    source.open()
    assert source.count().seen == 0
    assert messages(source) == ["(to root) alice on pts/0"]
    assert source.count().seen == 1


@given(st.binary(max_size=60))
def test_what_is_no_state_is_refused_and_begun_anew(state: bytes) -> None:
    source = IdentitySource(IdentityOptions(audit=False))
    with pytest.raises(ValueError, match="no state"):
        source.restore(state)
    assume(state != b"\x80")  # of the log alone, an empty map is a state
    broken = msgspec.msgpack.encode({"witnesses": {"auth_log": state}, "held": [], "told": [], "ready": []})
    with pytest.raises(ValueError, match="no state"):
        source.restore(broken)
    assert source.count().seen == 0


def test_a_host_without_any_trace_of_logins_is_refused(tmp_path: Path) -> None:
    none = tmp_path / "none"
    options = IdentityOptions((none / "auth.log",), none, none, none, none, audit=False)
    with pytest.raises(SourceUnavailable, match="journald does not run"):
        IdentitySource(options).open()


ENTRY = {
    "SYSLOG_FACILITY": "10",
    "SYSLOG_IDENTIFIER": "sshd",
    "_EXE": "/usr/sbin/sshd",
    "_PID": "7",
    "_HOSTNAME": "web-3",
    "MESSAGE": FAILED,
}
JOURNALCTL = """#!{python}
import pathlib, sys, time
folder = pathlib.Path(__file__).parent
with (folder / "asked").open("a") as asked:
    print(*sys.argv[1:], file=asked)
after = next((one.partition("=")[2] for one in sys.argv if one.startswith("--after-cursor=")), "")
told = 0
while not (folder / "end").exists():
    lines = (folder / "journal").read_bytes().splitlines(keepends=True)
    for line in lines[told:]:
        if not after:
            sys.stdout.buffer.write(line)
        elif after.encode() in line:
            after = ""
    told = len(lines)
    sys.stdout.buffer.flush()
    time.sleep(0.01)
sys.exit(3)
"""


@pytest.fixture
def journal(options: IdentityOptions, tmp_path: Path) -> IdentityOptions:
    """Return the options for a host with a journal, whose journalctl tells what stands in a file."""
    journalctl = tmp_path / "journalctl"
    journalctl.write_text(JOURNALCTL.format(python=sys.executable))
    journalctl.chmod(0o755)
    (tmp_path / "journal").touch()
    (tmp_path / "run").mkdir()
    options.logs[0].touch()
    return IdentityOptions(
        options.logs, journalctl, tmp_path / "run", options.wtmp, options.btmp, audit=False, hold=0.0
    )


def written(folder: Path, cursor: str, seconds: float = 0, **fields: object) -> None:
    entry = {
        **ENTRY,
        "__CURSOR": cursor,
        "__REALTIME_TIMESTAMP": str(int((time.time() + seconds) * 1_000_000)),
        **fields,
    }
    with (folder / "journal").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def read_until(source: IdentitySource, number: int) -> list[LogRecord]:
    found: list[LogRecord] = []
    end = time.monotonic() + 20
    while len(found) < number:
        assert time.monotonic() < end, found
        found += [record for record in source.read() if isinstance(record, LogRecord)]
        time.sleep(0.01)
    return found


def test_the_journal_is_read_instead_of_the_log_and_says_who_really_wrote(
    journal: IdentityOptions, tmp_path: Path
) -> None:
    written(tmp_path, "s=0", seconds=-60, MESSAGE="Failed password for old from 192.0.2.9 port 22 ssh2")
    source = opened(journal)
    append(journal.logs[0], f"sshd[7]: {FAILED}")
    written(tmp_path, "s=1")
    written(tmp_path, "s=2", _EXE="/usr/bin/logger", MESSAGE=list(b"Accepted password for root from ::1 port 1 ssh2"))
    genuine, forged = read_until(source, 2)
    assert (genuine.message, genuine.fields["exe"], genuine.fields["pid"]) == (FAILED, "/usr/sbin/sshd", 7)
    assert forged.fields["exe"] == "/usr/bin/logger"
    assert source.read() == []
    source.close()
    assert "SYSLOG_FACILITY=4 + SYSLOG_FACILITY=10" in (tmp_path / "asked").read_text()


def test_the_journal_is_gone_on_with_where_it_was_left(journal: IdentityOptions, tmp_path: Path) -> None:
    source = opened(journal)
    written(tmp_path, "s=1;i=1")
    (first,) = read_until(source, 1)
    kept = source.state()
    source.close()
    written(tmp_path, "s=1;i=2", MESSAGE="Accepted password for root from ::1 port 1 ssh2")
    again = IdentitySource(journal)
    again.restore(kept)
    again.open()
    (second,) = read_until(again, 1)
    assert second.message == "Accepted password for root from ::1 port 1 ssh2"
    again.close()
    assert first.message == FAILED


def test_the_death_of_journalctl_is_told_and_survived(journal: IdentityOptions, tmp_path: Path) -> None:
    source = opened(journal)
    written(tmp_path, "s=1")
    read_until(source, 1)
    (tmp_path / "end").touch()
    with pytest.raises(OSError, match="code 3"):
        read_until(source, 1)
    source.close()
    (tmp_path / "end").unlink()
    written(tmp_path, "s=2", MESSAGE="Accepted password for root from ::1 port 1 ssh2")
    source.open()
    assert len(read_until(source, 1)) == 1
    source.close()


def test_without_journalctl_the_log_is_read(journal: IdentityOptions) -> None:
    journal.journalctl.unlink()
    source = opened(journal)
    append(journal.logs[0], f"sshd[7]: {FAILED}")
    assert messages(source) == [FAILED]


LOGIN = (
    b'audit(1700000000.123:42): pid=77 uid=0 auid=1000 ses=3 msg=\'op=login acct="alice" exe="/usr/sbin/sshd" '
    b"hostname=? addr=192.0.2.9 terminal=/dev/pts/0 res=success'\0"
)


def test_a_program_s_audit_record_is_read_as_in_an_audit_log() -> None:
    record = audit_user.interpret(1112, LOGIN, "web-3")
    assert record is not None
    assert (record.provider, record.code, record.host, record.ts_ns) == (
        "auditd",
        "USER_LOGIN",
        "web-3",
        1_700_000_000_123_000_000,
    )
    event = LogNormalizer("live").event(record, 0)
    assert event.category == "auth_success"
    assert event.data.auth is not None
    assert (event.data.auth.service, event.data.auth.tty) == ("sshd", "/dev/pts/0")
    assert event.data.user is not None
    assert event.data.user.name == "alice"


@given(st.integers(0, 3000), st.binary(max_size=200))
def test_no_audit_record_raises(kind: int, payload: bytes) -> None:
    audit_user.interpret(kind, payload, "web-3")
    audit_user.interpret(kind, LOGIN[:24] + payload, "web-3")


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "ppc64le", "s390x"), reason="rows are longer here")
@given(st.binary(min_size=ROW.size, max_size=ROW.size))
def test_no_row_raises(raw: bytes) -> None:
    assert 0 <= parse(raw).ts_ns < 1 << 63
