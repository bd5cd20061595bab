"""From a score to what is done: the one place where an action is decided."""

from shield.event import Action, Severity
from shield.policy.schema import Policy

_CRITICAL = 90


def action(score: int, policy: Policy) -> Action:
    """Return what a score of 0 to 100 means under `policy`."""
    if score >= policy.thresholds.alert:
        return "ALERT"
    return "WATCH" if score >= policy.thresholds.watch else "ALLOW"


def severity(score: int, decided: Action) -> Severity:
    """Return the named level that goes with a score and the action decided for it."""
    if decided == "ALERT":
        return "critical" if score >= _CRITICAL else "high"
    if decided == "WATCH":
        return "medium"
    return "low" if score else "informational"
