"""Text logs in all their forms, and what sshd, sudo and the like say in them, whoever tries to speak for them."""

import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay.damage import Damaged
from shield.collector.replay.syslog import matches, read
from shield.event import LogValue
from shield.record import LogRecord
from shield.text import encode


def outcome(text: bytes | str, year: int | None = 2024) -> list[LogRecord | Damaged]:
    found = [item for _, item in read(io.BytesIO(encode(text) if isinstance(text, str) else text), "auth.log", year)]
    return [item for item in found if isinstance(item, LogRecord | Damaged)]


def only(text: bytes | str, year: int | None = 2024) -> LogRecord:
    (item,) = outcome(text, year)
    assert isinstance(item, LogRecord)
    return item


def said(program: str, message: str) -> dict[str, LogValue]:
    """What is known of a line, besides its program, pid and text."""
    fields = only(f"Nov 24 20:27:01 web-3 {program}[77]: {message}\n").fields
    return {name: value for name, value in fields.items() if name not in ("program", "pid", "message")}


def ns(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000_000  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("line", "ts_ns"),
    [
        ("Nov  4 20:27:01 web-3 sshd[77]: hello", ns(2024, 11, 4, 20, 27, 1)),
        ("Nov 4 20:27:01 web-3 sshd[77]: hello", ns(2024, 11, 4, 20, 27, 1)),
        ("<38>Nov  4 20:27:01 web-3 sshd[77]: hello", ns(2024, 11, 4, 20, 27, 1)),
        ("Nov  4 2021 20:27:01 web-3 sshd[77]: hello", ns(2021, 11, 4, 20, 27, 1)),
        ("2021 Nov  4 20:27:01 web-3 sshd[77]: hello", ns(2021, 11, 4, 20, 27, 1)),
        ("Nov  4 20:27:01.25 web-3 sshd[77]: hello", ns(2024, 11, 4, 20, 27, 1) + 250_000_000),
        ("2021-11-04T21:27:01.123456+01:00 web-3 sshd[77]: hello", ns(2021, 11, 4, 20, 27, 1) + 123_456_000),
        ("2021-11-04T21:27:01+0100 web-3 sshd[77]: hello", ns(2021, 11, 4, 20, 27, 1)),
        ('<38>1 2021-11-04T20:27:01Z web-3 sshd 77 ID1 [a@1 b="x\\"]y"][c@2] hello', ns(2021, 11, 4, 20, 27, 1)),
        ("<38>1 2021-11-04T20:27:01Z web-3 sshd 77 - - \ufeffhello", ns(2021, 11, 4, 20, 27, 1)),
        (
            (
                '{"__REALTIME_TIMESTAMP":"1636057621000000","_HOSTNAME":"web-3","SYSLOG_IDENTIFIER":"sshd","_PID":"77",'
                '"MESSAGE":"hello"}'
            ),
            ns(2021, 11, 4, 20, 27, 1),
        ),
    ],
)
def test_every_form_of_line_gives_time_host_program_pid_and_message(line: str, ts_ns: int) -> None:
    found = only(line)
    assert (found.ts_ns, found.host, found.provider) == (ts_ns, "web-3", "sshd")
    assert found.fields == {"program": "sshd", "pid": 77, "message": "hello"}
    assert (found.message, found.gaps) == ("hello", ())


@pytest.mark.parametrize(
    ("rest", "host", "program", "message"),
    [
        ("web-3 sudo: hello", "web-3", "sudo", "hello"),
        ("web-3 /usr/sbin/cron[5]: hello", "web-3", "cron", "hello"),
        ("web-3 su(pam_unix)[5]: hello", "web-3", "su", "hello"),
        ("web-3 postfix/smtpd[5]: hello", "web-3", "postfix/smtpd", "hello"),
        ("web-3 kernel: [    1.234567] hello", "web-3", "kernel", "[    1.234567] hello"),
        ("web-3 (systemd)[5]: hello", "web-3", "(systemd)", "hello"),
        ("web-3 last message repeated 2 times", "web-3", "", "last message repeated 2 times"),
        ("sshd[5]: hello", "", "sshd", "hello"),
    ],
)
def test_a_tag_is_read_however_it_is_written(rest: str, host: str, program: str, message: str) -> None:
    found = only(f"Nov  4 20:27:01 {rest}")
    assert (found.host, found.provider, found.message) == (host, program, message)


def test_the_journal_says_which_program_really_wrote() -> None:
    entry = '{"SYSLOG_IDENTIFIER":"sshd","_EXE":"/usr/bin/logger","__REALTIME_TIMESTAMP":"1","MESSAGE":"hello"}'
    assert only(entry).fields == {"program": "sshd", "message": "hello", "exe": "/usr/bin/logger"}


def test_logs_of_vsftpd_and_clamd_are_read() -> None:
    ftp, virus = outcome(
        'Mon Jan 15 03:04:05 2024 [pid 2] CONNECT: Client "::1"\n'
        "Mon Jan 15 03:04:06 2024 -> /tmp/x: Unix.Trojan.Mirai FOUND\n"
    )
    assert isinstance(ftp, LogRecord)
    assert isinstance(virus, LogRecord)
    assert (ftp.provider, ftp.message) == ("vsftpd", 'CONNECT: Client "::1"')
    assert (virus.provider, virus.message) == ("clamd", "/tmp/x: Unix.Trojan.Mirai FOUND")


def test_a_log_without_years_goes_on_into_the_next(tmp_path: Path) -> None:
    text = "Dec 31 23:59:59 h a: 1\nJan  1 00:00:00 h a: 2\nDec 31 23:59:58 h a: late\nFeb 29 01:00:00 h a: 3\n"
    times = [item.ts_ns for item in outcome(text, 2023) if isinstance(item, LogRecord)]
    assert times == [
        ns(2023, 12, 31, 23, 59, 59),
        ns(2024, 1, 1),
        ns(2023, 12, 31, 23, 59, 58),
        ns(2024, 2, 29, 1),
    ]


@pytest.mark.parametrize(("line", "year"), [("Mar  1 00:00:00 h a: 1", 2024), ("Dec 24 00:00:00 h a: 1", 2023)])
def test_the_first_line_is_of_the_newest_year_before_the_last_change_of_the_file(
    tmp_path: Path, line: str, year: int
) -> None:
    path = tmp_path / "syslog"
    path.write_text(line)
    os.utime(path, ns=(0, ns(2024, 3, 2)))
    with path.open("rb") as file:
        ((_, found),) = read(file, "syslog")
    assert isinstance(found, LogRecord)
    assert datetime.fromtimestamp(found.ts_ns // 1_000_000_000, UTC).year == year


def test_a_time_there_never_was_is_a_gap_and_no_damage() -> None:
    found = only("Nov 31 20:27:01 web-3 sshd[77]: hello")
    assert (found.ts_ns, found.gaps) == (0, ("its time can't be read",))


def test_lines_that_go_on_belong_to_the_one_before_and_others_are_damaged() -> None:
    first, bad, last = outcome(
        "Nov  4 20:27:01 h java[1]: Error\n\tat a.b\n  at c.d\nrubbish\nNov  4 20:27:02 h a: b\n"
    )
    assert isinstance(first, LogRecord)
    assert first.message == "Error\n\tat a.b\n  at c.d"
    assert bad == Damaged("auth.log", 4, "this is no line of a text log (time, host, program)")
    assert isinstance(last, LogRecord)


def test_bytes_that_are_no_text_survive() -> None:
    found = only(b"Nov  4 20:27:01 h sshd[1]: Invalid user \xff\x1b[2J\xe2\x80\xae from 1.2.3.4 port 5\n")
    assert encode(found.message) == b"Invalid user \xff\x1b[2J\xe2\x80\xae from 1.2.3.4 port 5"
    assert encode(str(found.fields["user"])) == b"\xff\x1b[2J\xe2\x80\xae"
    found = only(b'{"MESSAGE":[72,255,27],"SYSLOG_IDENTIFIER":"x","__REALTIME_TIMESTAMP":"1"}')
    assert encode(found.message) == b"H\xff\x1b"


FINGERPRINT = "SHA256:" + "Ab0/" * 10 + "xyz"
ORIGIN = {"source_ip": "192.0.2.9", "source_port": 333}


@pytest.mark.parametrize(
    ("message", "facts"),
    [
        (
            "Accepted password for alice from 192.0.2.9 port 333 ssh2",
            {"event": "accepted", "method": "password", "user": "alice", **ORIGIN},
        ),
        (
            "Accepted publickey for alice from 192.0.2.9 port 333 ssh2: ED25519 SHA256:abc",
            {"event": "accepted", "method": "publickey", "user": "alice", **ORIGIN},
        ),
        (
            f"Accepted publickey for alice from 192.0.2.9 port 333 ssh2: ED25519 {FINGERPRINT}",
            {
                "event": "accepted",
                "method": "publickey",
                "user": "alice",
                "key_type": "ED25519",
                "key_fingerprint": FINGERPRINT,
                **ORIGIN,
            },
        ),
        (
            f"Accepted publickey for alice from 192.0.2.9 port 333 ssh2: RSA-CERT {FINGERPRINT} ID a (serial 0)",
            {
                "event": "accepted",
                "method": "publickey",
                "user": "alice",
                "key_type": "RSA-CERT",
                "key_fingerprint": FINGERPRINT,
                **ORIGIN,
            },
        ),
        (
            "Failed keyboard-interactive/pam for invalid user bob from 192.0.2.9 port 333 ssh2",
            {"event": "failed", "method": "keyboard-interactive/pam", "user": "bob", **ORIGIN},
        ),
        ("Invalid user bob from 192.0.2.9 port 333", {"event": "invalid_user", "user": "bob", **ORIGIN}),
        ("Invalid user bob from 192.0.2.9", {"event": "invalid_user", "user": "bob", "source_ip": "192.0.2.9"}),
        ("Invalid user  from 192.0.2.9 port 333", {"event": "invalid_user", **ORIGIN}),
        (
            "error: maximum authentication attempts exceeded for root from 192.0.2.9 port 333 ssh2 [preauth]",
            {"event": "refused", "user": "root", **ORIGIN},
        ),
        (
            "User bin from 192.0.2.9 not allowed because not listed in AllowUsers",
            {"event": "refused", "user": "bin", "source_ip": "192.0.2.9"},
        ),
        (
            "message repeated 2 times: [ Failed password for root from 192.0.2.9 port 333 ssh2]",
            {"event": "failed", "method": "password", "user": "root", "repeated": 2, **ORIGIN},
        ),
        (
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=192.0.2.9  user=bin",
            {"event": "failed", "method": "pam", "user": "bin", "source_ip": "192.0.2.9"},
        ),
        ("Connection closed by 192.0.2.9 port 333 [preauth]", {}),
    ],
)
@pytest.mark.parametrize("program", ["sshd", "sshd-session"])
def test_sshd_is_understood(program: str, message: str, facts: dict[str, LogValue]) -> None:
    assert said(program, message) == facts


@pytest.mark.parametrize(
    "user", ["root from 198.51.100.1 port 22 ssh2", "root from 198.51.100.1 port 22 ssh2: RSA SHA256:x", "a b", ""]
)
def test_a_user_name_forges_no_address(user: str) -> None:
    for sentence in (
        "Failed password for invalid user {} from 192.0.2.9 port 333 ssh2",
        "Invalid user {} from 192.0.2.9 port 333",
    ):
        facts = said("sshd", sentence.format(user))
        assert (facts.get("user", ""), facts["source_ip"], facts["source_port"]) == (user, "192.0.2.9", 333)


def test_the_identity_of_a_key_forges_no_address() -> None:
    identity = "x from 198.51.100.1 port 22 ssh2: RSA SHA256:y"
    key = f"RSA-CERT SHA256:a ID {identity} (serial 0) CA RSA SHA256:b"
    facts = said("sshd", f"Accepted publickey for alice from 192.0.2.9 port 333 ssh2: {key}")
    assert facts == {"event": "accepted", "method": "publickey"}, "who can't be told apart is not named"


SUDO = {"user": "alice", "TTY": "pts/0", "PWD": "/home/alice", "USER": "root", "COMMAND": "/bin/cat /etc/shadow"}


@pytest.mark.parametrize(
    ("message", "facts"),
    [
        (
            "  alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/cat /etc/shadow",
            {"event": "command", **SUDO},
        ),
        (
            "alice : a password is required ; TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/cat /etc/shadow",
            {"event": "refused", "reason": "a password is required", **SUDO},
        ),
        (
            (
                "  alice : user NOT in sudoers ; TTY=pts/0 ; PWD=/home/alice ; USER=root ; GROUP=adm ; TSID=00 ; "
                "COMMAND=/bin/cat /etc/shadow"
            ),
            {"event": "refused", "reason": "user NOT in sudoers", "GROUP": "adm", **SUDO},
        ),
    ],
)
def test_sudo_is_understood(message: str, facts: dict[str, LogValue]) -> None:
    assert said("sudo", message) == facts


def test_what_sudo_logs_ambiguously_is_given_in_each_reading() -> None:
    facts = said("sudo", "alice : TTY=pts/0 ; PWD=/tmp/x ; USER=bob ; COMMAND=/bin/true ; USER=root ; COMMAND=/bin/sh")
    assert facts["USER"] == ("bob", "root")
    assert facts["COMMAND"] == ("/bin/true ; USER=root ; COMMAND=/bin/sh", "/bin/sh")
    assert facts["user"] == "alice"


@pytest.mark.parametrize(
    ("program", "message", "facts"),
    [
        ("su", "(to root) alice on pts/0", {"event": "switched", "user": "root", "by": "alice", "TTY": "pts/0"}),
        (
            "su",
            "FAILED SU (to root) alice on pts/0",
            {"event": "failed", "user": "root", "by": "alice", "TTY": "pts/0"},
        ),
        ("su", "Successful su for root by alice", {"event": "switched", "user": "root", "by": "alice"}),
        (
            "su",
            "pam_unix(su:session): session opened for user root(uid=0) by alice(uid=1000)",
            {"event": "session_opened", "user": "root", "by": "alice"},
        ),
        (
            "login",
            "FAILED LOGIN (1) on '/dev/tty1' FOR 'root', Authentication failure",
            {"event": "failed", "user": "root"},
        ),
        ("login", "ROOT LOGIN ON tty1", {"event": "accepted", "user": "root", "TTY": "tty1"}),
        (
            "login",
            "LOGIN ON pts/1 BY alice FROM client.example",
            {"event": "accepted", "user": "alice", "TTY": "pts/1", "source_host": "client.example"},
        ),
        (
            "CRON",
            "(root) CMD (   cd / && run-parts --report /etc/cron.hourly)",
            {
                "event": "command",
                "user": "root",
                "action": "CMD",
                "COMMAND": "cd / && run-parts --report /etc/cron.hourly",
            },
        ),
        (
            "crontab",
            "(alice) REPLACE (alice)",
            {"event": "crontab", "user": "alice", "action": "REPLACE", "crontab": "alice"},
        ),
        (
            "useradd",
            "new user: name=eve, UID=0, GID=0, home=/home/eve, shell=/bin/bash, from=/dev/pts/1",
            {
                "event": "account_changed",
                "user": "eve",
                "UID": "0",
                "GID": "0",
                "home": "/home/eve",
                "shell": "/bin/bash",
                "TTY": "/dev/pts/1",
            },
        ),
        ("usermod", "add 'eve' to group 'sudo'", {"event": "account_changed", "user": "eve", "group": "sudo"}),
        ("passwd", "pam_unix(passwd:chauthtok): password changed for eve", {"event": "account_changed", "user": "eve"}),
        (
            "pkexec",
            "alice: Executing command [USER=root] [TTY=/dev/pts/0] [CWD=/home/alice] [COMMAND=/bin/id]",
            {
                "event": "command",
                "user": "alice",
                "USER": "root",
                "TTY": "/dev/pts/0",
                "PWD": "/home/alice",
                "COMMAND": "/bin/id",
            },
        ),
        ("logger", "Accepted password for alice from 192.0.2.9 port 333 ssh2", {}),
    ],
)
def test_other_programs_are_understood(program: str, message: str, facts: dict[str, LogValue]) -> None:
    assert said(program, message) == facts


def test_audit_records_and_sysmon_events_among_the_lines_are_read_as_what_they_are() -> None:
    sysmon = (
        '<Event><System><Provider Name="Linux-Sysmon"/><EventID>5</EventID></System><EventData><Data Name="ProcessId">7'
        "</Data></EventData></Event>"
    )
    text = (
        f"Nov  4 20:27:01 h sysmon: {sysmon}\n"
        "Nov  4 20:27:02 h audispd: type=SYSCALL msg=audit(1.001:2): arch=c000003e syscall=59 success=yes items=0\n"
        'Nov  4 20:27:02 h audispd: type=EXECVE msg=audit(1.001:2): argc=1 a0="id"\n'
    )
    found = outcome(text)
    assert [item.provider for item in found if isinstance(item, LogRecord)] == ["Linux-Sysmon", "auditd"]


def test_a_text_log_is_known_by_its_lines() -> None:
    line = b"Nov  4 20:27:01 web-3 sshd[77]: hello\n"
    assert matches(line)
    assert matches(line * 3 + b"rubbish\n" + line[:9])
    assert not matches(b"rubbish\n" * 3 + line)
    assert not matches(b'{"category":"process_start","data":{}}\n')
    assert not matches(b"")


def test_a_message_of_many_short_lines_is_bounded() -> None:
    found = outcome(b"Nov  4 20:27:01 h a: b\n" + b" x\n" * 500_000)
    assert len(found) == 2
    assert isinstance(found[0], LogRecord)
    assert len(found[0].message) <= 1 << 20


@pytest.mark.parametrize(
    ("program", "piece", "end"),
    [
        ("sshd", " from 1.2.3.4 port 5 ssh2: ", ""),
        ("sshd", "pam_x(a:b): authentication failure; logname= uid=0 euid=0 tty= ruser=", " rhost=!"),
        ("useradd", "new user: name=, UID=0, GID=0, home=", ""),
        ("sudo", "a : PWD= ; USER= ; ENV= ; COMMAND=", ""),
        ("su", "(to x) ", ""),
    ],
)
def test_a_line_of_megabytes_takes_no_time(program: str, piece: str, end: str) -> None:
    found = only(f"Nov  4 20:27:01 h {program}: {piece * (4_000_000 // len(piece))}{end}")
    assert found.provider == program


PIECES = st.sampled_from(
    [
        *(
            b"Nov  4 20:27:01 ",
            b"web-3 ",
            b"sshd[1]: ",
            b"sudo: ",
            b"alice : ",
            b"PWD=/ ; ",
            b"USER=root ; ",
            b"COMMAND=",
        ),
        *(
            b" from 1.2.3.4 port 22",
            b" ssh2",
            b"Failed password for ",
            b"<34>1 ",
            b"2021-11-04T20:27:01Z ",
            b"- ",
            b"[",
        ),
        *(b"]", b'"', b"\\", b"\n", b"\xff", b'{"MESSAGE":', b"null}", b"99999999999999999999"),
    ]
)


@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=40).map(b"".join))
def test_no_bytes_raise(text: bytes) -> None:
    matches(text)
    for raw, item in read(io.BytesIO(text), "syslog"):
        assert raw
        assert isinstance(item, LogRecord | Damaged)
