"""Replaying recorded events through the stages: the same input gives the same output, but for the agent's id."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from msgspec import Struct

from shield.agent.losses import Losses
from shield.agent.pipeline import Pipeline, Tally
from shield.agent.recording import Recording
from shield.collector.replay.damage import Damaged
from shield.event import Event, Ledger
from shield.policy.load import PolicyInForce
from shield.scorer.score import Scorer


class Replayed(Struct, frozen=True):
    """What a replay has done."""

    tally: Tally
    ledger: Ledger


class Replay:
    """Feeds recorded events to a pipeline; `losses` are those that the events tell of."""

    def __init__(self, recording: Recording, pipeline: Pipeline, losses: "RecordedLosses") -> None:
        self._recording = recording
        self._pipeline = pipeline
        self._losses = losses

    @classmethod
    def begun(
        cls, scorer: Scorer, policy: PolicyInForce, agent_id: str, on_damage: Callable[[Damaged], None]
    ) -> "Replay":
        """Return a replay of nothing yet, judged by `scorer` under `policy`."""
        losses = RecordedLosses(policy.policy.story.window_ns)
        return cls(Recording(on_damage), Pipeline(scorer, policy, agent_id, losses.gaps), losses)

    def events(self, file: BinaryIO, source: str) -> Iterator[Event]:
        """Yield the finished event of each part of `file`, whose name is `source`. Raises as Recording.drafts does."""
        for draft in self._recording.drafts(file, source):
            event = self._pipeline.finish(draft)
            self._losses.note(event)
            yield event

    def summary(self) -> Replayed:
        """Return the totals so far."""
        return Replayed(self._pipeline.tally, self._recording.ledger)


class RecordedLosses:
    """Holds the losses that the recorded events tell of against the alerts after them."""

    def __init__(self, window_ns: int) -> None:
        self._dropped: dict[str, int] = {}
        self._losses = Losses("the recorded source", lambda: self._dropped, {}, window_ns)

    def note(self, event: Event) -> None:
        """Take in one event, in its order."""
        if event.data.loss is None:
            return
        for reason, number in event.data.loss.dropped.items():
            self._dropped[reason] = self._dropped.get(reason, 0) + number
        self._losses.news(event.ts_ns)

    def gaps(self, event: Event) -> tuple[str, ...]:
        """Return what the evidence of `event` may lack."""
        return self._losses.gaps(event)
