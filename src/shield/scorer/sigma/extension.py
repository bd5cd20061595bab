"""What Shield adds to Sigma's format, and how it reads the tags that Sigma's own tools leave as they are.

The mapping `shield` of a rule, which other tools ignore, has three keys: `name` is what rationales show, `points` what
the rule adds to a score (by its level where absent), `next` what an analyst should do when it fires.
"""

from msgspec import Struct

from shield.policy.schema import Points


class Extension(Struct, frozen=True, forbid_unknown_fields=True):
    """The mapping `shield` of a rule."""

    name: str = ""
    points: Points | None = None
    next: str = ""


def is_technique(tag: str) -> bool:
    """Return whether an ATT&CK tag names a technique (`t1059.004`), not a tactic, a group or a software."""
    return tag[:1] in "tT" and tag[1:2].isdigit()


def is_tactic(tag: str) -> bool:
    """Return whether an ATT&CK tag names a tactic (`credential-access`): all others have a number."""
    return not any(character.isdigit() for character in tag)
