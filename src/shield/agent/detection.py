"""Everything that judges events in a watch, put together: rules, policy, baseline, indicators and YARA."""

from collections.abc import Sequence
from pathlib import Path

from shield.agent import loading
from shield.agent.companion import Companion
from shield.agent.feeds import Feeds
from shield.agent.identity import Identity
from shield.agent.indicator_renewal import RenewedIndicators
from shield.agent.pipeline import Pipeline
from shield.agent.reload import Reload, Renewed
from shield.agent.rulebook import Rulebook
from shield.agent.state import KeptState, Remembered
from shield.agent.upkeep import IndicatorUpkeep, ScannerUpkeep
from shield.agent.yara import YaraScanner
from shield.policy.load import PolicyInForce
from shield.scorer.baseline import Baseline
from shield.scorer.score import Scorer

BASELINE = "baseline"
CORRELATIONS = "correlations"


class Detection:
    """What judges events of the `feeds`. `indicators` and `scanner` are None where none are configured."""

    def __init__(
        self,
        identity: Identity,
        policy: PolicyInForce,
        book: Rulebook,
        feeds: Feeds,
        indicators: RenewedIndicators | None = None,
        scanner: YaraScanner | None = None,
    ) -> None:
        self.identity = identity
        self.baseline = Baseline(policy.policy.baseline)
        self.scanner = scanner
        self._indicators = indicators
        witnesses = (self.baseline,) if indicators is None else (self.baseline, indicators)
        scorer = Scorer(book.ruleset, policy.policy, book.databases, witnesses)
        scorer.prepare(identity.os)
        self.pipeline = Pipeline(scorer, policy, identity.agent_id, feeds.gaps, self.baseline)
        self._feeds = feeds
        self.advice = book.ruleset.advice()
        """What to do next, by rule id."""
        self._companions: list[Companion] = []
        self._reload: Reload | None = None
        if indicators is not None:
            self._companions.append(IndicatorUpkeep(indicators))
        self._scanning = ScannerUpkeep(scanner) if scanner is not None else None
        if self._scanning is not None:
            self._companions.append(self._scanning)

    @property
    def companions(self) -> Sequence[Companion]:
        """What the watch has to look after."""
        return self._companions

    def remember(self, folder: Path, others: Sequence[Remembered] = ()) -> Sequence[str]:
        """Keep the baseline, the correlations and `others` in `folder`; return a line for each that is unusable."""
        kept = KeptState(
            folder,
            (
                Remembered(BASELINE, self.baseline.export, self.baseline.restore),
                Remembered(CORRELATIONS, self._correlations, self.pipeline.scorer.correlations.restore),
                *others,
            ),
        )
        self._companions.append(kept)
        return kept.problems

    def stay_current(self, places: Sequence[str], policy_file: Path | None, book: Rulebook) -> None:
        """Renew the rules in `places`, of which `book` is in use, when they change; see `Reload`."""
        self._reload = Reload(places, policy_file, book, self.pipeline.policy, self.identity.os, self._adopt)
        self._companions.append(self._reload)

    def renew(self) -> None:
        """Have rules, policy, indicators and YARA rules read again, whether or not they seem changed."""
        if self._reload is not None:
            self._reload.ask()
        if self._indicators is not None:
            self._indicators.renew()
        if self._scanning is not None:
            self._scanning.ask()

    def _correlations(self) -> bytes:
        return self.pipeline.scorer.correlations.state()

    def _adopt(self, renewed: Renewed) -> None:
        policy = renewed.policy.policy
        self.pipeline.replace(renewed.scorer, renewed.policy)
        self.baseline.adjust(policy.baseline)
        self._feeds.taint(policy.story.window_ns)
        if self._indicators is not None:
            self._indicators.judge_by(policy)
        if self.scanner is not None:
            self.scanner.policy = policy
        self.advice.clear()
        self.advice.update(renewed.ruleset.advice())
        loading.replaced()
