"""What the watch and the process that scans with YARA say to each other: one JSON object a line."""

from msgspec import Struct


class Order(Struct, frozen=True, tag_field="say", tag="order"):
    """Which rules to use, and within which bounds; `Ready` is the answer."""

    rules: tuple[str, ...]
    max_bytes: int
    timeout_seconds: int


class Ask(Struct, frozen=True, tag_field="say", tag="ask"):
    """A file to scan. `path` is as in events. `pid` and `inode` (0 where unknown) say which running program it is."""

    id: int
    path: str
    pid: int = 0
    inode: int = 0


class Ready(Struct, frozen=True, tag_field="say", tag="ready"):
    """The rules in use. `problems` tells of files that can't be used; with `refused` no new rules are in use."""

    rules: int = 0
    problems: tuple[str, ...] = ()
    refused: str = ""


class Found(Struct, frozen=True):
    """A text that a rule found: its name (`$a`), where first, how often, and a short part of it, safe to show."""

    name: str
    offset: int
    count: int
    snippet: str


class Match(Struct, frozen=True):
    """A rule that matched."""

    namespace: str
    rule: str
    tags: tuple[str, ...] = ()
    meta: tuple[tuple[str, str | int | float | bool], ...] = ()
    found: tuple[Found, ...] = ()


class Answer(Struct, frozen=True, tag_field="say", tag="answer"):
    """What became of an `Ask`: `scanned`, or why it wasn't."""

    id: int
    outcome: str
    matches: tuple[Match, ...] = ()


ToWorker = Order | Ask
FromWorker = Ready | Answer
