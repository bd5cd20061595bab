"""The kernel's audit rules (audit.rules(7), struct audit_rule_data in linux/audit.h): reading them, making ours."""

import struct
from typing import NamedTuple

_FIXED = struct.Struct("=3I 64I 64I 64I 64I I")
_WORDS = _FIXED.size // 4
_MASK, _FIELDS, _VALUES, _OPERATORS = (slice(at, at + 64) for at in range(3, 3 + 4 * 64, 64))

_TASK, _EXIT = 1, 4
_NEVER, _ALWAYS = 0, 2
_EQUAL = 0x4000_0000
_ARCH, _KEY = 11, 210
# Security labels, watched files and folders, executables and keys: their value is a length in the trailing strings.
_STRINGS = frozenset({*range(13, 18), *range(19, 24), 105, 107, 112, _KEY})


class Abi(NamedTuple):
    """One system call interface of a machine: its AUDIT_ARCH and the numbers of execve and execveat."""

    arch: int
    execve: int
    execveat: int


ABIS: dict[str, tuple[Abi, ...]] = {
    "x86_64": (Abi(0xC000_003E, 59, 322), Abi(0x4000_0003, 11, 358)),
    "aarch64": (Abi(0xC000_00B7, 221, 281), Abi(0x4000_0028, 11, 387)),
}
"""Native and 32-bit interface of each machine that is supported, by the name uname(2) gives it."""


class Rule(NamedTuple):
    """One rule of the list `filter`.

    `fields` are (field, operator, value); `raw` is what the kernel gave, and takes back to delete the rule.
    """

    filter: int
    action: int
    syscalls: frozenset[int]
    fields: tuple[tuple[int, int, int], ...]
    key: bytes
    raw: bytes

    def silences_all_tasks(self) -> bool:
        """Whether this is `-a never,task`, which switches system call auditing off for every new process."""
        return (self.filter, self.action) == (_TASK, _NEVER) and not self._conditions()

    def covers(self, abi: Abi) -> bool:
        """Whether this rule already reports every execve and execveat of `abi`."""
        return (
            (self.filter, self.action) == (_EXIT, _ALWAYS)
            and {abi.execve, abi.execveat} <= self.syscalls
            and all(condition == (_ARCH, _EQUAL, abi.arch) for condition in self._conditions())
        )

    def _conditions(self) -> list[tuple[int, int, int]]:
        return [field for field in self.fields if field[0] != _KEY]


def parse(raw: bytes) -> Rule:
    """Return the rule in an AUDIT_LIST_RULES reply. Raises ValueError where it is cut short."""
    if len(raw) < _FIXED.size:
        raise ValueError(f"an audit rule has at least {_FIXED.size} bytes, this one {len(raw)}")
    words = _FIXED.unpack_from(raw)
    count = min(words[2], 64)
    fields = tuple(zip(words[_FIELDS], words[_OPERATORS], words[_VALUES], strict=True))[:count]
    syscalls = frozenset(
        word * 32 + bit for word, bits in enumerate(words[_MASK]) if bits for bit in range(32) if bits >> bit & 1
    )
    return Rule(words[0], words[1], syscalls, fields, _key_of(fields, raw[_FIXED.size :]), raw)


def exec_rule(abi: Abi, key: bytes) -> bytes:
    """Return `-a always,exit -F arch=ABI -S execve,execveat -k KEY` as the kernel takes it."""
    words = [0] * _WORDS
    words[0], words[1], words[2] = _EXIT, _ALWAYS, 2
    for number in (abi.execve, abi.execveat):
        words[_MASK.start + number // 32] |= 1 << number % 32
    for at, (field, value) in enumerate(((_ARCH, abi.arch), (_KEY, len(key)))):
        words[_FIELDS.start + at], words[_VALUES.start + at], words[_OPERATORS.start + at] = field, value, _EQUAL
    words[-1] = len(key)
    return _FIXED.pack(*words) + key


def _key_of(fields: tuple[tuple[int, int, int], ...], strings: bytes) -> bytes:
    at = 0
    for field, _, value in fields:
        if field == _KEY:
            return strings[at : at + value]
        if field in _STRINGS:
            at += value
    return b""
