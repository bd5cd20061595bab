"""The resource contract: what is given up when, in which order, and what never is."""

from typing import Any

import pytest

from shield.agent.budget import QUIET, REPEAT, Budget, Shedding, Stage, Usage
from shield.event import Data, Event, Signal

MIB = 1 << 20


def spend(budget: Budget, seconds: range, cpu_share: float, rss: int = 50 * MIB, used: float = 0.0) -> float:
    """Let time pass in which the agent uses a share of a core; return the CPU seconds used by then."""
    for second in seconds:
        used += cpu_share
        budget.note(Usage(float(second), used, rss))
    return used


def event(key: str = "k", **fields: Any) -> Event:
    defaults = {
        "ts": 1, "host": "h", "category": "process_start", "action": "ALLOW", "score": 0, "rationale": "low_signal",
        "data": Data(), "policy_version": "", "dedupe_key": key, "correlation_id": "",
    }  # fmt: skip
    return Event(**(defaults | fields))


def test_within_the_budget_nothing_is_given_up() -> None:
    budget = Budget(30, 256 * MIB)
    spend(budget, range(60), 0.2)
    assert (budget.stage, round(budget.share)) == (Stage.FULL, 20)


def test_a_short_burst_is_nothing_and_a_long_one_costs_repeats_then_quiet_events() -> None:
    budget = Budget(30, 256 * MIB)
    used = spend(budget, range(4), 0.9)
    assert budget.stage is Stage.FULL
    stages = []
    for second in range(4, 30):
        used += 0.9
        if budget.note(Usage(float(second), used, 50 * MIB)):
            stages.append(budget.stage)
    assert stages == [Stage.FOLDING, Stage.COUNTING]


def test_when_the_burst_is_over_everything_is_kept_again_step_by_step() -> None:
    budget = Budget(30, 256 * MIB)
    used = spend(budget, range(30), 0.9)
    used = spend(budget, range(30, 36), 0.1, used=used)
    assert budget.stage is Stage.COUNTING
    used = spend(budget, range(36, 60), 0.1, used=used)
    assert budget.stage is Stage.FOLDING
    spend(budget, range(60, 140), 0.1, used=used)
    assert budget.stage is Stage.FULL


def test_too_much_memory_gives_up_everything_quiet_at_once() -> None:
    budget = Budget(30, 100 * MIB)
    spend(budget, range(10), 0.01, rss=101 * MIB)
    assert budget.stage is Stage.COUNTING


def test_of_repeats_the_first_is_kept_and_the_rest_are_counted() -> None:
    shedding = Shedding()
    shedding.stage = Stage.FOLDING
    assert [shedding.keeps(event(key)) for key in "aabab"] == [True, False, True, False, False]
    assert shedding.shed == {REPEAT: 3}


def test_quiet_events_are_counted() -> None:
    shedding = Shedding()
    shedding.stage = Stage.COUNTING
    assert not shedding.keeps(event())
    assert shedding.shed == {QUIET: 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "ALERT", "score": 90},
        {"action": "WATCH", "score": 50},
        {"signals": (Signal("id", "weak", 5),)},
        {"category": "loss"},
        {"category": "tamper"},
        {"category": "heartbeat"},
    ],
)
def test_what_matters_is_always_kept(fields: dict[str, Any]) -> None:
    shedding = Shedding()
    shedding.stage = Stage.COUNTING
    assert all(shedding.keeps(event(**fields)) for _ in range(3))
    assert not shedding.shed


def test_a_million_kinds_of_events_need_no_more_memory_than_some_thousands() -> None:
    shedding = Shedding()
    shedding.stage = Stage.FOLDING
    for number in range(20_000):
        shedding.keeps(event(str(number)))
    assert len(shedding._seen) <= 4096
