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

    @property
    def window_ns(self) -> int:
        """The same in nanoseconds."""
        return self.window_seconds * 1_000_000_000


class BaselinePoints(Struct, frozen=True, forbid_unknown_fields=True):
    """What a thing that is new on this host adds to a score, by kind; one that is only rare adds a third. 0 is off.

    The defaults of all that program starts can show stay below WATCH together, new and rare: what the baseline by
    itself raised to WATCH it would never learn.
    """

    executable: Points = 10
    executable_hash: Points = 8
    parent_child: Points = 8
    user_executable: Points = 5
    destination: Points = 12
    listening_port: Points = 15
    logon_hour: Points = 8


class BaselineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the baseline learns what is normal on this host, and what the rest is worth.

    Nothing is scored before `learn_days`; a thing is known once it was seen on `min_days_known` days. What happens is
    learnt `quarantine_seconds` later, unless its story has become WATCH or ALERT; such a story teaches nothing for
    `taint_seconds`. At most `entries_most` things of each kind are remembered.
    """

    enabled: bool = True
    learn_days: Annotated[int, Meta(ge=1, le=365)] = 14
    min_days_known: Annotated[int, Meta(ge=1, le=365)] = 3
    quarantine_seconds: Annotated[int, Meta(ge=0, le=604_800)] = 3600
    taint_seconds: Annotated[int, Meta(ge=0, le=31_536_000)] = 86_400
    entries_most: Annotated[int, Meta(ge=64, le=65_536)] = 8192
    points: BaselinePoints = BaselinePoints()

    def __post_init__(self) -> None:
        if self.min_days_known > self.learn_days:
            raise ValueError(f"min_days_known ({self.min_days_known}) is above learn_days ({self.learn_days})")


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """One version of the policy.

    `levels` are the points of rules that name none, by their Sigma level. `weights` replace the points of single rules,
    by rule id or by name; 0 switches a rule off. `placeholders` are the values that
    rules ask for by `%name%`, with `*` and `?` as wildcards.
    """

    version: Annotated[int, Meta(ge=1)]
    stage: Literal["observe"] = "observe"
    thresholds: Thresholds = Thresholds()
    story: Story = Story()
    baseline: BaselineSettings = BaselineSettings()
    placeholders: dict[str, tuple[str, ...]] = {}
    levels: dict[Severity, Points] = {}
    weights: dict[str, Points] = {}


LEVEL_POINTS: dict[Severity, int] = {"informational": 5, "low": 15, "medium": 40, "high": 70, "critical": 90}
