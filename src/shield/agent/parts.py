"""What a watch is made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from shield.agent.budget import Budget
from shield.agent.companion import Companion
from shield.agent.enrichment import Enrichment
from shield.agent.feeds import Feeds
from shield.agent.identity import Identity
from shield.agent.pipeline import Pipeline
from shield.agent.selftest import SelfTest
from shield.agent.yara import YaraScanner
from shield.event import Event
from shield.exporter.jsonl import JsonlWriter
from shield.normalizer.live import LiveNormalizer
from shield.scorer.baseline import Baseline


class View(Protocol):
    """Where people watch."""

    def show(self, event: Event) -> None:
        """Show one event."""
        ...

    def tick(self, now_ns: int) -> None:
        """Let time pass while nothing happens."""
        ...


class Parts(Struct, frozen=True):
    """What a watch is made of; `view` is None where nobody looks."""

    identity: Identity
    feeds: Feeds
    normalizer: LiveNormalizer
    pipeline: Pipeline
    writer: JsonlWriter
    heartbeat_s: float
    view: View | None = None
    show_all: bool = False
    baseline: Baseline | None = None
    scanner: YaraScanner | None = None
    companions: Sequence[Companion] = ()
    enrichment: Enrichment | None = None
    budget: Budget | None = None
    self_test: SelfTest | None = None
    status_file: Path | None = None
