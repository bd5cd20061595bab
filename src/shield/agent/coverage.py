"""What this version observes live, by platform: what rules have to go by without recorded telemetry."""

from shield.event import Platform
from shield.scorer.sigma.coverage import Live

_NEVER_FILLED = ("pe", "hashes", "integrity", "logon_id")
_OTHER_PARTS = ("file", "network", "dns", "registry", "log")
_LIVE: dict[Platform, Live] = {
    "linux": Live(
        os="linux",
        categories=frozenset(("process_start", "process_exit")),
        unfilled=frozenset((*(f"process.{name}" for name in _NEVER_FILLED), *_OTHER_PARTS)),
    ),
    "windows": Live(os="windows"),
}


def live(os: Platform) -> Live:
    """Return what the live sources of a platform give; the agent watches Linux hosts only."""
    return _LIVE[os]
