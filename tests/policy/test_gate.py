"""From a score to an action and a severity, at the boundaries."""

import pytest

from shield.event import Action, Severity
from shield.policy import gate
from shield.policy.schema import Policy, Thresholds


@pytest.mark.parametrize(
    ("score", "action", "severity"),
    [
        (0, "ALLOW", "informational"),
        (1, "ALLOW", "low"),
        (39, "ALLOW", "low"),
        (40, "WATCH", "medium"),
        (69, "WATCH", "medium"),
        (70, "ALERT", "high"),
        (89, "ALERT", "high"),
        (90, "ALERT", "critical"),
        (100, "ALERT", "critical"),
    ],
)
def test_a_score_is_watched_from_40_and_alerts_from_70(score: int, action: Action, severity: Severity) -> None:
    policy = Policy(version=1)
    assert gate.action(score, policy) == action
    assert gate.severity(score, action) == severity


def test_a_policy_sets_its_own_thresholds() -> None:
    policy = Policy(version=1, thresholds=Thresholds(watch=10, alert=20))
    assert [gate.action(score, policy) for score in (9, 10, 19, 20)] == ["ALLOW", "WATCH", "WATCH", "ALERT"]


def test_equal_thresholds_leave_nothing_to_watch() -> None:
    policy = Policy(version=1, thresholds=Thresholds(watch=50, alert=50))
    assert [gate.action(score, policy) for score in (49, 50)] == ["ALLOW", "ALERT"]


def test_a_watch_threshold_above_the_alert_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"watch \(80\) is above alert \(70\)"):
        Thresholds(watch=80)
