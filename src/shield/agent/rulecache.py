"""Compiled rules on disk, so that a start with thousands of them takes a moment.

A cache file is named by the digest of what it was made from: the rule files' paths and contents, and the versions of
what compiled them. It begins with the digest of its own content. One that is damaged, or that another user could have
written, is not used: it is made anew.
"""

import hashlib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from shield import __version__
from shield.scorer.sigma.ruleset import Ruleset

FOLDER_VARIABLE = "SHIELD_CACHE"
"""The environment variable that names the cache folder; empty switches the cache off."""

_FORMAT = 1
_MAGIC = b"shield rules\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
_KEPT = 8
_LARGEST = 1 << 30
_NAME = re.compile(r"[0-9a-f]{64}\.rules")


class Compiled(Struct, frozen=True):
    """What is kept: the rules as read, what was wrong with others, and compiled scanners by their digest."""

    ruleset: Ruleset
    problems: tuple[str, ...] = ()
    databases: dict[str, bytes] = {}


def default_folder() -> Path | None:
    """Return where this user's cache is: /var/cache/shield for root; None where it is switched off."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "Shield" / "Cache"
    if os.geteuid() == 0:
        return Path("/var/cache/shield")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shield"


def key_of(files: Iterable[tuple[str, bytes]]) -> str:
    """Return the name under which what is compiled from `files` (path and content) is kept."""
    digest = hashlib.sha256(repr((_FORMAT, __version__, sys.version_info[:2])).encode())
    for path, content in files:
        digest.update(hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest())
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def sealed(compiled: Compiled) -> bytes:
    """Return `compiled` as bytes under their digest."""
    body = msgspec.msgpack.encode(compiled)
    return _MAGIC + hashlib.sha256(body).digest() + body


def unsealed(content: bytes) -> Compiled | None:
    """Return what was `sealed`, None where the bytes are not that any more."""
    body = content[len(_MAGIC) + _DIGEST_BYTES :]
    if content[: -len(body) or None] != _MAGIC + hashlib.sha256(body).digest():
        return None
    try:
        return msgspec.msgpack.decode(body, type=Compiled)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


class RuleCache:
    """The cache in `folder`; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, key: str) -> Compiled | None:
        """Return what is kept under `key`, None where there is nothing that can be trusted."""
        if self._folder is None:
            return None
        try:
            content = _read(self._folder / f"{key}.rules")
        except OSError:
            return None
        return unsealed(content)

    def save(self, key: str, compiled: Compiled) -> None:
        """Keep `compiled`; where that can't be done the next start takes longer, and nothing else is different."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self._folder, f"{key}.rules", sealed(compiled))
            self._tidy()
        except OSError:
            return

    def _tidy(self) -> None:
        """Keep the newest few files; only what this module has written is ever removed."""
        folder = self._folder
        if folder is None:
            return
        kept = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
        for old in sorted(kept, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
            old.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    """Return the content of a file that only this user, or root, can have written. Raises OSError."""
    with path.open("rb") as file:
        for place in (os.fstat(file.fileno()), path.parent.stat()):
            if not _is_trusted(place):
                raise PermissionError(f"{path}: another user may have written it")
        return file.read(_LARGEST)


def _is_trusted(place: os.stat_result) -> bool:
    if sys.platform == "win32":
        return True
    return place.st_uid in (0, os.geteuid()) and not place.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _write(folder: Path, name: str, content: bytes) -> None:
    descriptor, partial = tempfile.mkstemp(dir=folder, prefix=".", suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(partial).replace(folder / name)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise
