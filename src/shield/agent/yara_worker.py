"""The process that scans files with YARA-X: questions come on stdin, answers go to stdout, a line each.

YARA-X holds the interpreter while it scans, and it parses what attackers write; so it does neither in the watch. Files
are opened without being followed, waited for or run: a device or a pipe is never opened, only looked at.
"""

import os
import stat
import sys
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import msgspec
import yara_x

from shield.agent import child
from shield.agent.yara_message import Answer, Ask, Found, FromWorker, Match, Order, Ready, ToWorker
from shield.agent.yara_rules import BadYaraRules, compile_rules
from shield.text import encode

_SEEN_MOST = 16384
_MATCHES_MOST = 32
_FOUND_MOST = 16
_META_MOST = 16
_META_LENGTH_MOST = 200
_SNIPPET_MOST = 32
_COUNT_MOST = 16
_CHUNK = 1 << 20

_PATH_ONLY: int = getattr(os, "O_PATH", 0)
_FLAGS: int = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_NO_ACCESS_TIME: int = getattr(os, "O_NOATIME", 0)

Identity = tuple[int, int, int, int, int]


class NotScanned(Exception):
    """A file isn't scanned; the text is the reason, as ledgers count it."""


class Worker:
    """Scans with one set of rules at a time, each state of a file once."""

    def __init__(self) -> None:
        self._scanner: yara_x.Scanner | None = None
        self._max_bytes = 0
        self._seen: OrderedDict[Identity, None] = OrderedDict()

    def order(self, order: Order) -> Ready:
        """Compile the rules and use them; where they are bad, go on with those in use."""
        try:
            rules, problems = compile_rules(order.rules)
        except BadYaraRules as error:
            return Ready(refused=str(error))
        if problems and self._scanner is not None:
            return Ready(problems=problems, refused="\n".join(problems[:5]))
        self._scanner = yara_x.Scanner(rules)
        self._scanner.set_timeout(order.timeout_seconds)
        self._scanner.max_matches_per_pattern(_COUNT_MOST)
        self._max_bytes = order.max_bytes
        self._seen.clear()
        return Ready(rules=sum(1 for _ in cast("Iterable[object]", rules)), problems=problems)

    def answer(self, ask: Ask) -> Answer:
        """Scan a file, or say why not."""
        try:
            return Answer(ask.id, "scanned", self._scan(ask))
        except NotScanned as reason:
            return Answer(ask.id, str(reason))
        except OSError:
            return Answer(ask.id, "unreadable")

    def _scan(self, ask: Ask) -> tuple[Match, ...]:
        descriptor = open_regular(ask)
        try:
            identity = _identity(os.fstat(descriptor))
            if identity in self._seen:
                self._seen.move_to_end(identity)
                raise NotScanned("unchanged")
            data = _content(descriptor, self._max_bytes)
            matches = self._matches(data)
            if _identity(os.fstat(descriptor)) == identity:  # else it was written to meanwhile, and is due again
                self._remember(identity)
            return matches
        finally:
            os.close(descriptor)

    def _matches(self, data: bytes) -> tuple[Match, ...]:
        if self._scanner is None:
            raise NotScanned("no_rules")
        try:
            found = self._scanner.scan(data).matching_rules
        except yara_x.TimeoutError:
            raise NotScanned("timeout") from None
        except yara_x.ScanError:
            raise NotScanned("scan_error") from None
        return tuple(_match(rule, data) for rule in found[:_MATCHES_MOST])

    def _remember(self, identity: Identity) -> None:
        self._seen[identity] = None
        if len(self._seen) > _SEEN_MOST:
            self._seen.popitem(last=False)


def open_regular(ask: Ask) -> int:
    """Return a descriptor of the regular file that `ask` is about.

    Of a running program it is the file that runs, not another one that has its path by now or in another mount
    namespace: the inode says so. Raises NotScanned and OSError.
    """
    path = encode(ask.path)
    try:
        return _opened(path, _NO_FOLLOW, ask.inode)
    except FileNotFoundError:
        if not ask.pid:
            raise NotScanned("gone") from None
    except NotScanned as reason:
        if not ask.pid or str(reason) != "another_file":
            raise
    return _running(ask, path)


def _running(ask: Ask, path: bytes) -> int:
    """Open the program that a process runs; without an inode to go by its path must be the one asked for."""
    link = f"/proc/{ask.pid}/exe"
    try:
        if not ask.inode and os.fsencode(Path(link).readlink()).removesuffix(b" (deleted)") != path:
            raise NotScanned("another_file")
        return _opened(os.fsencode(link), 0, ask.inode)
    except (FileNotFoundError, ProcessLookupError):
        raise NotScanned("gone") from None


def _opened(path: bytes, follow: int, inode: int) -> int:
    """Open a regular file for reading: first only to look what it is, where the kernel can."""
    try:
        looked = os.open(path, (_PATH_ONLY or _FLAGS) | follow | getattr(os, "O_CLOEXEC", 0))
    except NotADirectoryError:
        raise FileNotFoundError from None
    try:
        status = os.fstat(looked)
        if not stat.S_ISREG(status.st_mode):
            raise NotScanned("not_a_regular_file")
        if inode and status.st_ino != inode:
            raise NotScanned("another_file")
        if not _PATH_ONLY:
            return os.dup(looked)
        return _reopened(looked)
    finally:
        os.close(looked)


def _reopened(looked: int) -> int:
    link = f"/proc/self/fd/{looked}"
    try:
        return os.open(link, _FLAGS | _NO_ACCESS_TIME)
    except PermissionError:  # only a file's owner may leave its access time alone
        return os.open(link, _FLAGS)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _content(descriptor: int, most: int) -> bytes:
    """Return what is in a file. It isn't mapped: whoever cuts a mapped file short ends its reader."""
    if os.fstat(descriptor).st_size > most:
        raise NotScanned("too_large")
    data = bytearray()
    while chunk := os.read(descriptor, _CHUNK):
        data += chunk
        if len(data) > most:
            raise NotScanned("too_large")
    return bytes(data)


def _match(rule: yara_x.Rule, data: bytes) -> Match:
    found: list[Found] = []
    for pattern in rule.patterns:
        matches = pattern.matches
        if matches and len(found) < _FOUND_MOST:
            first = matches[0]
            snippet = data[first.offset : first.offset + min(first.length, _SNIPPET_MOST)]
            found.append(Found(pattern.identifier, first.offset, len(matches), _shown(snippet)))
    return Match(rule.namespace, rule.identifier, tuple(rule.tags), tuple(_meta(rule.metadata)), tuple(found))


def _meta(entries: Sequence[tuple[str, object]]) -> list[tuple[str, str | int | float | bool]]:
    found: list[tuple[str, str | int | float | bool]] = []
    for name, value in entries[:_META_MOST]:
        if isinstance(value, str):
            found.append((name, value[:_META_LENGTH_MOST]))
        elif isinstance(value, int | float):
            found.append((name, value))
        elif isinstance(value, bytes):
            found.append((name, _shown(value[:_META_LENGTH_MOST])))
    return found


def _shown(raw: bytes) -> str:
    """Return bytes as text in which all but printable ASCII is a dot."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in raw)


def main() -> int:
    """Answer until stdin ends."""
    child.give_way()
    worker, decoder, encoder = Worker(), msgspec.json.Decoder[ToWorker](ToWorker), msgspec.json.Encoder()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints must not garble the answers
    for line in sys.stdin.buffer:
        message = decoder.decode(line)
        said: FromWorker = worker.order(message) if isinstance(message, Order) else worker.answer(message)
        try:
            out.write(encoder.encode(said) + b"\n")
        except BrokenPipeError:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
