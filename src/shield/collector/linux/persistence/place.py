"""Where a mechanism keeps its files, and how they are read: what every module in `mechanism` is made of.

A pattern is an absolute path whose parts may hold `*`, `?` and `[...]`; `*` never spans a `/`. One that begins with `~`
stands for that place in every user's home.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from shield.collector.linux.persistence.item import Entry, entry
from shield.text import decode

_LINES_MOST = 20_000
_LINE_MOST = 8192


class Found(Struct, frozen=True, gc=False):
    """A file of a place. `content` is its beginning, `target` where it leads if it is a symbolic link.

    `user` is whose home it was found in. `stamp` changes with the file: inode, size, modification and change time in
    ns, mode and owner, of the link too where it is one. `gap` says why there is no content.
    """

    path: str
    mode: int
    uid: int
    gid: int
    size: int
    stamp: tuple[int, ...]
    content: bytes = b""
    sha256: str = ""
    target: str = ""
    user: str = ""
    gap: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The name of the folder that it is in."""
        return self.path.rpartition("/")[0].rpartition("/")[2]

    @property
    def executable(self) -> bool:
        """Whether somebody may run it."""
        return self.mode & 0o111 != 0

    def lines(self, comments: str = "#") -> Iterator[str]:
        """Yield the lines that are neither empty nor begin with one of `comments`, without the spaces around them."""
        for raw in self.content.split(b"\n", _LINES_MOST)[:_LINES_MOST]:
            line = decode(raw[:_LINE_MOST]).strip()
            if line and line[0] not in comments:
                yield line

    def joined_lines(self, comments: str = "#") -> Iterator[str]:
        r"""Yield lines like `lines`, those that end with `\` joined with the next."""
        held = ""
        for line in self.lines(comments):
            held += line
            if held.endswith("\\") and len(held) < _LINE_MOST:
                held = held[:-1] + " "
                continue
            yield held
            held = ""
        if held:
            yield held


Parser = Callable[[Found], Iterable[Entry]]
"""Reads the entries of a file. It is given what anybody wrote, and raises nothing."""


class Place(Struct, frozen=True):
    """The files that match `pattern`, and how one is read."""

    mechanism: str
    pattern: str
    parse: Parser


def places(mechanism: str, parse: Parser, *patterns: str) -> tuple[Place, ...]:
    """Return the places of a mechanism whose files are read alike."""
    return tuple(Place(mechanism, pattern, parse) for pattern in patterns)


def script(trigger: str, run_as: str = "root") -> Parser:
    """Return the parser of files that are one program each, run as a whole."""

    def parse(found: Found) -> Iterator[Entry]:
        yield entry(found.name, found.target or found.path, trigger, found.user or run_as)

    return parse


def program(trigger: str, run_as: str = "root") -> Parser:
    """Return the parser of files that are run if they may be: without the permission they are none."""
    as_script = script(trigger, run_as)

    def parse(found: Found) -> Iterable[Entry]:
        return as_script(found) if found.executable else ()

    return parse


def first_word(command: str) -> str:
    """Return the name of the program that a command starts with."""
    word = re.match(r"\s*[\"']?([^\s\"';|&]*)", command)
    return word[1].rpartition("/")[2] if word else ""
