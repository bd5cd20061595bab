"""One alert a story: which events open an alert, and which are updates of one that is open."""

from collections import OrderedDict

_OPEN_MOST = 8192


class Alerts:
    """The open alerts, each until nothing has been added to it for `window_ns`; at most a few thousand."""

    def __init__(self, window_ns: int) -> None:
        self.window_ns = window_ns
        self._open: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def of(self, key: str, event_id: str, ts_ns: int) -> str:
        """Return the id of the alert that an alerting event belongs to: its own if it opens one.

        `key` is the story, or what the event is about where it has none.
        """
        known = self._open.pop(key, None)
        opened = known[0] if known is not None and ts_ns - known[1] <= self.window_ns else event_id
        self._open[key] = opened, ts_ns
        if len(self._open) > _OPEN_MOST:
            self._open.popitem(last=False)
        return opened
