"""Who may use a host, as its account files say: passwd(5), shadow(5), group(5), gshadow(5) and sudoers(5).

Everything here takes any bytes, and returns no password nor anything that one can be guessed from: of the hash of a
password only a keyed digest is kept, which tells that it is another one.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

from shield.text import decode

_RULE_MOST = 512
_DIGEST_BYTES = 16
_IN_SHADOW = b"x"
_CONTINUED = re.compile(r"\\\r?\n")
_COMMENT = re.compile(r"(?<!\\)#(?!\d|include).*")
_SPACE = re.compile(r"\s+")
_NO_RULE = ("Defaults", "@include", "#include")
_ALIAS = re.compile(r"(?:User|Runas|Host|Cmnd|Cmd)_Alias\b")
_GROUP = re.compile(r'%("[^"]+"|[^\s,:=!]+)')

ADMINISTRATORS = frozenset(
    ("sudo", "wheel", "admin", "docker", "lxd", "incus-admin", "libvirt", "disk", "shadow", "kmem")
)
"""The groups whose members are root, or a step away: by sudo, a container, the raw disk or the hashes of passwords."""


class Password(Struct, frozen=True, array_like=True):
    """Whether an account can be entered with a password: none at all is needed, it is set, or locked (`!`, `*`).

    `digest` tells one password from another, `""` for none.
    """

    state: Literal["none", "set", "locked"]
    digest: str = ""


class User(Struct, frozen=True, array_like=True):
    """A line of passwd. Its password is an `x`, which stands for that in shadow, but need not be."""

    password: Password
    id: int | None
    group_id: int | None
    home: str
    shell: str


class Group(Struct, frozen=True, array_like=True):
    """A line of group."""

    id: int | None
    members: frozenset[str]


class Shadow(Struct, frozen=True, array_like=True):
    """A line of shadow: the password, and the day since 1970 from which the account can't be used, `""` for none."""

    password: Password
    expires: str


class GroupShadow(Struct, frozen=True, array_like=True):
    """A line of gshadow: the group's password and who may change its members."""

    password: Password
    administrators: frozenset[str]


class Digests:
    """Tells passwords apart by a digest of their hashes, under a secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def password(self, field: bytes) -> Password:
        """Return what the second field of shadow says."""
        if not field:
            return Password("none")
        if field == _IN_SHADOW:
            return Password("locked")
        locked = field[:1] in (b"!", b"*")
        digest = self._digest(field.lstrip(b"!*"))
        return Password("locked" if locked else "set", digest)

    def _digest(self, secret: bytes) -> str:
        if not secret:
            return ""
        return hashlib.blake2b(secret, key=self._key, digest_size=_DIGEST_BYTES).hexdigest()


def users(text: bytes, digests: Digests) -> dict[str, User]:
    """Return the users of a password file."""
    return {
        name: User(digests.password(fields[0]), _id(fields[1]), _id(fields[2]), decode(fields[4]), decode(fields[5]))
        for name, fields in _lines(text, 6)
    }


def groups(text: bytes, digests: Digests) -> dict[str, Group]:
    """Return the groups of a group file; their passwords are in gshadow."""
    return {name: Group(_id(fields[1]), _names(fields[2])) for name, fields in _lines(text, 3)}


def shadows(text: bytes, digests: Digests) -> dict[str, Shadow]:
    """Return the users of a shadow file."""
    return {
        name: Shadow(digests.password(fields[0]), decode(fields[6]) if len(fields) > 6 else "")
        for name, fields in _lines(text, 1)
    }


def group_shadows(text: bytes, digests: Digests) -> dict[str, GroupShadow]:
    """Return the groups of a gshadow file."""
    return {name: GroupShadow(digests.password(fields[0]), _names(fields[1])) for name, fields in _lines(text, 2)}


def sudo_rules(text: bytes) -> dict[str, None]:
    """Return the rules, settings and aliases of a sudoers file, in order: each on one line, without comments."""
    joined = _CONTINUED.sub(" ", decode(text))
    lines = (_SPACE.sub(" ", _COMMENT.sub("", line)).strip()[:_RULE_MOST] for line in joined.split("\n"))
    return dict.fromkeys(line for line in lines if line)


def grants(rule: str) -> bool:
    """Return whether a line of sudoers lets somebody run something, rather than setting or naming something."""
    return not rule.startswith(_NO_RULE) and not _ALIAS.match(rule)


def granted_groups(rules: Iterable[str]) -> frozenset[str]:
    """Return the groups that rules of sudoers let run something."""
    found = (name.strip('"') for rule in rules if grants(rule) for name in _GROUP.findall(rule.partition("=")[0]))
    return frozenset(found)


def _lines(text: bytes, least: int) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the name and the other fields of each line that has enough of them."""
    for line in text.split(b"\n"):
        name, *fields = line.rstrip(b"\r").split(b":")
        if name and name[:1] not in (b"#", b"+", b"-") and len(fields) >= least:
            yield decode(name), fields


def _names(field: bytes) -> frozenset[str]:
    return frozenset(decode(name.strip()) for name in field.split(b",") if name.strip())


def _id(field: bytes) -> int | None:
    return int(field) if field.isdigit() and len(field) <= 10 else None
