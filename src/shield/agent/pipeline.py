"""The stages in their order: an event without a verdict goes in, the finished event comes out.

The same code judges live and recorded events. Its only state is what the stages keep, and the counters.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from shield.event import Action, Category, Event, Signal
from shield.policy import gate
from shield.policy.load import PolicyInForce
from shield.scorer.alerts import Alerts
from shield.scorer.baseline import Baseline
from shield.scorer.score import Scorer

_UNSCORED: frozenset[Category] = frozenset(("heartbeat", "loss", "tamper", "response"))

Gaps = Callable[[Event], tuple[str, ...]]


class Tally(Struct):
    """What has come out so far, and how many events of it were `written`: all but those that were withdrawn."""

    events: int = 0
    written: int = 0
    categories: dict[str, int] = {}
    actions: dict[Action, int] = {}

    def add(self, event: Event) -> None:
        """Count one event."""
        self.events += 1
        self.written += 1
        self.categories[event.category] = self.categories.get(event.category, 0) + 1
        self.actions[event.action] = self.actions.get(event.action, 0) + 1


class Pipeline:
    """Scores and decides. `gaps` is asked, for each event that is more than ALLOW, what its evidence may lack.

    The `baseline`, where there is one, learns from every finished event.
    """

    def __init__(
        self, scorer: Scorer, policy: PolicyInForce, agent_id: str, gaps: Gaps, baseline: Baseline | None = None
    ) -> None:
        self.tally = Tally()
        self.scorer = scorer
        self.policy = policy
        self._alerts = Alerts(policy.policy.story.window_ns)
        self._agent_id = agent_id
        self._gaps = gaps
        self._baseline = baseline

    def replace(self, scorer: Scorer, policy: PolicyInForce) -> None:
        """Judge by `scorer` and `policy` from now on; stories, correlations and open alerts go on."""
        scorer.succeed(self.scorer)
        self.scorer = scorer
        self.policy = policy
        self._alerts.window_ns = policy.policy.story.window_ns

    def finish(self, draft: Event, found: tuple[Signal, ...] = ()) -> Event:
        """Return `draft` with its verdict and the next sequence number.

        `found` are signals found later about an event that is finished: it is judged by them, not matched again.
        """
        event = self._as_it_is(draft) if draft.category in _UNSCORED else self._judged(draft, found)
        self.tally.add(event)
        if self._baseline is not None:
            self._baseline.learn(event, event.action)
        return event

    def withdraw(self) -> None:
        """Let the last event not be written: the next one takes its number, so that numbers have no gap."""
        self.tally.written -= 1

    def _judged(self, draft: Event, signals: tuple[Signal, ...]) -> Event:
        found = self.scorer.assess(draft, signals)
        score = found.score
        action = gate.action(score, self.policy.policy) if score else "ALLOW"
        gaps = draft.gaps if action == "ALLOW" else tuple(dict.fromkeys(draft.gaps + self._gaps(draft)))
        return Event(
            ts=draft.ts,
            host=draft.host,
            category=draft.category,
            action=action,
            score=score,
            rationale=found.rationale,
            data=draft.data,
            policy_version=self.policy.label,
            dedupe_key=found.dedupe_key,
            correlation_id=draft.correlation_id,
            event_id=draft.event_id,
            ts_ns=draft.ts_ns,
            agent_id=self._agent_id,
            seq=self.tally.written + 1,
            os=draft.os,
            severity=gate.severity(score, action),
            attack=found.attack,
            signals=found.signals,
            story=found.story,
            alert_id=self._alert_id(draft, found.dedupe_key) if action == "ALERT" else "",
            evidence_complete=draft.evidence_complete and not gaps,
            gaps=gaps,
        )

    def _alert_id(self, draft: Event, dedupe_key: str) -> str:
        return self._alerts.of(draft.correlation_id or dedupe_key, draft.event_id, draft.ts_ns)

    def _as_it_is(self, draft: Event) -> Event:
        return msgspec.structs.replace(
            draft, policy_version=self.policy.label, agent_id=self._agent_id, seq=self.tally.written + 1
        )
