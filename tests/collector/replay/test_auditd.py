"""Audit logs: records put together to events, in fields that rules about single records and whole events both match."""

import io
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay.auditd import matches, read
from shield.collector.replay.damage import Damaged
from shield.record import LogRecord
from shield.text import encode

CALL = (
    "type=SYSCALL msg=audit({stamp}): arch=c000003e syscall={call} success=yes exit=0 a0=ffffff9c a1=7ffd a2=241 a3=1b6"
    " items={items} ppid=100 pid=101 auid=1000 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=3"
    ' comm="{comm}" exe="/usr/bin/{comm}" subj=unconfined key={key}'
)
NAMES = '\x1dARCH=x86_64 SYSCALL={name} AUID="alice" UID="root" GID="root" EUID="root"'
EXEC, OPENAT, RENAME = 59, 257, 82
TITLE = "type=PROCTITLE msg=audit({stamp}): proctitle="


def hexadecimal(text: str) -> str:
    return text.encode().hex().upper()


def called(
    call: int, *paths: tuple[str, str], stamp: str = "1700000000.123:1", cwd: str = "/root", key: str = "(null)"
) -> list[str]:
    """The records of a system call that used `paths`, each a name and its nametype."""
    return [
        CALL.format(stamp=stamp, call=call, items=len(paths), comm="tee", key=key),
        f'type=CWD msg=audit({stamp}): cwd="{cwd}"',
        *(
            f'type=PATH msg=audit({stamp}): item={item} name="{name}" inode={item + 7} dev=fd:00 mode=0100644 ouid=0 '
            f"ogid=0 rdev=00:00 nametype={kind} cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0"
            for item, (name, kind) in enumerate(paths)
        ),
        TITLE.format(stamp=stamp) + hexadecimal("tee\0x"),
    ]


def executed(*args: str, stamp: str = "1700000000.123:1", key: str = "(null)", names: str = "") -> list[str]:
    """The records of an exec."""
    listed = " ".join(f'a{number}="{arg}"' for number, arg in enumerate(args))
    return [
        CALL.format(stamp=stamp, call=EXEC, items=2, comm=args[0], key=key) + names,
        f"type=EXECVE msg=audit({stamp}): argc={len(args)} {listed}",
        f'type=CWD msg=audit({stamp}): cwd="/root"',
        f'type=PATH msg=audit({stamp}): item=0 name="/usr/bin/{args[0]}" inode=1 mode=0100755 nametype=NORMAL',
        f'type=PATH msg=audit({stamp}): item=1 name="/lib64/ld-linux-x86-64.so.2" inode=2 mode=0100755 nametype=NORMAL',
        TITLE.format(stamp=stamp) + hexadecimal("\0".join(args)),
    ]


def outcome(lines: list[str] | bytes) -> list[LogRecord | Damaged]:
    text = lines if isinstance(lines, bytes) else encode("\n".join(lines) + "\n")
    found = [item for _, item in read(io.BytesIO(text), "audit.log")]
    return [item for item in found if isinstance(item, LogRecord | Damaged)]


def only(lines: list[str] | bytes) -> LogRecord:
    (item,) = outcome(lines)
    assert isinstance(item, LogRecord)
    return item


def test_an_exec_is_one_record_with_the_fields_of_all_its_records() -> None:
    found = only(executed("chmod", "777", "/tmp/x", key='"perm"', names=NAMES.format(name="execve")))
    assert (found.provider, found.code, found.record_id, found.ts_ns) == (
        "auditd",
        "SYSCALL",
        1,
        1_700_000_000_123_000_000,
    )
    fields = found.fields
    assert fields["type"] == ("SYSCALL", "EXECVE", "CWD", "PATH", "PROCTITLE")
    assert (fields["a0"], fields["a1"], fields["a2"]) == ("chmod", "777", "/tmp/x")
    assert "a3" not in fields, "the system call's own arguments are mere numbers"
    assert (fields["SYSCALL"], fields["AUID"], fields["auid"], fields["key"]) == ("execve", "alice", 1000, "perm")
    assert fields["name"] == ("/usr/bin/chmod", "/lib64/ld-linux-x86-64.so.2")
    assert fields["nametype"] == "NORMAL"
    assert (fields["proctitle"], found.message) == ("chmod 777 /tmp/x", "chmod 777 /tmp/x")
    assert found.gaps == ()


def test_a_system_call_is_named_where_auditd_gives_its_number() -> None:
    assert only(executed("id")).fields["syscall"] == (59, "execve")
    old = CALL.format(stamp="1.001:2", call=11, items=0, comm="id", key="(null)").replace("c000003e", "40000003")
    assert only([old]).fields["SYSCALL"] == "execve"
    unknown = CALL.format(stamp="1.001:2", call=9999, items=0, comm="id", key="(null)")
    assert "SYSCALL" not in only([unknown]).fields


def test_the_arguments_of_a_call_that_is_no_exec_stay_its_own() -> None:
    assert only(called(OPENAT, ("/etc/hosts", "NORMAL"))).fields["a2"] == "241"


def test_events_whose_records_are_interleaved_are_put_together_and_keep_their_order() -> None:
    first, second = executed("first", stamp="1700000000.123:1"), executed("second", stamp="1700000000.124:2")
    login = [
        "type=USER_AUTH msg=audit(1700000000.125:3): pid=9 uid=0 auid=0 ses=1 msg='op=PAM acct=\"root\" res=failed'"
    ]
    mixed = [*chain.from_iterable(zip(second[:3], first[:3], strict=True)), *login, *first[3:], *second[3:]]
    found = outcome(mixed)
    assert [item.fields.get("a0", item.code) for item in found if isinstance(item, LogRecord)] == [
        "second",
        "first",
        "USER_AUTH",
    ]
    assert all(isinstance(item, LogRecord) and not item.gaps for item in found)


def test_hosts_with_the_same_serial_number_are_told_apart() -> None:
    lines = [f"node={host} {line}" for host in ("web-1", "web-2") for line in executed(host)]
    found = outcome(sorted(lines, key=lambda line: line.partition("type=")[2]))
    assert sorted((item.host, str(item.fields["a0"])) for item in found if isinstance(item, LogRecord)) == [
        ("web-1", "web-1"),
        ("web-2", "web-2"),
    ]


def test_an_event_without_an_end_ends_two_seconds_later() -> None:
    text = "\n".join([*executed("id")[:-1], *executed("w", stamp="1700000003.000:2")]).encode()
    (_, first), (_, second) = read(io.BytesIO(text), "audit.log")
    assert isinstance(first, LogRecord)
    assert isinstance(second, LogRecord)
    assert (first.fields["a0"], second.fields["a0"]) == ("id", "w")


def test_encoded_values_are_decoded_and_bytes_that_are_no_text_survive() -> None:
    lines = executed("sh", "-c")
    command = hexadecimal('rm -rf "/"') + "FF"
    lines[1] = f'type=EXECVE msg=audit(1700000000.123:1): argc=3 a0="sh" a1=2D63 a2={command}'
    lines[2] = "type=CWD msg=audit(1700000000.123:1): cwd=2F746D702F6120620A"
    fields = only(lines).fields
    assert encode(str(fields["a2"])) == b'rm -rf "/"\xff'
    assert fields["cwd"] == "/tmp/a b\n"


def test_a_value_forges_no_field() -> None:
    lines = called(OPENAT, ("/etc/hosts", "NORMAL"))
    forged = hexadecimal('x" exe="/bin/true" key="quiet')
    lines[0] = lines[0].replace('comm="tee"', f"comm={forged}")
    fields = only(lines).fields
    assert fields["comm"] == 'x" exe="/bin/true" key="quiet'
    assert (fields["exe"], "key" in fields) == ("/usr/bin/tee", False)


def test_what_a_program_says_changes_no_type() -> None:
    line = "type=USER msg=audit(1.001:2): pid=1 uid=0 msg='type=SYSCALL op=x acct=\"a\" pid=7 res=success'"
    fields = only([line]).fields
    assert fields["type"] == "USER"
    assert fields["pid"] == (1, 7)


def test_a_long_argument_comes_in_pieces_and_a_huge_list_is_cut_and_told() -> None:
    stamp = "1700000000.123:1"
    long = "A" * 20_000
    lines = executed("sh", "-c", "x")
    lines[1:2] = [
        f'type=EXECVE msg=audit({stamp}): argc=3 a0="sh" a1="-c" a2_len=20000',
        f'type=EXECVE msg=audit({stamp}): a2[0]="{long[:9000]}"',
        f'type=EXECVE msg=audit({stamp}): a2[1]="{long[9000:]}"',
    ]
    whole = only(lines)
    assert (whole.fields["a2"], whole.gaps) == (long, ())
    del lines[2]
    assert only(lines).gaps == ("some arguments were lost",)
    huge = [f'type=EXECVE msg=audit({stamp}): a{number}="{"B" * 7000}"' for number in range(3, 40)]
    lines[1:3] = [f'type=EXECVE msg=audit({stamp}): argc=40 a0="sh" a1="-c" a2="x"', *huge]
    cut = only(lines)
    assert cut.gaps == ("some arguments were lost",)
    assert (
        sum(len(str(value)) for name, value in cut.fields.items() if name[0] == "a" and name[1:].isdigit()) <= 131_072
    )


@pytest.mark.parametrize(
    ("missing", "gap"),
    [
        ("SYSCALL", "the system call itself was lost"),
        ("EXECVE", "some arguments were lost"),
        ("CWD", "the working directory was lost"),
        ("PATH", "some paths were lost"),
    ],
)
def test_an_event_split_by_rotation_tells_what_it_lacks(missing: str, gap: str) -> None:
    lines = [line for line in executed("id", "-u") if f"type={missing} " not in line]
    assert gap in only(lines).gaps


def test_a_file_torn_in_the_middle_of_a_line_loses_only_that_line() -> None:
    text = encode("\n".join(executed("id", "-u")))
    found = outcome(text[: text.index(b"type=CWD") + 12])
    assert [type(item) for item in found] == [Damaged, LogRecord]
    assert isinstance(found[1], LogRecord)
    assert found[1].fields["a1"] == "-u"


def test_what_a_rename_does_to_two_files_is_told_apart() -> None:
    lines = called(
        RENAME,
        ("/etc/systemd/system/", "PARENT"),
        ("/tmp/", "PARENT"),
        ("/etc/systemd/system/old.service", "DELETE"),
        ("/tmp/new.service", "CREATE"),
    )
    deleted, created = outcome(lines)
    assert isinstance(deleted, LogRecord)
    assert isinstance(created, LogRecord)
    assert deleted.fields["name"] == ("/etc/systemd/system/", "/etc/systemd/system/old.service")
    assert deleted.fields["nametype"] == ("PARENT", "DELETE")
    assert created.fields["name"] == ("/tmp/", "/tmp/new.service")
    assert created.fields["comm"] == deleted.fields["comm"] == "tee"


def test_a_relative_path_is_also_told_as_an_absolute_one() -> None:
    created = only(called(OPENAT, ("/etc/cron.d", "PARENT"), ("../cron.d/job", "CREATE"), cwd="/etc/cron.d"))
    assert created.fields["name"] == ("/etc/cron.d", "../cron.d/job", "/etc/cron.d/job")
    lines = called(OPENAT, ("job", "CREATE"), cwd="/root")
    lines[0] = lines[0].replace("a0=ffffff9c", "a0=5")
    assert only(lines).fields["name"] == "job", "it is relative to a directory that was opened earlier"


def test_several_keys_are_several_values() -> None:
    assert only(executed("id", key=hexadecimal("one\x01two"))).fields["key"] == ("one", "two")


def test_what_pam_and_sudo_write_is_taken_out_of_its_message() -> None:
    line = (
        'type=USER_CMD msg=audit(1700000000.123:9): pid=4 uid=1000 auid=1000 ses=2 msg=\'cwd="/home/a" '
        'cmd=636174202F6574632F736861646F77 exe="/usr/bin/sudo" terminal=pts/0 res=success\'\x1dUID="alice"'
    )
    fields = only([line]).fields
    assert (fields["cmd"], fields["exe"], fields["res"], fields["UID"]) == (
        "cat /etc/shadow",
        "/usr/bin/sudo",
        "success",
        "alice",
    )
    line = "type=ADD_USER msg=audit(1.001:2): pid=1 uid=0 msg='op=adding user id=1001 acct=\"x\" res=success'"
    assert only([line]).fields["op"] == "adding user"


@pytest.mark.parametrize(
    ("encoded", "address", "port"),
    [
        ("0200115C0102030400000000000000000", None, None),
        ("0200115C010203040000000000000000", "1.2.3.4", 4444),
        ("0A00005000000000" + "20010DB8000000000000000000000001" + "00000000", "2001:db8::1", 80),
    ],
)
def test_a_socket_address_is_read(encoded: str, address: str | None, port: int | None) -> None:
    fields = only([f"type=SOCKADDR msg=audit(1.001:2): saddr={encoded}"]).fields
    assert (fields.get("laddr"), fields.get("lport")) == (address, port)


def test_records_behind_a_syslog_prefix_are_read() -> None:
    kernel = (
        'Nov 24 20:27:01 web-3 kernel: [  12.345678] audit: type=1400 audit(1700000000.123:5): apparmor="DENIED" '
        'operation="open" profile="nginx" name="/etc/shadow" pid=7 comm="nginx"'
    )
    found = only([kernel])
    assert (found.host, found.code, found.fields["name"]) == ("web-3", "AVC", "/etc/shadow")
    passed_on = [f"<13>Nov 24 20:27:01 web-3 audispd: {line}" for line in executed("id")]
    passed_on[0] += '#035ARCH=x86_64 SYSCALL=execve AUID="alice"'
    found = only(passed_on)
    assert (found.host, found.fields["a0"], found.fields["AUID"]) == ("web-3", "id", "alice")
    forged = outcome(['Nov 24 20:27:01 web-3 logger: type=EXECVE msg=audit(1700000000.123:5): argc=1 a0="id"'])
    assert isinstance(forged[0], Damaged)


def test_the_lines_of_ausearch_are_read_though_its_records_come_backwards() -> None:
    lines = executed("id", "-u")
    found = only(["----", "time->Tue Nov 14 22:13:20 2023", lines[-1], *reversed(lines[:-1])])
    assert (found.fields["a1"], found.gaps) == ("-u", ())


def test_a_log_is_known_by_its_lines() -> None:
    log = "\n".join(executed("id")).encode()
    assert matches(log)
    assert matches(log[30:])
    assert matches(log[:-40])
    assert not matches(b"Nov 24 20:27:01 web-3 sshd[1]: Accepted\n")
    assert not matches(b"")


def test_the_raw_lines_of_an_event_are_handed_over() -> None:
    lines = executed("id")
    ((raw, _),) = read(io.BytesIO(encode("\n".join(lines))), "audit.log")
    assert raw == encode("\n".join(lines))


def test_events_that_never_end_do_not_pile_up() -> None:
    lines = [
        CALL.format(stamp=f"1700000000.123:{serial}", call=1, items=0, comm="x", key="(null)")
        for serial in range(2_000)
    ]
    shown = 0
    for shown, (_, item) in enumerate(read(io.BytesIO("\n".join(lines).encode()), "audit.log"), 1):
        assert isinstance(item, LogRecord)
        assert item.record_id == shown - 1
    assert shown == 2_000


PIECES = st.sampled_from(
    [
        *(b"type=", b"SYSCALL", b"EXECVE", b"PATH", b" msg=audit(", b"1.001:2): ", b"a0=", b"a1[0]=", b"a1_len=9 "),
        *(b'"', b"'", b"msg='", b"\x1d", b"#035", b" op=", b"argc=2 ", b"saddr=02", b"{", b"}", b"\xff\xfe", b"name="),
        *(b"key=", b"\n", b"syscall=59 "),
    ]
)


@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=40).map(b"".join))
def test_no_bytes_raise(text: bytes) -> None:
    matches(text)
    for raw, item in read(io.BytesIO(text), "audit.log"):
        assert raw
        assert isinstance(item, LogRecord | Damaged)


def test_an_event_of_megabytes_is_cut_and_says_so() -> None:
    lines = executed("id")
    lines[5:5] = [f'type=PATH msg=audit(1700000000.123:1): item=2 name="/{"x" * 4000}" nametype=NORMAL'] * 600
    found = only(lines)
    assert found.fields["a0"] == "id"
    assert "some of its records were lost" in found.gaps
