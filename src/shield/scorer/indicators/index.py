"""A million indicators in little memory, each found in constant time.

The index is one block of bytes, so that another process can build it into a file that is then mapped: pages that nobody
asks for aren't in memory. It is an open-addressed hash table (slots → entries) over the values, stored one after
the other; a hit is verified against the whole value. When an indicator expires is in a column of its own; who said
it is read only for a hit.

    magic | header's length | header (JSON) | slots u32 | starts u64 | expiries i64 | details u64 | values | details

Networks are values too: an address is looked up once for each prefix length that occurs. A domain is looked up label by
label. File names are there as they are and in lower case, for the platform whose names have no case.
"""

import struct
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from ipaddress import ip_address

import msgspec
from msgspec import Struct

from shield.event import Severity
from shield.scorer.indicators.indicator import Indicator, Kind
from shield.scorer.indicators.value import network, packed

MAGIC = b"SHIELDIX"
_LENGTH = struct.Struct("<Q")
_DETAIL_LENGTH = struct.Struct("<H")
_SALT_BYTES = 16
_NEVER = (1 << 63) - 1
_DETAILS_REMEMBERED = 65536

# The first byte of a key is its kind.
_CODES: dict[Kind, bytes] = {
    "md5": b"m",
    "sha1": b"s",
    "sha256": b"S",
    "ip": b"i",
    "cidr": b"c",
    "domain": b"d",
    "url": b"u",
    "file_name": b"n",
    "path": b"p",
}
_LOWERED: dict[Kind, bytes] = {"file_name": b"N", "path": b"P"}
_HASHES: dict[str, Kind] = {"md5": "md5", "sha1": "sha1", "sha256": "sha256"}


class DamagedIndex(ValueError):
    """The bytes are no index, or not a whole one."""


class _Detail(Struct, frozen=True, array_like=True):
    source: str
    level: Severity
    note: str


class _Header(Struct, frozen=True):
    salt: str
    entries: int
    sizes: tuple[int, int, int, int, int, int]
    kinds: dict[Kind, int]
    v4_lengths: tuple[int, ...]
    v6_lengths: tuple[int, ...]
    labels: int


_detail_encoder = msgspec.json.Encoder()
_detail_decoder = msgspec.json.Decoder(_Detail)


class Builder:
    """Gathers indicators; `salt` (16 random bytes) keeps a feed from choosing values that fall on one slot."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._keys = bytearray()
        self._starts = array("Q", [0])
        self._expiries = array("q")
        self._detail_of = array("Q")
        self._details = bytearray()
        self._known_details: dict[tuple[str, Severity, str], int] = {}
        self._kinds: dict[Kind, int] = {}
        self._lengths: tuple[set[int], set[int]] = (set(), set())
        self._labels = 0

    def add(self, indicator: Indicator) -> None:
        """Take in one indicator. Of a value that comes twice the one that expires later stays."""
        kind, value = indicator.kind, indicator.value
        self._kinds[kind] = self._kinds.get(kind, 0) + 1
        if kind == "domain":
            self._labels = max(self._labels, value.count(".") + 1)
        elif kind == "cidr":
            address, length = network(value)
            self._lengths[len(address) == 16].add(length)
        self._append(_key(kind, value), indicator)
        if kind in _LOWERED:
            self._append(_LOWERED[kind] + value.lower().encode(), indicator)

    def build(self) -> Iterator[bytes | bytearray | memoryview]:
        """Yield the index, in parts."""
        slots = self._slots()
        columns = (slots, self._starts, self._expiries, self._detail_of)
        sizes = [len(column) * column.itemsize for column in columns]
        header = _Header(
            salt=self._salt.hex(),
            entries=len(self._expiries),
            sizes=(sizes[0], sizes[1], sizes[2], sizes[3], len(self._keys), len(self._details)),
            kinds=self._kinds,
            v4_lengths=tuple(sorted(self._lengths[0], reverse=True)),
            v6_lengths=tuple(sorted(self._lengths[1], reverse=True)),
            labels=self._labels,
        )
        text = msgspec.json.encode(header)
        text += b" " * (-len(text) % 8)
        yield MAGIC + _LENGTH.pack(len(text)) + text
        for column in columns:
            yield memoryview(column).cast("B")
        yield self._keys
        yield self._details

    def _append(self, key: bytes, indicator: Indicator) -> None:
        self._keys += key
        self._starts.append(len(self._keys))
        self._expiries.append(indicator.expires_ns or _NEVER)
        self._detail_of.append(self._detail(indicator))

    def _detail(self, indicator: Indicator) -> int:
        detail = indicator.source, indicator.level, indicator.note
        place = self._known_details.get(detail)
        if place is None:
            place = len(self._details)
            text = _detail_encoder.encode(detail)
            self._details += _DETAIL_LENGTH.pack(len(text)) + text
            if len(self._known_details) < _DETAILS_REMEMBERED:
                self._known_details[detail] = place
        return place

    def _slots(self) -> "array[int]":
        """Return the table: at most half full, an entry's number plus 1 in its slot, 0 in an empty one."""
        size = 1 << max(3, (2 * len(self._expiries) - 1).bit_length())
        slots, mask = array("I", bytes(4 * size)), size - 1
        keys, starts, expiries, salt = self._keys, self._starts, self._expiries, self._salt
        begin = 0
        for entry in range(len(expiries)):
            end = starts[entry + 1]
            key = keys[begin:end]
            begin = end
            slot = int.from_bytes(blake2b(key, digest_size=8, salt=salt).digest(), "little") & mask
            while other := slots[slot]:
                if keys[starts[other - 1] : starts[other]] == key:
                    break
                slot = slot + 1 & mask
            if not other or expiries[entry] > expiries[other - 1]:
                slots[slot] = entry + 1
        return slots


class Index:
    """Looks values up in a block of bytes that a `Builder` made. All values are given in normal form."""

    def __init__(self, block: bytes | memoryview) -> None:
        """Raise DamagedIndex where `block` is not a whole index."""
        view = memoryview(block)
        header, begin = _header(view)
        parts: list[memoryview] = []
        for size in header.sizes:
            parts.append(view[begin : begin + size])
            begin += size
        self._slots = parts[0].cast("I")
        self._starts = parts[1].cast("Q")
        self._expiries = parts[2].cast("q")
        self._detail_of = parts[3].cast("Q")
        self._keys, self._details = parts[4], parts[5]
        self._salt = bytes.fromhex(header.salt)
        self._mask = len(self._slots) - 1
        self._v4 = tuple((length, -1 << (32 - length)) for length in header.v4_lengths)
        self._v6 = tuple((length, -1 << (128 - length)) for length in header.v6_lengths)
        self._labels = header.labels
        self.kinds = header.kinds
        """How many indicators of each kind there are, repeats included."""

    def __len__(self) -> int:
        return sum(self.kinds.values())

    def hash(self, algorithm: str, value: str) -> tuple[Indicator, ...]:
        """Return the indicators about a file's hash, in hexadecimal of any case."""
        kind = _HASHES.get(algorithm)
        if kind is None or kind not in self.kinds:
            return ()
        try:
            return self._found(kind, _CODES[kind] + bytes.fromhex(value))
        except ValueError:
            return ()

    def ip(self, address: str) -> tuple[Indicator, ...]:
        """Return the indicators about an address and about the networks it is in, the narrowest first."""
        raw = packed(address)
        found = self._found("ip", _CODES["ip"] + raw)
        lengths = self._v4 if len(raw) == 4 else self._v6
        number = int.from_bytes(raw, "big")
        for length, mask in lengths:
            found += self._found("cidr", _network_key((number & mask).to_bytes(len(raw), "big"), length))
        return found

    def domain(self, name: str) -> tuple[Indicator, ...]:
        """Return the indicators about a name and about those above it, the name's own first."""
        labels = name.split(".")
        found: tuple[Indicator, ...] = ()
        for first in range(max(0, len(labels) - self._labels), len(labels) - 1):
            found += self._found("domain", _CODES["domain"] + ".".join(labels[first:]).encode())
        return found

    def url(self, url: str) -> tuple[Indicator, ...]:
        """Return the indicators about a URL, with its scheme or without one."""
        found = self._found("url", _CODES["url"] + url.encode())
        return found + self._found("url", _CODES["url"] + url.partition("://")[2].encode())

    def file(self, path: str, *, caseless: bool) -> tuple[Indicator, ...]:
        """Return the indicators about a file's path and name; `caseless` where the platform's names have no case."""
        name = path[max(path.rfind("/"), path.rfind("\\") if caseless else -1) + 1 :]
        if caseless:
            path, name = path.lower(), name.lower()
        codes = _LOWERED if caseless else _CODES
        found = self._found("path", codes["path"] + path.encode())
        return found + self._found("file_name", codes["file_name"] + name.encode())

    def _found(self, kind: Kind, key: bytes) -> tuple[Indicator, ...]:
        entry = self._entry(key)
        return () if entry < 0 else (self._indicator(kind, entry),)

    def _entry(self, key: bytes) -> int:
        """Return the entry of `key`, -1 for none."""
        slots, mask = self._slots, self._mask
        slot = int.from_bytes(blake2b(key, digest_size=8, salt=self._salt).digest(), "little") & mask
        while entry := slots[slot]:
            if bytes(self._keys[self._starts[entry - 1] : self._starts[entry]]) == key:
                return entry - 1
            slot = slot + 1 & mask
        return -1

    def _indicator(self, kind: Kind, entry: int) -> Indicator:
        begin = self._detail_of[entry] + _DETAIL_LENGTH.size
        (length,) = _DETAIL_LENGTH.unpack(self._details[begin - _DETAIL_LENGTH.size : begin])
        detail = _detail_decoder.decode(self._details[begin : begin + length])
        expires_ns = self._expiries[entry]
        return Indicator(
            kind,
            _value(kind, bytes(self._keys[self._starts[entry] + 1 : self._starts[entry + 1]])),
            detail.source,
            0 if expires_ns == _NEVER else expires_ns,
            detail.level,
            detail.note,
        )


def block(builder: Builder) -> bytes:
    """Return a builder's index in one piece."""
    return b"".join(builder.build())


def _key(kind: Kind, value: str) -> bytes:
    code = _CODES[kind]
    if kind in _HASHES:
        return code + bytes.fromhex(value)
    if kind == "ip":
        return code + packed(value)
    if kind == "cidr":
        return _network_key(*network(value))
    return code + value.encode()


def _network_key(address: bytes, length: int) -> bytes:
    return _CODES["cidr"] + bytes((length,)) + address


def _value(kind: Kind, raw: bytes) -> str:
    if kind in _HASHES:
        return raw.hex()
    if kind == "ip":
        return _address(raw)
    if kind == "cidr":
        return f"{_address(raw[1:])}/{raw[0]}"
    return raw.decode()


def _address(raw: bytes) -> str:
    return str(ip_address(raw))


def _header(view: memoryview) -> tuple[_Header, int]:
    """Return the header and where it ends."""
    fixed = len(MAGIC) + _LENGTH.size
    if len(view) < fixed or bytes(view[: len(MAGIC)]) != MAGIC:
        raise DamagedIndex("these bytes are no index of indicators")
    (length,) = _LENGTH.unpack(view[len(MAGIC) : fixed])
    try:
        header = msgspec.json.decode(view[fixed : fixed + length], type=_Header)
    except msgspec.MsgspecError as error:
        raise DamagedIndex(f"the header of the index is damaged: {error}") from None
    if len(view) != fixed + length + sum(header.sizes):
        raise DamagedIndex("the index is not complete")
    return header, fixed + length
