"""Audit records as the kernel writes them, into the process start they describe."""

from itertools import count

from hypothesis import example, given
from hypothesis import strategies as st

from shield.collector.linux.process.audit_record import (
    CWD,
    EXECVE,
    PATH,
    PROCTITLE,
    SYSCALL,
    Arguments,
    ExecEvent,
    fields,
    number_of,
    parse_stamp,
    value,
)
from shield.text import encode

RECORD_BYTES = 7500
LIMIT = 131_072

arguments = st.lists(st.binary(max_size=60).map(lambda raw: raw.replace(b"\0", b"")), min_size=1, max_size=12)
Repeated = tuple[bytes, int]
long_arguments = st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.integers(1, 2000)), min_size=1, max_size=6)


def repeated(parts: list[Repeated]) -> list[bytes]:
    """Long arguments, drawn as something short to repeat so that a failure can be shown."""
    return [raw.replace(b"\0", b"\xff") * times for raw, times in parts]


def kernel_value(raw: bytes, force_hex: bool = False) -> bytes:
    """What audit_log_untrustedstring writes."""
    hostile = any(byte == 0x22 or byte < 0x21 or byte > 0x7E for byte in raw)
    return raw.hex().upper().encode() if hostile or force_hex else b'"' + raw + b'"'


def kernel_execve(argv: list[bytes], room: int = RECORD_BYTES) -> list[bytes]:
    """The EXECVE records the kernel writes for `argv`: no more than about `room` bytes each (audit_log_execve_info)."""
    records, body = [], b"argc=%d" % len(argv)
    for index, argument in enumerate(argv):
        long = len(kernel_value(argument)) > room // 2
        if not long:
            if len(body) + len(kernel_value(argument)) > room:
                records.append(body)
                body = b""
            body += b" a%d=%s" % (index, kernel_value(argument))
            continue
        body += b" a%d_len=%d" % (index, len(argument) * 2)
        for piece, start in zip(count(), range(0, len(argument), room // 4)):
            if len(body) + room // 2 > room:
                records.append(body)
                body = b""
            body += b" a%d[%d]=%s" % (index, piece, kernel_value(argument[start : start + room // 4], force_hex=True))
    return [*records, body]


def gathered(records: list[bytes], limit: int = LIMIT) -> Arguments:
    collected = Arguments(limit)
    for record in records:
        collected.add(record)
    return collected


@given(arguments)
@example([b""])
@example([b"true", b"a1[0]=ff", b"argc=9 a0=0", b'"', b"(null)", b"41"])
def test_an_argument_list_survives_the_kernels_encoding(argv: list[bytes]) -> None:
    collected = gathered(kernel_execve(argv))
    assert collected.values() == tuple(argv)
    assert collected.complete
    assert collected.length == sum(len(argument) + 1 for argument in argv)


@given(long_arguments)
def test_a_long_list_comes_in_many_records_and_pieces(parts: list[Repeated]) -> None:
    argv = repeated(parts)
    collected = gathered(kernel_execve(argv, room=400))
    assert collected.values() == tuple(argv)
    assert collected.complete


@given(long_arguments, st.integers(1, 3000))
def test_only_the_first_bytes_are_kept_and_the_true_length_is_told(parts: list[Repeated], limit: int) -> None:
    argv = repeated(parts)
    collected = gathered(kernel_execve(argv, room=400), limit)
    assert b"\0".join(collected.values()) == b"\0".join(argv)[:limit]
    assert collected.complete
    assert collected.length == sum(len(argument) + 1 for argument in argv)


@given(long_arguments, st.integers(0, 1000))
def test_a_lost_record_is_noticed(parts: list[Repeated], lost: int) -> None:
    records = kernel_execve([*repeated(parts), b"last"], room=100)
    lost %= len(records)
    assert not gathered(records[:lost] + records[lost + 1 :]).complete


@given(st.binary(max_size=4000))
def test_a_value_survives_the_kernels_encoding(raw: bytes) -> None:
    assert value(kernel_value(raw)) == raw


@given(st.integers(0, 2**32), st.integers(0, 999), st.integers(0, 2**32 - 1), st.binary(max_size=200))
def test_a_stamp_is_read_to_the_millisecond(seconds: int, milliseconds: int, serial: int, body: bytes) -> None:
    stamp = parse_stamp(b"audit(%d.%03d:%d): " % (seconds, milliseconds, serial) + body)
    assert stamp is not None
    assert (stamp.ts_ns, stamp.serial) == ((seconds * 1000 + milliseconds) * 1_000_000, serial)
    assert stamp.body == body.rstrip(b"\0\n")


pieces = st.sampled_from(
    [b"audit(", b"1.000:", b"1): ", b" a0=", b" a1[", b"]=", b'"', b"_len=", b"argc=", b"9" * 5000, b"pid=", b"arch=zz"]
)
garbage = st.lists(pieces | st.binary(max_size=30), max_size=20).map(b"".join)


@given(st.lists(st.tuples(st.sampled_from([SYSCALL, PATH, CWD, EXECVE, PROCTITLE, 1320, 1400]), garbage), max_size=8))
def test_garbage_never_raises(records: list[tuple[int, bytes]]) -> None:
    event = ExecEvent(0, 1000)
    for kind, body in records:
        parse_stamp(body)
        event.add(kind, body)
    record = event.record()
    assert all(isinstance(argument, str) for argument in record.process.args)


def test_of_two_fields_with_one_name_the_kernels_own_counts() -> None:
    assert fields(b"uid=1000 exe=/bin/x subj=evil uid=0")[b"uid"] == b"1000"


def test_numbers_that_are_unset_or_absurd_are_none() -> None:
    assert number_of(b"4294967295") is None
    assert number_of(b"-1") is None
    assert number_of(b"9" * 5000) is None
    assert number_of(b"zz") is None
    assert number_of(None) is None
    assert number_of(b"0100755", 8) == 0o100755


def real_event() -> ExecEvent:
    event = ExecEvent(1_795_552_061_947_000_000, LIMIT)
    event.add(
        SYSCALL,
        b"arch=c000003e syscall=59 success=yes exit=0 a0=7f a1=7f a2=7f a3=8 items=2 ppid=411 pid=3147 auid=1000 "
        b'uid=1000 gid=1000 euid=0 suid=0 fsuid=0 egid=50 sgid=50 fsgid=50 tty=pts0 ses=3 comm="ping" '
        b'exe="/usr/bin/ping" subj=unconfined key="shield"',
    )
    event.add(EXECVE, b'argc=2 a0="ping" a1=31302E302E302E3120E9')
    event.add(CWD, b'cwd="/root"')
    event.add(PATH, b'item=0 name="/usr/bin/ping" inode=1384 dev=fe:01 mode=0104755 ouid=0 ogid=0 rdev=00:00')
    event.add(PATH, b'item=1 name="/lib64/ld-linux-x86-64.so.2" inode=99 dev=fe:00 mode=0100755 ouid=0 ogid=0')
    event.add(PROCTITLE, b"proctitle=70696E67003130")
    return event


def test_a_process_start_holds_what_the_records_say() -> None:
    record = real_event().record()
    process, user = record.process, record.user
    assert (process.pid, process.ppid, process.name, process.exe) == (3147, 411, "ping", "/usr/bin/ping")
    assert process.args[0] == "ping"
    assert encode(process.args[1]) == b"10.0.0.1 \xe9"
    assert (process.args_length, process.truncated) == (16, False)
    assert (process.cwd, process.tty, process.invoked) == ("/root", "pts0", "/usr/bin/ping")
    assert (process.exe_mode, process.exe_owner, process.exe_inode) == (0o104755, 0, 1384)
    assert process.exe_device == 0xFE << 20 | 1
    assert (user.id, user.effective_id, user.group_id, user.effective_group_id) == (1000, 0, 1000, 50)
    assert (user.audit_id, user.audit_session) == (1000, 3)
    assert record.gaps == ()


def test_a_memory_file_and_a_deleted_one_are_told_apart() -> None:
    for exe, memfd, deleted in ((b"/memfd:x (deleted)", True, False), (b"/tmp/x (deleted)", False, True)):
        event = real_event()
        event.add(SYSCALL, b"pid=5 exe=" + exe.hex().upper().encode())
        process = event.record().process
        assert (process.exe_memfd, process.exe_deleted) == (memfd, deleted)
        assert process.exe == exe.decode().removesuffix(" (deleted)")


def test_what_did_not_arrive_is_a_gap_and_the_title_stands_in_for_the_arguments() -> None:
    event = ExecEvent(0, LIMIT)
    event.add(SYSCALL, b"items=2 pid=5 ppid=1")
    event.add(PROCTITLE, b"proctitle=70696E67003130")
    record = event.record()
    assert record.process.args == ("ping", "10")
    assert record.process.truncated
    assert len(record.gaps) == 3
