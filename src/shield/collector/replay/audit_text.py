"""The text of one line of an audit log: whose record it is, and its fields as text and numbers.

Values are literal between quotes or, where they hold a space, a quote or anything beyond printable ASCII, hexadecimal
(kernel/audit.c, audit_log_untrustedstring; audit_encode_nv_string in libaudit), so no process can forge a field.
Programs of user space put what they have to say into one more field, msg='…'. Behind a group separator (0x1d) auditd
repeats ids, system calls and addresses as names (log_format = ENRICHED).
"""

import re
from binascii import Error, unhexlify
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from shield.event import LogScalar
from shield.text import decode

_LINE = re.compile(
    rb"(?:node=(\S{1,255}) )?type=([A-Za-z0-9_]{1,64}(?:\[\d{1,5}\])?) "
    rb"(?:msg=)?audit\((\d{1,10})\.(\d{1,9}):(\d{1,19})\): ?"
)
_TOKEN = re.compile(rb"([A-Za-z_][\w.-]{0,63}(?:\[\d{1,9}\])?)=(\"[^\"]*\"|'[^']*'|\{[^{}]{0,512}\}|[^\s]*)")
_NAMES = re.compile(rb"[A-Z_]+=(?:\"[^\"]*\"|\{[^{}]*\}|\S*)(?: [A-Z_]+=(?:\"[^\"]*\"|\{[^{}]*\}|\S*))*")
_HEX = re.compile(rb"(?:[0-9A-F]{2})+")
_INTEGER = re.compile(rb"-?(?:0|[1-9]\d{0,17})")
_OPERATION = re.compile(rb"(?<![\w-])op=(?!\")")
_NEXT = re.compile(rb" [\w-]+=")
_DENIED = re.compile(rb"avc: +(denied|granted) +\{ ([^}]{0,256}) \}")
_ADDRESS = re.compile(r"(laddr|lport|path|saddr_fam)=(\S+)")
_PORT = re.compile(r"\d{1,5}", re.ASCII)
_SEPARATOR, _ESCAPED_SEPARATOR = b"\x1d", b"#035"
_ENCODED = frozenset(
    b"acct cmd comm cwd data device dir exe file grp key name new_group new-disk ocomm old-disk path proctitle "
    b"root_dir sw unit vm watch".split()
)
_NUMBERS = frozenset(
    b"argc auid egid euid exit fsgid fsuid gid id inode item items oauid ogid old-auid old-ses opid oses ouid pid "
    b"ppid ses sgid sig suid syscall uid".split()
)
_UNIX, _INET, _INET6 = 1, 2, 10
_TYPES = {
    b"1006": "LOGIN",
    b"1300": "SYSCALL",
    b"1302": "PATH",
    b"1305": "CONFIG_CHANGE",
    b"1306": "SOCKADDR",
    b"1307": "CWD",
    b"1309": "EXECVE",
    b"1320": "EOE",
    b"1321": "BPRM_FCAPS",
    b"1325": "NETFILTER_CFG",
    b"1326": "SECCOMP",
    b"1327": "PROCTITLE",
    b"1330": "KERN_MODULE",
    b"1334": "BPF",
    b"1400": "AVC",
    b"1403": "MAC_POLICY_LOAD",
    b"1404": "MAC_STATUS",
    b"1700": "ANOM_PROMISCUOUS",
    b"1701": "ANOM_ABEND",
    b"1702": "ANOM_LINK",
}

Pair = tuple[str, LogScalar]


class Line(NamedTuple):
    """One record. Times are Unix nanoseconds; `body` is encoded still, `names` is what auditd adds behind it."""

    node: str
    kind: str
    ts_ns: int
    serial: int
    body: bytes
    names: bytes


def parse(line: bytes) -> Line | None:
    """Return the record on `line`, which begins with it; None for anything else."""
    found = _LINE.match(line)
    if found is None:
        return None
    node, kind, seconds, fraction, serial = found.groups()
    ts_ns = int(seconds) * 1_000_000_000 + int(fraction.ljust(9, b"0"))
    if ts_ns >= 1 << 63:
        return None
    body, names = _parts(line[found.end() :].rstrip(b"\0\r\n "))
    return Line(decode(node or b""), _kind(kind), ts_ns, int(serial), body, names)


def fields(line: Line) -> list[Pair]:
    """Return the fields of a record by name, decoded; of two with one name both."""
    outer, message = _message(line.body)
    found: list[Pair] = []
    if line.kind == "AVC" and (denied := _DENIED.search(outer)):
        found += [("seresult", decode(denied[1])), ("seperms", decode(denied[2]))]
    for part in (outer, message, line.names):
        if part:
            for name, encoded in _tokens(part):
                found += _pairs(name, encoded)
    return found


def untrusted(encoded: bytes) -> bytes:
    """Return the bytes that a value stands for: in quotes, hexadecimal, or as it is."""
    if encoded[:1] in (b'"', b"'"):
        return encoded[1:].removesuffix(encoded[:1])
    if _HEX.fullmatch(encoded):
        try:
            return unhexlify(encoded)
        except Error:
            return encoded
    return encoded


def _kind(kind: bytes) -> str:
    number = kind.removeprefix(b"UNKNOWN[").removesuffix(b"]")
    return _TYPES.get(number) or decode(kind)


def _parts(text: bytes) -> tuple[bytes, bytes]:
    body, separator, names = text.partition(_SEPARATOR)
    if separator:
        return body, names
    # rsyslog writes controls as `#` and three octal digits; a field that holds the same text has none but names behind.
    body, separator, names = text.rpartition(_ESCAPED_SEPARATOR)
    return (body, names) if separator and _NAMES.fullmatch(names) else (text, b"")


def _message(body: bytes) -> tuple[bytes, bytes]:
    """Return what stands outside of msg='…' and what inside, whatever quotes that holds."""
    start = body.find(b"msg='")
    if start < 0:
        return body, b""
    end = body.rfind(b"'")
    return body[:start], body[start + 5 : end if end > start + 4 else None]


def _tokens(text: bytes) -> list[tuple[bytes, bytes]]:
    operation = _OPERATION.search(text)
    if operation is None:
        return _TOKEN.findall(text)
    # Says in words what was done: op=adding user to group acct="…"
    behind = _NEXT.search(text, operation.end())
    end = behind.start() if behind else len(text)
    before, words = text[: operation.start()], text[operation.end() : end]
    return [*_TOKEN.findall(before), (b"op", words), *_TOKEN.findall(text[end:])]


def _pairs(name: bytes, encoded: bytes) -> Iterable[Pair]:
    if encoded == b"(null)":
        return ()
    label = _label(name)
    if name in _NUMBERS and _INTEGER.fullmatch(encoded):
        return ((label, int(encoded)),)
    read = _READ.get(name)
    return read(label, encoded) if read else ((label, decode(_literal(encoded))),)


@lru_cache(maxsize=1024)
def _label(name: bytes) -> str:
    return decode(name)


def _literal(encoded: bytes) -> bytes:
    if encoded[:1] in (b'"', b"'"):
        return encoded[1:].removesuffix(encoded[:1])
    return encoded.strip(b"(),") or encoded if b"(" not in encoded else encoded


def _text(label: str, encoded: bytes) -> Iterator[Pair]:
    yield label, decode(untrusted(encoded))


def _title(label: str, encoded: bytes) -> Iterator[Pair]:
    yield label, decode(untrusted(encoded).rstrip(b"\0").replace(b"\0", b" "))


def _keys(label: str, encoded: bytes) -> Iterator[Pair]:
    for key in untrusted(encoded).split(b"\x01"):
        yield label, decode(key)


def _named_address(label: str, encoded: bytes) -> Iterator[Pair]:
    """Yield what auditd itself says of a socket address: SADDR={ saddr_fam=inet laddr=192.0.2.9 lport=80 }."""
    for part, text in _ADDRESS.findall(decode(encoded)):
        yield part, int(text) if part == "lport" and _PORT.fullmatch(text) else text


def _address(label: str, encoded: bytes) -> Iterator[Pair]:
    yield label, decode(encoded)
    yield from _decoded_address(encoded)


def _decoded_address(encoded: bytes) -> Iterator[Pair]:
    """Yield what a socket address (struct sockaddr, hexadecimal) says, by ausearch's names for it."""
    try:
        raw = unhexlify(encoded)
    except Error:
        return
    family = int.from_bytes(raw[:2], "little")
    if family == _INET and len(raw) >= 8:
        yield "saddr_fam", "inet"
        yield "laddr", str(IPv4Address(raw[4:8]))
        yield "lport", int.from_bytes(raw[2:4], "big")
    elif family == _INET6 and len(raw) >= 24:
        yield "saddr_fam", "inet6"
        yield "laddr", str(IPv6Address(raw[8:24]))
        yield "lport", int.from_bytes(raw[2:4], "big")
    elif family == _UNIX:
        yield "saddr_fam", "local"
        if path := raw[2:].lstrip(b"\0").partition(b"\0")[0]:
            yield "path", decode(path)


_READ: dict[bytes, Callable[[str, bytes], Iterable[Pair]]] = {
    **dict.fromkeys(_ENCODED, _text),
    b"key": _keys,
    b"proctitle": _title,
    b"saddr": _address,
    b"SADDR": _named_address,
}
