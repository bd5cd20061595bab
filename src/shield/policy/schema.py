"""What a policy may say: every key, its default and its bounds.

This version observes only: no key enables an action on the host.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shield.event import Severity

Points = Annotated[int, Meta(ge=0, le=100)]


class Thresholds(Struct, frozen=True, forbid_unknown_fields=True):
    """The scores from which an event is WATCH and ALERT."""

    watch: Annotated[int, Meta(ge=1, le=100)] = 40
    alert: Annotated[int, Meta(ge=1, le=100)] = 70

    def __post_init__(self) -> None:
        if self.watch > self.alert:
            raise ValueError(f"watch ({self.watch}) is above alert ({self.alert})")


class Story(Struct, frozen=True, forbid_unknown_fields=True):
    """How long, in seconds, a signal adds to later events of its story. 0 scores every event alone."""

    window_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 600


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """One version of the policy.

    `levels` are the points of rules that name none, by their Sigma level. `weights` replace the points of single rules,
    by rule id or by name; 0 switches a rule off.
    """

    version: Annotated[int, Meta(ge=1)]
    stage: Literal["observe"] = "observe"
    thresholds: Thresholds = Thresholds()
    story: Story = Story()
    levels: dict[Severity, Points] = {}
    weights: dict[str, Points] = {}


LEVEL_POINTS: dict[Severity, int] = {"informational": 5, "low": 15, "medium": 40, "high": 70, "critical": 90}
