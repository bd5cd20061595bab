"""What every test shares: the Hypothesis profile, no state but its own, and that tests/live needs root on Linux."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("shield", deadline=None)
settings.load_profile("shield")

os.environ["SHIELD_STATE"] = ""  # what one test's agent has seen must not be another's baseline
os.environ["SHIELD_RUNTIME"] = ""  # nor its status that of the agent which watches this host
_LIVE = Path(__file__).parent / "live"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything under tests/live as `live`, and skip what is so marked where it can't run."""
    reason = _why_not_live()
    for item in items:
        if _LIVE in item.path.parents:
            item.add_marker(pytest.mark.live)
        if reason and item.get_closest_marker("live"):
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_not_live() -> str | None:
    if sys.platform != "linux":
        return "live tests need a Linux kernel"
    if os.geteuid() != 0:
        return "live tests need root: they read kernel events"
    return None
