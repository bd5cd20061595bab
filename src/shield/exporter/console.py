"""The live view: events as a person at a terminal wants them, the same finding once, nothing left out unsaid."""

from collections.abc import Mapping
from typing import get_args

from rich.console import Console
from rich.text import Text

from shield.event import Event, Severity, Signal
from shield.exporter.cards import WIDTH, card, line, update
from shield.exporter.telling.sentence import sentence
from shield.exporter.wording import fit, glyphs_of, reasons, when

DEFAULT_ADVICE = (
    "Check with the owner of the account and the host whether this was meant to happen; "
    "if not, keep the host's state and follow your incident procedure."
)
_ALWAYS_SHOWN = ("loss", "tamper", "heartbeat", "response")
_OPEN_FOLDS = 1024
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_SECOND_NS = 1_000_000_000


class _Fold:
    """What was shown of one finding, how often it came again, and the latest of those repeats."""

    def __init__(self, event: Event) -> None:
        self.start_ns = event.ts_ns
        self.score = event.score
        self.rationale = event.rationale
        self.repeats = 0
        self._first = self._latest = event

    def add(self, event: Event) -> None:
        """Count a repeat."""
        self.repeats += 1
        self._latest = event

    @property
    def also(self) -> str:
        """What the latest repeat was about, where a sentence tells it and it is not what was shown."""
        found = sentence(self._latest)
        return found if found != sentence(self._first) else ""


class _Alert:
    """What was shown of one alert: since when, how severe, and which rules spoke."""

    def __init__(self, event: Event) -> None:
        self.start_ns = event.ts_ns
        self.new: list[Signal] = []
        self._severity = SEVERITIES.index(event.severity)
        self._rules: set[str] = set()

    def takes_in(self, event: Event) -> bool:
        """Return whether `event` only adds to the alert; `new` are then the signals that it adds."""
        self.new = [signal for signal in event.signals if signal.rule_id not in self._rules]
        return event.alert_id != event.event_id and SEVERITIES.index(event.severity) <= self._severity

    def learn(self, event: Event) -> None:
        """Take in what was shown."""
        self._severity = max(self._severity, SEVERITIES.index(event.severity))
        self._rules.update(signal.rule_id for signal in event.signals)


class ConsoleView:
    """Shows events on `console`; `advice` gives the text under "next" by rule id.

    ALERT and WATCH are cards; ALLOW is shown, one line each, only with `everything`. A card with the same dedupe_key
    as one shown up to `window_s` seconds of event time ago is counted instead, and a line says how many there were. One
    with a higher score is shown. What adds to an alert that was shown is one line, unless its severity rose.
    """

    def __init__(
        self,
        console: Console,
        advice: Mapping[str, str] | None = None,
        *,
        everything: bool = False,
        window_s: float = 60,
    ) -> None:
        self._console = console
        self._advice: Mapping[str, str] = {} if advice is None else advice
        self._everything = everything
        self._window_s = window_s
        self._folds: dict[str, _Fold] = {}
        self._alerts: dict[str, _Alert] = {}

    def show(self, event: Event) -> None:
        """Show `event`, or count it as a repeat."""
        self.tick(event.ts_ns)
        if event.category in _ALWAYS_SHOWN:
            self._print(line(event, self._width, glyphs_of(self._console)))
        elif event.action != "ALLOW":
            self._show_finding(event)
        elif self._everything:
            self._print(line(event, self._width, glyphs_of(self._console)))

    def tick(self, now_ns: int) -> None:
        """Tell of the repeats whose window is over at `now_ns` (Unix nanoseconds); call it when nothing happens."""
        while self._folds:
            oldest = next(iter(self._folds))
            if abs(now_ns - self._folds[oldest].start_ns) < self._window_s * _SECOND_NS:
                return
            self._tell(self._folds.pop(oldest))

    def close(self) -> None:
        """Tell of all repeats not told of yet."""
        while self._folds:
            self._tell(self._folds.pop(next(iter(self._folds))))

    @property
    def _width(self) -> int:
        return min(WIDTH, self._console.width) if self._console.is_terminal else WIDTH

    def _show_finding(self, event: Event) -> None:
        fold = self._folds.get(event.dedupe_key) if event.dedupe_key else None
        if fold and event.score <= fold.score:
            fold.add(event)
            return
        if fold:
            self._tell(self._folds.pop(event.dedupe_key))
        if event.dedupe_key:
            self._folds[event.dedupe_key] = _Fold(event)
        if len(self._folds) > _OPEN_FOLDS:
            self._tell(self._folds.pop(next(iter(self._folds))))
        alert = self._alerts.get(event.alert_id)
        if alert is not None and alert.takes_in(event):
            self._print(update(event, alert.start_ns, alert.new, self._width, glyphs_of(self._console)))
            alert.learn(event)
            return
        self._remember(event)
        text = card(event, self._advice_for(event), self._width, glyphs_of(self._console))
        self._print(text.append("\n"))

    def _remember(self, event: Event) -> None:
        """Keep what is shown of an alert, so that what adds to it can be told as that."""
        if not event.alert_id:
            return
        alert = self._alerts.pop(event.alert_id, None) or _Alert(event)
        alert.learn(event)
        self._alerts[event.alert_id] = alert
        if len(self._alerts) > _OPEN_FOLDS:
            self._alerts.pop(next(iter(self._alerts)))

    def _advice_for(self, event: Event) -> str:
        known = (self._advice[signal.rule_id] for signal in reasons(event) if signal.rule_id in self._advice)
        return next(known, DEFAULT_ADVICE)

    def _tell(self, fold: _Fold) -> None:
        if not fold.repeats:
            return
        glyphs = glyphs_of(self._console)
        told = f"{glyphs.ellipsis} and {fold.repeats:,} more of {fold.rationale} "
        if fold.also:
            told += f"(the last: {fold.also}) "
        since = f"within {self._window_s:g} s of {when(fold.start_ns)[11:]}"
        self._print(Text(fit(told, self._width - len(since), glyphs) + since, "dim", no_wrap=True, end=""))

    def _print(self, text: Text) -> None:
        self._console.print(text, no_wrap=True, overflow="ignore", crop=False, highlight=False, soft_wrap=True)
