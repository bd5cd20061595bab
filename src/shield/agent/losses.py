"""What was lost on the way: noticed, told as `loss` events, and held against the alerts that rest on it."""

from collections.abc import Callable, Mapping

from shield.event import Event, Loss

Dropped = Callable[[], Mapping[str, int]]


class Losses:
    """Follows the drop counters of one `source`; `remedies` say for each reason what the user can do."""

    def __init__(self, source: str, dropped: Dropped, remedies: Mapping[str, str], window_ns: int) -> None:
        self.source = source
        self._dropped = dropped
        self._remedies = remedies
        self.window_ns = window_ns
        self._told: dict[str, int] = {}
        self._known = 0
        self._last_ns = 0

    def gaps(self, event: Event) -> tuple[str, ...]:
        """Return what the evidence of `event` may lack: a loss in the time over which a story's signals add up."""
        self._look(event.ts_ns)
        if not self._known or event.ts_ns - self._last_ns > self.window_ns:
            return ()
        return (f"{self.source} has lost {self._known} records, the last within {self.window_ns // 10**9} s",)

    def news(self, now_ns: int) -> Loss | None:
        """Return what was lost since the last call, None for nothing."""
        dropped = self._look(now_ns)
        new = {reason: number - self._told.get(reason, 0) for reason, number in dropped.items()}
        new = {reason: number for reason, number in new.items() if number > 0}
        self._told = dict(dropped)
        if not new:
            return None
        remedy = " ".join(dict.fromkeys(self._remedies.get(reason, "") for reason in new)).strip()
        return Loss(source=self.source, dropped=new, remedy=remedy)

    def _look(self, now_ns: int) -> Mapping[str, int]:
        dropped = self._dropped()
        total = sum(dropped.values())
        if total > self._known:
            self._known = total
            self._last_ns = now_ns
        return dropped
