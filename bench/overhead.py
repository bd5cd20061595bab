"""What watching costs: the host's own programs, the delay of an event, CPU time and memory, for Shield and its peers.

slowdown  see bench.slowdown
latency   see bench.latency
cpu       see bench.steady
rest      see bench.steady

All contestants are measured in this one run; a ratio to a peer that is below 1 is in Shield's favour. Not included:
what a long run costs (bench.churn), reading the events, rules of the user's own, other kinds of events than processes.
"""

from typing import Any

from msgspec import Struct

from bench import latency, report, slowdown, steady
from bench.line_up import present
from bench.report import Row


class Settings(Struct, frozen=True):
    """How long each part runs. Times are in seconds, rates in processes a second."""

    rounds: int = 5
    round_s: float = 3.0
    latency_count: int = 2_000
    latency_rate: int = 200
    rates: tuple[int, ...] = (100, 400, 1_000)
    rate_s: float = 10.0
    rest_s: float = 20.0


QUICK = Settings(rounds=2, round_s=0.7, latency_count=400, rates=(100, 1_000), rate_s=3.0, rest_s=3.0)


def measure(settings: Settings) -> dict[str, Any]:
    """Run everything and return the result. Raises NotRunning where a contestant that is present doesn't start."""
    contestants, skipped = present()
    notes: list[str] = []
    slower = slowdown.measure(contestants, settings.rounds, settings.round_s, notes)
    delays = latency.measure(contestants, settings.latency_count, settings.latency_rate, notes)
    loads, rests = steady.measure(contestants, settings.rates, settings.rate_s, settings.rest_s, notes)
    return {
        "settings": settings,
        "skipped": skipped,
        "disturbed": notes,
        "slowdown": slower,
        "latency": delays,
        "cpu": loads,
        "rest": rests,
    }


def _table(result: dict[str, Any]) -> list[Row]:
    return [
        *slowdown.rows(result["slowdown"]),
        *latency.rows(result["latency"]),
        *(row for rate, figures in result["cpu"].items() for row in steady.load_rows(rate, figures)),
        *steady.rest_rows(result["rest"]),
        *report.remarks(result),
    ]


def main() -> None:
    """Run from the command line."""
    asked = report.arguments(__doc__).parse_args()
    report.carry_out(asked, lambda: measure(QUICK if asked.quick else Settings()), _table)


if __name__ == "__main__":
    main()
