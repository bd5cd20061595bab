"""One indicator of compromise, and what else the readers of the formats find.

A reader yields, for each entry of a file, what it made of it: an `Indicator`, a `Problem` where the entry can't be
used, or `PassedOver` where its author says that it isn't meant for detection.
"""

from typing import Literal

from msgspec import Struct

from shield.event import Severity

Kind = Literal["md5", "sha1", "sha256", "ip", "cidr", "domain", "url", "file_name", "path"]
Group = Literal["hash", "ip", "domain", "url", "file"]

GROUPS: dict[Kind, Group] = {
    "md5": "hash",
    "sha1": "hash",
    "sha256": "hash",
    "ip": "ip",
    "cidr": "ip",
    "domain": "domain",
    "url": "url",
    "file_name": "file",
    "path": "file",
}
LEVELS: dict[Group, Severity] = {"hash": "critical", "ip": "high", "domain": "high", "url": "high", "file": "medium"}
"""How bad it is to meet an indicator whose author says nothing about it: a hash is certain, a file's name is not."""

NOTE_MOST = 200
SOURCE_MOST = 64


class Indicator(Struct, frozen=True, gc=False):
    """A value that is bad to meet.

    `value` is in the normal form of `shield.scorer.indicators.value`. `source` names who says so. `expires_ns` is Unix
    nanoseconds, 0 for never. `note` is the author's, shortened.
    """

    kind: Kind
    value: str
    source: str
    expires_ns: int = 0
    level: Severity = "high"
    note: str = ""

    @property
    def group(self) -> Group:
        """The kind of evidence that the indicator is."""
        return GROUPS[self.kind]


class Problem(Struct, frozen=True):
    """An entry that can't be used: where it stands (`line 7`, `objects[3].pattern`), what is wrong, and the remedy."""

    place: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}; {self.remedy}"


class PassedOver(Struct, frozen=True):
    """An entry that its author doesn't mean for detection."""

    reason: str


Found = Indicator | Problem | PassedOver


def level(kind: Kind, confidence: int | None) -> Severity:
    """Return the level of an indicator whose author is sure by `confidence` percent, None where that is unsaid."""
    usual = LEVELS[GROUPS[kind]]
    if confidence is None or confidence >= 70:
        return usual
    if confidence >= 40:
        return "medium"
    return "low"
