"""The BPF program's records, built byte by byte and read back."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.process.exec_record import RecordDecoder
from shield.record import ProcessExec, ProcessExit, ProcessFork, Record
from shield.text import encode

DECODER = RecordDecoder(BootClock(), UserNames())
UNSET = 0xFFFF_FFFF
words = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b""))
names = words.filter(lambda raw: raw and b"/" not in raw)


def header(kind: int, flags: int = 0, status: int = 0) -> bytes:
    return struct.pack("=IIQQQIIII", kind, flags, 50_000_000_000, 49_990_000_000, 20_000_000_000, 42, 7, status, 0)


def exec_record(
    argv: list[bytes], path: list[bytes], *, length: int | None = None, links: int = 1, env: bytes = b""
) -> Record:
    args = b"".join(arg + b"\0" for arg in argv)
    exe = b"".join(name + b"\0" for name in reversed(path))
    strings = [b"./asked\0", exe, b"tmp\0", b"pts/3\0", b"/\0", args, env]
    fixed = struct.pack("=QQQQ", 99, 0x1FF, 1234, len(args) if length is None else length)
    fixed += struct.pack(
        "=6I2I7I5I", 0, 0, 1000, 1000, 1000, UNSET, 5, 42, *range(1, 8), 8, 0o100755, links, 0, len(argv)
    )
    fixed += struct.pack("=16s7I4x", b"comm", *map(len, strings))
    return DECODER.record(header(2) + fixed + b"".join(strings))


@given(st.lists(words, min_size=1, max_size=8), st.lists(names, min_size=1, max_size=6))
def test_any_bytes_in_arguments_and_paths_come_back(argv: list[bytes], path: list[bytes]) -> None:
    record = exec_record(argv, path)
    assert isinstance(record, ProcessExec)
    assert [encode(arg) for arg in record.process.args] == argv
    assert encode(record.process.exe) == b"/" + b"/".join(path)
    assert encode(record.process.cmdline) == b" ".join(argv)
    assert not record.process.truncated


def test_the_fixed_part_is_read_field_by_field() -> None:
    record = exec_record([b"a"], [b"usr", b"bin", b"a"], env=b"HOME=/root\0LD_PRELOAD=/x.so\0")
    assert isinstance(record, ProcessExec)
    process, user = record.process, record.user
    assert (process.pid, process.ppid, process.entity_id, process.name) == (42, 7, "42-4999", "comm")
    assert (process.exe, process.invoked, process.cwd, process.tty) == ("/usr/bin/a", "./asked", "/tmp", "pts/3")
    assert (process.session, process.ns_pid, process.exe_mode, process.exe_device) == (5, 42, 0o100755, 8)
    assert (user.id, user.effective_id, user.audit_id, user.audit_session) == (0, 1000, 1000, None)
    assert process.namespaces
    assert (process.namespaces.mnt, process.namespaces.cgroup) == (1, 7)
    assert process.env == {"LD_PRELOAD": "/x.so"}
    assert record.parent_start_ticks == 2000


def test_arguments_that_were_cut_keep_their_true_length() -> None:
    record = exec_record([b"a" * 10], [b"a"], length=5000)
    assert isinstance(record, ProcessExec)
    assert (record.process.truncated, record.process.args_length) == (True, 5000)


def test_no_arguments_at_all_are_no_arguments() -> None:
    record = exec_record([], [b"a"])
    assert isinstance(record, ProcessExec)
    assert record.process.args == ()


def test_a_file_without_a_name_left_is_deleted_and_a_memfd_is_not() -> None:
    deleted, memfd = exec_record([b"a"], [b"a"], links=0), exec_record([b"a"], [b"memfd:x"], links=0)
    assert isinstance(deleted, ProcessExec)
    assert isinstance(memfd, ProcessExec)
    assert (deleted.process.exe_deleted, deleted.process.exe_memfd) == (True, False)
    assert (memfd.process.exe_deleted, memfd.process.exe_memfd) == (False, True)


def test_forks_and_exits_are_told_apart() -> None:
    assert isinstance(DECODER.record(header(1)), ProcessFork)
    ended = DECODER.record(header(3, flags=4, status=9))
    assert isinstance(ended, ProcessExit)
    assert (ended.pid, ended.status, ended.execed, ended.lifetime_ns) == (42, 9, True, 10_000_000)
