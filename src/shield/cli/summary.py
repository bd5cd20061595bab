"""What a command says at its end: events by category, verdicts, and the balance of the ledgers."""

import sys
from collections.abc import Iterable, Mapping

from shield.agent.health import imbalance
from shield.agent.pipeline import Tally
from shield.cli.errors import discard
from shield.event import Ledger
from shield.exporter.wording import duration
from shield.text import printable


def tell(lines: Iterable[str]) -> None:
    """Print the lines to stderr, safe for a terminal; where nobody reads it any more, that is no reason to stop."""
    try:
        for line in lines:
            print(printable(line), file=sys.stderr)
    except OSError:
        discard(sys.stderr)


def of_tally(tally: Tally) -> list[str]:
    """Return the counts of events and verdicts."""
    categories = ", ".join(f"{name} {count:,}" for name, count in sorted(tally.categories.items())) or "none"
    alerts, watches = tally.actions.get("ALERT", 0), tally.actions.get("WATCH", 0)
    return [f"  events   {tally.events:,}: {categories}", f"  verdicts {alerts:,} ALERT, {watches:,} WATCH"]


def of_ledger(ledger: Ledger) -> str:
    """Return one ledger as a sum whose parts are named."""
    parts = [f"kept {ledger.kept:,}"] if ledger.kept or not ledger.folded else []
    for fate, counts in (("filtered", ledger.filtered), ("folded", ledger.folded), ("dropped", ledger.dropped)):
        if counts:
            parts.append(f"{fate} {sum(counts.values()):,} ({_reasons(counts)})")
    if ledger.pending:
        parts.append(f"pending {ledger.pending:,}")
    missing = imbalance(ledger)
    verdict = "" if missing == 0 else f"  OUT OF BALANCE by {missing:,}: please report this"
    return f"  ledger   {ledger.source}: seen {ledger.seen:,} = {' + '.join(parts)}{verdict}"


def of_usage(uptime_s: float, cpu_s: float, peak_rss_bytes: int) -> str:
    """Return time, CPU and memory used."""
    share = 100 * cpu_s / uptime_s if uptime_s else 0.0
    memory = peak_rss_bytes / (1 << 20)
    return (
        f"  used     {duration(uptime_s)}, CPU {cpu_s:.2f} s ({share:.1f} % of a core), memory {memory:.0f} MiB at most"
    )


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" if len(counts) > 1 else reason for reason, count in counts.items())
