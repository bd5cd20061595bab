"""Watching a host: the source is read, its records go through the stages, the events go out, until it is told to stop.

One thread, one loop. It waits in the kernel until there is something to read, and looks after itself once a second.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from shield.agent.companion import Change, Companion, Told
from shield.agent.feed import Feed
from shield.agent.health import notice
from shield.agent.losses import Losses
from shield.agent.pace import Pace
from shield.agent.parts import Parts
from shield.agent.pipeline import Tally
from shield.agent.status import StatusFile
from shield.agent.vitals import NOTHING_NEW, Vitals
from shield.event import Event, Health, Ledger, Loss, Tamper, encode, uuid7
from shield.record import Record

_IDLE_S = 0.25
_CARE_S = 1.0
_ID_BITS = 74
_FORGOTTEN_REMEDIES = {
    "too_many_groups": "Group by fewer fields, or shorten the timespan, in the correlation rule with so many groups.",
    "too_much_memory": "Shorten the timespans of correlation rules, or group by fields with fewer values.",
    "too_many_events": "Shorten the correlation rule's timespan; its numbers are at least.",
    "clock_moved_back": "Keep the host's clock in step, such as with NTP.",
    "late": "Lengthen the correlation rule's timespan, if the events' delay is normal.",
}
_OUTPUT_REMEDIES = {
    "disk_full": "Free disk space, or keep fewer files (output.keep_files).",
    "io_error": "Look at the disk: the kernel's log names the error.",
    "unwritable": "Make the events file's folder writable again.",
}


class Summary(Struct, frozen=True):
    """What a watch has done, for the user who ends it."""

    sources: tuple[str, ...]
    tally: Tally
    ledgers: tuple[Ledger, ...]
    uptime_s: float
    cpu_s: float
    peak_rss_bytes: int


def id_bits() -> int:
    """Return the random part of an event's id."""
    return random.getrandbits(_ID_BITS)


def new_id(ts_ns: int) -> str:
    """Return a new event id for an event of that time."""
    return uuid7(ts_ns // 1_000_000, id_bits())


class Watch:
    """One run of the agent."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._feeds = parts.feeds
        self._vitals = Vitals(parts)
        self._companions = self._looked_after()
        self._touched = 0
        self._output_losses = Losses("jsonl", lambda: parts.writer.dropped, _OUTPUT_REMEDIES, 0)
        self._forgotten = Losses(
            "correlations", lambda: parts.pipeline.scorer.correlations.dropped, _FORGOTTEN_REMEDIES, 0
        )

    def remember(self, records: Iterable[Record]) -> None:
        """Take in the processes that are running already."""
        for record in records:
            self._vitals.known += 1
            self._parts.normalizer.events(record)

    def run(self, stopping: Callable[[], bool], duration_s: float | None = None) -> Summary:
        """Watch until `stopping` or for `duration_s`, then drain what was captured, and return the summary."""
        end = time.monotonic() + duration_s if duration_s is not None else float("inf")
        next_care, next_heartbeat = 0.0, 0.0
        pace = Pace()
        while not stopping() and (now := time.monotonic()) < end:
            if now >= next_care:
                next_care = now + _CARE_S
                self._care()
            if now >= next_heartbeat:
                next_heartbeat = now + self._parts.heartbeat_s
                self._beat()
            self._follow_up()
            self._feeds.wait(max(0.0, min(_IDLE_S, end - now)))
            gather_s = pace.gather_s()
            if gather_s:
                time.sleep(gather_s)
            pace.note(sum([self._take(*batch) for batch in self._feeds.read()]), now)
        return self._finish()

    def _take(self, feed: Feed, records: list[Record]) -> int:
        """Judge and emit the events of one feed's records; return how many records there were."""
        events_of = self._parts.normalizer.events
        enrichment = self._parts.enrichment
        drafts: list[Event] = []
        for record in records:
            found = events_of(enrichment.enrich(record) if enrichment is not None else record)
            if isinstance(found, str):
                feed.folded[found] += 1
                continue
            feed.kept += 1
            for draft in found:
                if draft.gaps:
                    _count_gaps(feed, draft)
                drafts.append(draft)
        self._judge(drafts)
        return len(records)

    def _judge(self, drafts: Iterable[Event]) -> None:
        """Give each draft its verdict, and emit those that are to be written."""
        finish, withdraw, keeps = self._parts.pipeline.finish, self._parts.pipeline.withdraw, self._vitals.keeps
        events: list[Event] = []
        for draft in drafts:
            event = finish(draft)
            if keeps(event):
                events.append(event)
            else:
                withdraw()
        self._emit(events)
        self._offer(events)

    def _offer(self, events: Sequence[Event]) -> None:
        """Show finished events to those who may find out more about them."""
        followers = [one.offer for one in (self._parts.scanner, self._parts.enrichment) if one is not None]
        for offer in followers:
            for event in events:
                offer(event)

    def _follow_up(self) -> None:
        """Emit what was found out later, each as another event about the same."""
        parts = self._parts
        finish = parts.pipeline.finish
        if parts.scanner is not None and (findings := parts.scanner.findings()):
            self._emit([finish(_about(finding.event), finding.signals) for finding in findings])
        if parts.enrichment is not None and (completed := parts.enrichment.findings()):
            self._emit([news for event in completed if (news := self._judged_again(event)) is not None])

    def _judged_again(self, event: Event) -> Event | None:
        """Return another event about the same where more is found now than the first time, None where it isn't."""
        again = self._parts.pipeline.finish(_about(event))
        if {signal.rule_id for signal in again.signals} <= {signal.rule_id for signal in event.signals}:
            self._parts.pipeline.withdraw()
            self._vitals.left_out(NOTHING_NEW)
            return None
        return again

    def _emit(self, events: list[Event]) -> None:
        if not events:
            return
        self._parts.writer.write([encode(event) for event in events], time.time_ns())
        self_test = self._parts.self_test
        if self_test is not None and self_test.running:
            self_test.note(events)
        view = self._parts.view
        if view is not None:
            for event in events:
                if event.action != "ALLOW" or self._parts.show_all or _is_change(event):
                    view.show(event)

    def _care(self) -> None:
        """Tell of losses and tampering, retry what could not be written, let the view fold."""
        now_ns = time.time_ns()
        self._judge(self._parts.normalizer.due(now_ns))
        self._tell(self._vitals.care())
        lost = [*self._feeds.care(now_ns), self._output_losses.news(now_ns)]
        self._emit([self._noticed(news) for news in (*lost, self._tampering()) if news])
        self._tell([told for companion in self._companions for told in companion.care()])
        self._parts.writer.flush(now_ns)
        if self._parts.view is not None:
            self._parts.view.tick(now_ns)

    def _tell(self, news: Sequence[Told]) -> None:
        """Emit what the companions tell: a heartbeat about changes, an event about each of the rest."""
        changes = tuple(told.text for told in news if isinstance(told, Change))
        if changes:
            self._emit([self._heartbeat(changes)])
        self._emit([self._noticed(told) for told in news if not isinstance(told, Change)])

    def _beat(self) -> None:
        """Emit a heartbeat, after what correlations had to forget since the last one."""
        self._vitals.fade()
        forgotten = self._forgotten.news(time.time_ns())
        if forgotten is not None:
            self._emit([self._noticed(forgotten)])
        self._emit([self._heartbeat()])

    def _looked_after(self) -> Sequence[Companion]:
        """Return the companions: those the watch was given, and its own."""
        parts = self._parts
        own: list[Companion] = []
        if parts.self_test is not None:
            own.append(parts.self_test)
        if parts.status_file is not None:
            own.append(StatusFile(parts.status_file, self._vitals.status))
        return (*parts.companions, *own)

    def _finish(self) -> Summary:
        for batch in self._feeds.last():
            self._take(*batch)
        self._judge(self._parts.normalizer.rest())
        if self._parts.enrichment is not None:
            self._parts.enrichment.close()
        self._follow_up()
        self._care()
        self._tell([told for companion in self._companions for told in companion.close()])
        self._beat()
        self._parts.writer.close()
        return Summary(
            sources=self._feeds.names,
            tally=self._parts.pipeline.tally,
            ledgers=self._vitals.ledgers(),
            uptime_s=self._vitals.usage.uptime_s,
            cpu_s=self._vitals.usage.cpu_s,
            peak_rss_bytes=self._vitals.usage.peak_rss_bytes,
        )

    def _tampering(self) -> Tamper | None:
        """Return what was done to the events file since the last call."""
        writer = self._parts.writer
        touched = writer.reopened + writer.truncated
        if touched == self._touched:
            return None
        self._touched = touched
        told = f"{writer.path}: removed or replaced {writer.reopened} times, cut short {writer.truncated} times so far"
        return Tamper(what="the events file was changed by another program", detail=told)

    def _noticed(self, content: Health | Loss | Tamper) -> Event:
        draft = notice(self._parts.identity, content, time.time_ns(), id_bits())
        return self._parts.pipeline.finish(draft)

    def _heartbeat(self, changes: tuple[str, ...] = ()) -> Event:
        return self._noticed(self._vitals.health(changes))


def _count_gaps(feed: Feed, draft: Event) -> None:
    process = draft.data.process
    if process is None:
        feed.unattributed += draft.category != "log_record"
    elif process.truncated:
        feed.truncated += 1


def _is_change(event: Event) -> bool:
    return event.data.health is not None and bool(event.data.health.changes)


def _about(told: Event) -> Event:
    """Return a draft of another event about the same as one that has been written already."""
    return msgspec.structs.replace(
        told,
        event_id=new_id(time.time_ns()),
        action="ALLOW",
        score=0,
        rationale="low_signal",
        severity="informational",
        signals=(),
        story=(),
        attack=(),
        alert_id="",
    )
