"""All telemetry of a host as one: which feeds are needed, when there is something to read, and in which order.

Of each kind of telemetry one source tells, so that nothing comes twice: a feed is opened only for what none before it
provides. What the process feed saw is taken in first. Whoever did what another feed tells of is then known.

Processes, and those that gain power, are read as soon as there is something. The others, which may have much to say
that matters little, are read some dozen times a second at most, so that a busy disk doesn't wake the agent for each
file.
"""

import select
import time
from collections import deque
from collections.abc import Iterator, Sequence

from shield.agent.feed import Feed
from shield.collector.source import Kind, SourceUnavailable
from shield.event import Event, Ledger, Loss
from shield.record import Record

_FULL_BATCH = 1024
_HELD_MOST = 8192
_PROMPT: frozenset[Kind] = frozenset(("process", "privilege"))
_PAUSE_S = 0.02
"""How long the other feeds are left alone after they were read."""
_ROUND_S = 1.0
"""How often every feed is read, whether or not it has called for it."""

Batch = tuple[Feed, list[Record]]


class Feeds:
    """The feeds in the order in which they are worth having; the first one tells of processes."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = feeds
        self._poll = select.epoll()
        self._others = select.epoll()
        self._registered: dict[tuple[int, int], int] = {}
        self._listening = False
        self._due = self._round = 0.0
        self._calling: set[int] = set()
        self._held: deque[Batch] = deque()

    def __iter__(self) -> Iterator[Feed]:
        return iter(self._feeds)

    @property
    def first(self) -> Feed:
        """The feed that tells of processes."""
        return self._feeds[0]

    @property
    def refused(self) -> tuple[SourceUnavailable, ...]:
        """Why better sources than those in use can't be used."""
        return tuple(refusal for feed in self._feeds for refusal in feed.refused)

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """What the sources in use can't see."""
        return tuple(spot for feed in self._feeds for spot in feed.blind_spots)

    @property
    def names(self) -> tuple[str, ...]:
        """The sources in use."""
        return tuple(feed.name for feed in self._feeds if feed.lives)

    @property
    def provided(self) -> frozenset[Kind]:
        """What the host is watched for now."""
        return frozenset(kind for feed in self._feeds for kind in feed.provides)

    def open(self) -> None:
        """Open what can be. Raises SourceUnavailable where no source of processes works, and leaves nothing open."""
        self.first.open()
        self._open_the_rest()

    def wait(self, most_s: float) -> None:
        """Sleep until there may be something to read, `most_s` seconds at most."""
        now = time.monotonic()
        self._register()
        rested = now >= self._due
        self._listen(rested)
        others_s = min((feed.wait_s(now) for feed in self._feeds[1:]), default=most_s) if rested else self._due - now
        self._calling = {fd for fd, _ in self._poll.poll(min(most_s, self.first.wait_s(now), others_s))}

    def read(self) -> Iterator[Batch]:
        """Yield the next records of every feed that has some, each feed's in order, those about processes first."""
        self._held.extend((feed, records) for feed in self._wanted(time.monotonic()) if (records := feed.read()))
        records = self.first.read()
        yield self.first, records
        if len(records) < _FULL_BATCH or sum(len(held) for _, held in self._held) > _HELD_MOST:
            while self._held:
                yield self._held.popleft()

    def _wanted(self, now: float) -> list[Feed]:
        """Return the feeds besides the first that are to be read now: those that call or are due, or all of them."""
        calling, rested, everyone = self._calling, now >= self._due, now >= self._round
        if rested and (others := {fd for fd, _ in self._others.poll(0)}):
            self._due = now + _PAUSE_S
            calling = calling | others
        if everyone:
            self._round = now + _ROUND_S
        return [feed for feed in self._feeds[1:] if everyone or feed.fileno() in calling or (rested and feed.polled)]

    def last(self) -> Iterator[Batch]:
        """Yield what was captured until now, and close every feed."""
        others = [(feed, records) for feed in self._feeds[1:] for records in feed.last()]
        for records in self.first.last():
            yield self.first, records
        yield from self._held
        self._held.clear()
        yield from others

    def care(self, now_ns: int) -> Sequence[Loss]:
        """Bring back what has died, open what is missing now; return what was lost since the last call."""
        lost = [loss for feed in self._feeds for loss in feed.care(now_ns)]
        if any(loss.until_ns for loss in lost):
            self._open_the_rest()
        return lost

    def gaps(self, event: Event) -> tuple[str, ...]:
        """Return what the evidence of `event` may lack because something was lost."""
        return tuple(gap for feed in self._feeds for gap in feed.gaps(event))

    def taint(self, window_ns: int) -> None:
        """Let a loss taint the evidence of what follows for so long."""
        for feed in self._feeds:
            feed.taint(window_ns)

    def ledgers(self) -> tuple[Ledger, ...]:
        """Return what became of every record, by feed."""
        return tuple(feed.ledger() for feed in self._feeds if feed.lives)

    def close(self) -> None:
        """Close everything. May be called twice."""
        for feed in self._feeds:
            feed.close()
        self._poll.close()
        self._others.close()

    def _open_the_rest(self) -> None:
        for feed in self._feeds[1:]:
            others = frozenset(kind for other in self._feeds if other is not feed for kind in other.provides)
            if feed.kind in others:
                feed.close()
            elif feed.source is None:
                try:
                    feed.open()
                except SourceUnavailable:
                    continue  # feed.refused says why

    def _register(self) -> None:
        """Wait on the descriptors of the sources that are open now."""
        wanted = {(id(feed), feed.lives): fd for feed in self._feeds if (fd := feed.fileno()) is not None}
        if wanted == self._registered:
            return
        self._poll.close()
        self._others.close()
        self._poll, self._others, self._listening = select.epoll(), select.epoll(), False
        for feed in self._feeds:
            fd = feed.fileno()
            if fd is not None:
                (self._poll if feed.kind in _PROMPT else self._others).register(fd, select.EPOLLIN | select.EPOLLPRI)
        self._registered = wanted

    def _listen(self, wanted: bool) -> None:
        """Let the other feeds end the wait, or not."""
        if wanted != self._listening:
            self._listening = wanted
            if wanted:
                self._poll.register(self._others.fileno(), select.EPOLLIN)
            else:
                self._poll.unregister(self._others.fileno())
