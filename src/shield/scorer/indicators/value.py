"""The normal form of each kind of indicator, and the values that would match everything and so are refused.

Both an indicator and what an event shows are brought to the same form, so that equal texts mean the same thing:
hashes in lower case; IPv4 addresses dotted, also those mapped into IPv6; networks with their host bits cleared; domains
in lower case, IDNA-encoded, without the last dot; URLs with scheme and host in lower case, without user, default port
and fragment.
"""

import ipaddress
import re
from collections.abc import Callable

from shield.scorer.indicators.harmless import (
    EMPTY_FILE,
    EVERYWHERE,
    MAYBE_RESERVED,
    ORDINARY_FILES,
    RESERVED_V4,
    RESERVED_V6,
    RESOLVERS,
    SHARED_SUFFIX,
    SHORTEST_PREFIX,
    SYSTEM_FOLDERS,
)
from shield.scorer.indicators.indicator import Kind

VALUE_MOST = 2048
"""No indicator is longer, in characters."""

_HASH_KINDS: dict[int, Kind] = {32: "md5", 40: "sha1", 64: "sha256"}
_HASH_LENGTHS = {kind: length for length, kind in _HASH_KINDS.items()}
_HEX = re.compile(r"[0-9a-f]+")

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_V4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)
_CIDR = re.compile(r"[0-9a-f:.]+/\d{1,3}", re.ASCII | re.IGNORECASE)
# An address or a name with a port; IPv6 has more colons.
_PORT = re.compile(r"([^:/]+\.[^:/.]+):\d{1,5}", re.ASCII)
_DOTTED_DIGITS = re.compile(r"[\d.:/]+", re.ASCII)

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*(?:[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?)")

_URL = re.compile(
    r"(?:([a-z][a-z0-9+.-]*)://)?(?:[^/?#@]*@)?(\[[0-9a-f:.]+\]|[^/?#:\[\]@]+)(?::(\d*))?(/[^?#]*)?(\?[^#]*)?(?:#.*)?",
    re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": "80", "https": "443", "ftp": "21"}
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")

_DEFANGED = re.compile(r"[\[({]\s?(\.|dot|:|://|/)\s?[\])}]", re.IGNORECASE)
_DEFANGED_SCHEME = re.compile(r"h(?:xx|\*\*|tt|XX)p(s?)(?=:)|f(?:x|X)p(s?)(?=:)", re.IGNORECASE)

_PATH = re.compile(r"/|\\\\|[a-z]:[\\/]", re.IGNORECASE)
# What a bare word with a dot in it is a file by, less the endings that are top-level domains too (com, sh, py, zip).
_FILE_ENDING = re.compile(
    r".*\.(?:exe|dll|sys|scr|ocx|cpl|bat|cmd|ps1|psm1|vbs|vbe|js|jse|wsf|hta|msi|msp|lnk|jar|elf|bin|so|ko|dat|tmp"
    r"|docx?|docm|xlsx?|xlsm|pptx?|pptm|rtf|pdf|iso|img|vhdx?|rar|7z|gz|tar|chm|one|php|aspx?|jspx?)",
    re.IGNORECASE,
)
_WILDCARD = re.compile(r"[*?%<>|\x00-\x1f\x7f\"]")

_CORRECT = "correct it or take it out"
_TAKE_OUT = "take it out of the feed"


class Refused(ValueError):
    """A text is no such indicator, or one that would match what is harmless. `problem` and `remedy` say why."""

    def __init__(self, problem: str, remedy: str = _CORRECT) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def refang(text: str) -> str:
    """Return `text` as it was before someone made it unclickable: `hxxp://evil[.]com` is `http://evil.com`."""
    if "[" in text or "(" in text or "{" in text:
        before = ""
        while before != text:
            before, text = text, _DEFANGED.sub(lambda found: found[1].lower().replace("dot", "."), text)
    return _DEFANGED_SCHEME.sub(_refanged_scheme, text, count=1) if ":" in text else text


def normal(kind: Kind, text: str) -> str:
    """Return the normal form of `text`, given as feeds write it. Raises Refused."""
    if len(text) > VALUE_MOST:
        raise Refused(f"this is longer than {VALUE_MOST} characters")
    form = _NORMAL[kind](text.strip())
    if len(form) > VALUE_MOST:
        raise Refused(f"this is longer than {VALUE_MOST} characters")
    return form


def guess(text: str) -> tuple[Kind, str]:
    """Return what kind of indicator `text` is, and its normal form. Raises Refused."""
    text = text.strip()
    if not text:
        raise Refused("this is empty")
    kind = _HASH_KINDS.get(len(text))
    if kind and _HEX.fullmatch(text.lower()):
        return kind, _hash(kind)(text)
    kind, text = _guessed(refang(text))
    return kind, normal(kind, text)


def ip_form(text: str) -> str:
    """Return the normal form of an address that an event shows, `""` where it is none."""
    if _V4.fullmatch(text):
        return text
    if ":" not in text:
        return ""
    try:
        address = ipaddress.IPv6Address(text.strip("[]").partition("%")[0])
    except ValueError:
        return ""
    return str(address.ipv4_mapped or address)


def domain_form(text: str) -> str:
    """Return the normal form of a name that an event shows, `""` where it can't be a domain."""
    name = text.rstrip(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode().lower()
        except UnicodeError:
            return ""
    return name if "." in name and len(name) <= 253 else ""


def url_form(text: str) -> str:
    """Return the normal form of a URL, `""` where it is none."""
    found = None if _BLANK.search(text) else _URL.fullmatch(text)
    if not found:
        return ""
    scheme, host, port, path, query = found.groups(default="")
    scheme = scheme.lower()
    host = f"[{ip_form(host)}]" if host.startswith("[") else ip_form(host) or domain_form(host)
    if not host or host == "[]":
        return ""
    place = "" if port in ("", _DEFAULT_PORTS.get(scheme)) else f":{port}"
    rest = _PERCENT.sub(lambda code: code[0].upper(), f"{path or '/'}{query}")
    return f"{scheme}://{host}{place}{rest}" if scheme else f"{host}{place}{rest}"


def packed(ip: str) -> bytes:
    """Return the 4 or 16 bytes of an address in normal form."""
    if ":" in ip:
        return ipaddress.IPv6Address(ip).packed
    return bytes(map(int, ip.split(".")))


def network(cidr: str) -> tuple[bytes, int]:
    """Return the first address, as bytes, and the prefix length of a network in normal form."""
    address, _, length = cidr.partition("/")
    return packed(address), int(length)


def _guessed(text: str) -> tuple[Kind, str]:
    port = _PORT.fullmatch(text)
    bare = port[1] if port else text
    for kind, looks_so in _LOOKS:
        if looks_so(bare):
            return kind, bare
        if looks_so(text):
            return kind, text
    raise Refused(f"{_shown(text)} is no hash, address, domain, URL or file name", "correct it, or say its type")


def _hash(kind: Kind) -> Callable[[str], str]:
    length = _HASH_LENGTHS[kind]

    def form(text: str) -> str:
        digest = text.lower()
        if len(digest) != length or not _HEX.fullmatch(digest):
            raise Refused(f"{_shown(text)} is no {kind}, which has {length} hexadecimal digits")
        if digest in EMPTY_FILE:
            raise Refused("this is the hash of the empty file, of which every host has many", _TAKE_OUT)
        if digest == digest[0] * length:
            raise Refused("this is no hash of a file but a placeholder", _TAKE_OUT)
        return digest

    return form


def _ip(text: str) -> str:
    address = ip_form(refang(text))
    if not address:
        raise Refused(f"{_shown(text)} is no IP address")
    _refuse_reserved(address)
    if address in RESOLVERS:
        raise Refused(f"{address} is a public name server that everyone uses", _TAKE_OUT)
    return address


def _refuse_reserved(address: str) -> None:
    if ":" not in address:
        if address.partition(".")[0] not in MAYBE_RESERVED:
            return
        four = ipaddress.IPv4Address(address)
        reserved = any(four in block for block in RESERVED_V4)
    else:
        six = ipaddress.IPv6Address(address)
        reserved = any(six in block for block in RESERVED_V6)
    if reserved:
        raise Refused(f"{address} is a private or reserved address", _TAKE_OUT)


def _cidr(text: str) -> str:
    text = refang(text)
    try:
        block = ipaddress.ip_network(text.partition("%")[0], strict=False)
    except ValueError:
        raise Refused(f"{_shown(text)} is no network, such as 198.51.100.0/24") from None
    if block.prefixlen < SHORTEST_PREFIX[block.version]:
        raise Refused(f"{block} is too broad: it holds a great part of the net", "name smaller networks")
    if isinstance(block, ipaddress.IPv4Network):
        reserved = any(block.overlaps(other) for other in RESERVED_V4)
    else:
        reserved = any(block.overlaps(other) for other in RESERVED_V6)
    if reserved:
        raise Refused(f"{block} holds private or reserved addresses", _TAKE_OUT)
    return str(block)


def _domain(text: str) -> str:
    name = _domain_text(refang(text))
    if name in EVERYWHERE or SHARED_SUFFIX.fullmatch(name):
        raise Refused(f"{name} is too broad: harmless sites have names below it", "name the bad sites themselves")
    return name


def _domain_text(text: str) -> str:
    text = text.removeprefix("*").removeprefix(".")
    name = domain_form(text)
    if not name:
        bare = text.rstrip(".").lower()
        if bare and _DOMAIN.fullmatch(bare):
            raise Refused(f"{bare} is too broad: it is a top-level name", "name the bad sites themselves")
        raise Refused(f"{_shown(text)} is no domain name")
    if not _DOMAIN.fullmatch(name):
        raise Refused(f"{_shown(name)} is no domain name")
    if name.endswith((".arpa", ".local", ".localdomain", ".lan", ".internal")):
        raise Refused(f"{name} is a name of local networks", _TAKE_OUT)
    return name


def _url(text: str) -> str:
    text = refang(text)
    form = url_form(text)
    if not form:
        raise Refused(f"{_shown(text)} is no URL")
    place, _, rest = form.rpartition("://")[2].partition("/")
    host = place.partition("]")[0].removeprefix("[") if place.startswith("[") else place.partition(":")[0]
    if address := ip_form(host):
        _refuse_reserved(address)
    elif _domain_text(host) in EVERYWHERE and not rest:
        raise Refused(f"{_shown(form)} is too broad: it is the front page of a site that everyone uses", _TAKE_OUT)
    return form


def _file_name(text: str) -> str:
    if "/" in text or "\\" in text:
        raise Refused(f"{_shown(text)} is a path, not a file's name", "give it the type path")
    if len(text.strip(".")) < 2:
        raise Refused(f"{_shown(text)} is too short to tell a file by", _TAKE_OUT)
    _refuse_wildcard(text)
    if text.lower() in ORDINARY_FILES:
        raise Refused(f"{text} is the name of a program that every host has", "use its hash or its full path")
    return text


def _path(text: str) -> str:
    _refuse_wildcard(text.removeprefix("\\\\?\\"))
    if not _PATH.match(text) or text.endswith(("/", "\\")):
        raise Refused(f"{_shown(text)} is no full path of a file")
    folder, _, name = text.lower().replace("\\", "/").rpartition("/")
    if name in ORDINARY_FILES and folder in SYSTEM_FOLDERS:
        raise Refused(f"{text} is a program that every host has", _TAKE_OUT)
    return text


def _refuse_wildcard(text: str) -> None:
    if _WILDCARD.search(text):
        raise Refused(f"{_shown(text)} is a pattern, not a name", "write a Sigma rule for it")


def _refanged_scheme(found: re.Match[str]) -> str:
    scheme = found[0].lower()
    return ("ftp" if scheme.startswith("f") else "http") + ("s" if scheme.endswith("s") else "")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


_NORMAL: dict[Kind, Callable[[str], str]] = {
    "md5": _hash("md5"),
    "sha1": _hash("sha1"),
    "sha256": _hash("sha256"),
    "ip": _ip,
    "cidr": _cidr,
    "domain": _domain,
    "url": _url,
    "file_name": _file_name,
    "path": _path,
}

# In their order: what looks like several is the first.
_LOOKS: tuple[tuple[Kind, Callable[[str], object]], ...] = (
    ("cidr", _CIDR.fullmatch),
    ("url", lambda text: "://" in text),
    ("path", _PATH.match),
    ("ip", ip_form),
    ("url", lambda text: "/" in text),
    ("file_name", _FILE_ENDING.fullmatch),
    ("domain", lambda text: "." in text and not _DOTTED_DIGITS.fullmatch(text)),
)
