"""Audit rules as the kernel keeps them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.process.audit_rule import ABIS, exec_rule, parse

NATIVE, COMPATIBLE = ABIS["x86_64"]


def words(raw: bytes) -> list[int]:
    return list(struct.unpack_from("=260I", raw))


@pytest.mark.parametrize("abi", [abi for abis in ABIS.values() for abi in abis])
def test_a_rule_made_here_covers_its_interface_and_keeps_its_key(abi: object) -> None:
    assert isinstance(abi, type(NATIVE))
    rule = parse(exec_rule(abi, b"shield\x01pid=1"))
    assert rule.covers(abi)
    assert rule.key == b"shield\x01pid=1"
    assert rule.syscalls == {abi.execve, abi.execveat}
    assert not rule.silences_all_tasks()
    assert not any(rule.covers(other) for other in ABIS["x86_64"] if other != abi)


def test_a_rule_with_a_further_condition_covers_nothing() -> None:
    rule = parse(exec_rule(NATIVE, b"k"))
    assert not rule._replace(fields=(*rule.fields, (9, 0x4000_0000, 1000))).covers(NATIVE)
    assert not rule._replace(action=0).covers(NATIVE)
    assert not rule._replace(syscalls=frozenset({NATIVE.execve})).covers(NATIVE)


def test_the_key_is_found_behind_other_strings() -> None:
    raw = exec_rule(NATIVE, b"k")
    rule = words(raw)
    rule[2], rule[67 : 67 + 2], rule[131 : 131 + 2] = 2, [112, 210], [9, 1]
    assert parse(struct.pack("=260I", *rule) + b"/bin/truek").key == b"k"


def test_never_task_is_recognised() -> None:
    raw = struct.pack("=260I", 1, 0, *[0] * 258)
    assert parse(raw).silences_all_tasks()


def test_a_rule_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1040 bytes"):
        parse(b"short")


@given(st.binary(min_size=1040, max_size=1200))
def test_garbage_of_full_length_never_raises(raw: bytes) -> None:
    assert parse(raw).raw == raw
