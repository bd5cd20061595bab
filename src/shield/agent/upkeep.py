"""Indicators and YARA rules as companions of the watch: what comes of new files, and what could not be scanned."""

from collections.abc import Sequence

from shield.agent.companion import Change, Told
from shield.agent.indicator_renewal import RenewedIndicators
from shield.agent.losses import Losses
from shield.agent.yara import REMEDIES, YaraScanner
from shield.event import Tamper


class IndicatorUpkeep:
    """Has changed indicators read, and tells what came of it."""

    def __init__(self, indicators: RenewedIndicators) -> None:
        self._indicators = indicators
        self._used = len(indicators.current)

    def care(self) -> Sequence[Told]:
        """Go one step on."""
        renewal = self._indicators.care()
        if renewal is None:
            return ()
        if renewal.problem:
            return (Tamper("new indicators can't be used", renewal.problem),)
        before, self._used = self._used, len(self._indicators.current)
        return (Change(f"indicators: {before} before, {self._used} now"),)

    def close(self) -> Sequence[Told]:
        """End what is being built."""
        self._indicators.close()
        return ()


class ScannerUpkeep:
    """Tells what the scanner has to say, and which files it could not scan."""

    def __init__(self, scanner: YaraScanner) -> None:
        self._scanner = scanner
        self._losses = Losses("yara", lambda: scanner.dropped, REMEDIES, 0)
        self._rules = scanner.rules
        self._asked = False

    def ask(self) -> None:
        """Have the rules compiled anew at the next `care`; safe in a signal's handler."""
        self._asked = True

    def care(self) -> Sequence[Told]:
        """Return what is new."""
        if self._asked:
            self._asked = False
            self._scanner.renew()
        before, self._rules = self._rules, self._scanner.rules
        told: list[Told] = [Tamper("YARA rules or scanner", line) for line in self._scanner.news()]
        if self._rules != before:
            told.append(Change(f"YARA rules: {before} before, {self._rules} now"))
        return [*told, *self._lost()]

    def close(self) -> Sequence[Told]:
        """End the scanner."""
        lost = self._lost()
        self._scanner.close()
        return lost

    def _lost(self) -> Sequence[Told]:
        loss = self._losses.news(0)
        return () if loss is None else (loss,)
