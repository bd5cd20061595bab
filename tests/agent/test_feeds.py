"""Feeds over sources that do what a test tells them to: the order of what is read, death, revival, and the ledgers."""

import os
import time
from pathlib import Path

import pytest

from shield.agent import feeds as feeds_module
from shield.agent.feed import Feed
from shield.agent.feeds import Feeds
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.record import ProcessFork, Record

SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def _without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds_module, "_PAUSE_S", 0.0)
    monkeypatch.setattr(feeds_module, "_ROUND_S", 0.0)


def fork(pid: int) -> Record:
    return ProcessFork(SECOND, pid, 1, pid)


class Pipe:
    """A source that gives the batches it was made with, one a read; an OSError among them is its death."""

    interval: float | None = None
    blind_spots: tuple[str, ...] = ()

    def __init__(self, name: str, kinds: set[Kind], *batches: list[Record] | OSError, works: bool = True) -> None:
        self.name = name
        self.provides = frozenset(kinds)
        self.remedies: dict[str, str] = {}
        self.works = works
        self.opened = 0
        self._batches = list(batches)
        self._read = 0
        self._ends: tuple[int, int] | None = None

    def open(self) -> None:
        if not self.works:
            raise SourceUnavailable(self.name, "it is broken", "mend it")
        self.opened += 1
        self._read = 0
        self._ends = os.pipe()

    def fileno(self) -> int | None:
        return self._ends[0] if self._ends else None

    def read(self) -> list[Record]:
        batch = self._batches.pop(0) if self._batches else []
        if isinstance(batch, OSError):
            raise batch
        self._read += len(batch)
        return batch

    def count(self) -> Count:
        return Count(self._read, {}, {}, 0)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        if self._ends:
            for end in self._ends:
                os.close(end)
        self._ends = None


def feed(kind: Kind, *candidates: Pipe) -> Feed:
    return Feed(kind, candidates, 600 * SECOND)


def taken(feeds: Feeds) -> list[Record]:
    return [record for _, records in feeds.read() for record in records]


def test_what_the_process_source_saw_comes_first() -> None:
    feeds = Feeds([feed("process", Pipe("p", {"process"}, [fork(1)])), feed("file", Pipe("f", {"file"}, [fork(2)]))])
    feeds.open()
    assert taken(feeds) == [fork(1), fork(2)]
    feeds.close()


def test_while_the_process_source_is_behind_the_others_wait_for_it() -> None:
    flood = [fork(number) for number in range(1024)]
    processes = Pipe("p", {"process"}, flood, [fork(5000)])
    feeds = Feeds([feed("process", processes), feed("file", Pipe("f", {"file"}, [fork(9000)], [fork(9001)]))])
    feeds.open()
    assert taken(feeds) == flood
    assert taken(feeds) == [fork(5000), fork(9000), fork(9001)]
    feeds.close()


def test_what_one_source_already_provides_is_not_opened_again() -> None:
    other = Pipe("n", {"network"})
    feeds = Feeds([feed("process", Pipe("p", {"process", "network"})), feed("network", other)])
    feeds.open()
    assert other.opened == 0
    assert feeds.names == ("p",)
    feeds.close()


def test_without_a_source_of_processes_there_is_no_watch() -> None:
    feeds = Feeds([feed("process", Pipe("p", {"process"}, works=False)), feed("file", Pipe("f", {"file"}))])
    with pytest.raises(SourceUnavailable, match="it is broken"):
        feeds.open()


def test_what_can_not_be_watched_is_told_and_the_rest_works() -> None:
    broken = feed("file", Pipe("f", {"file"}, works=False))
    feeds = Feeds([feed("process", Pipe("p", {"process"}, [fork(1)])), broken])
    feeds.open()
    assert taken(feeds) == [fork(1)]
    assert [str(refusal) for refusal in feeds.refused] == ["f: it is broken; mend it"]
    feeds.close()


def test_a_source_that_dies_comes_back_and_the_gap_is_told_with_its_bounds() -> None:
    before = time.time_ns()
    source = Pipe("p", {"process"}, [fork(1)], OSError(5, "gone"), [fork(2)])
    feeds = Feeds([feed("process", source)])
    feeds.open()
    assert [*taken(feeds), *taken(feeds)] == [fork(1)]
    (loss,) = feeds.care(time.time_ns())
    assert before <= loss.from_ns <= loss.until_ns
    assert (loss.source, source.opened) == ("p", 2)
    assert taken(feeds) == [fork(2)]
    (ledger,) = feeds.ledgers()
    assert ledger.seen == 2
    feeds.close()


def test_while_a_source_is_down_every_verdict_has_a_gap(tmp_path: Path) -> None:
    source = Pipe("p", {"process"}, OSError(5, "gone"))
    feeds = Feeds([feed("process", source)])
    feeds.open()
    taken(feeds)
    source.works = False
    assert feeds.care(time.time_ns()) == []
    (gap,) = feeds.gaps(None)  # type: ignore[arg-type]  whatever the event is
    assert "p has been down since" in gap
    assert "gone" in gap
    feeds.close()


def test_the_next_best_takes_over_and_what_only_the_dead_one_gave_is_opened() -> None:
    best = Pipe("best", {"process", "network"}, OSError(5, "gone"))
    spare, network = Pipe("spare", {"process"}, [fork(3)]), Pipe("n", {"network"})
    feeds = Feeds([feed("process", best, spare), feed("network", network)])
    feeds.open()
    taken(feeds)
    best.works = False
    (loss,) = feeds.care(time.time_ns())
    assert (loss.source, "spare took over" in loss.remedy) == ("best", True)
    assert feeds.names == ("spare", "n")
    assert taken(feeds) == [fork(3)]
    feeds.wait(0)
    feeds.close()


def test_the_wait_ends_when_any_source_has_something() -> None:
    source = Pipe("f", {"file"})
    feeds = Feeds([feed("process", Pipe("p", {"process"})), feed("file", source)])
    feeds.open()
    assert source._ends
    os.write(source._ends[1], b"x")
    feeds.wait(60)
    feeds.close()


def test_a_busy_feed_is_left_alone_between_two_reads_while_processes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds_module, "_PAUSE_S", 60.0)
    monkeypatch.setattr(feeds_module, "_ROUND_S", 60.0)
    source = Pipe("f", {"file"}, [fork(1)], [fork(2)])
    feeds = Feeds([feed("process", Pipe("p", {"process"}, [fork(3)], [fork(4)])), feed("file", source)])
    feeds.open()
    assert source._ends
    os.write(source._ends[1], b"x")
    feeds.wait(60)
    assert taken(feeds) == [fork(3), fork(1)]
    began = time.monotonic()
    feeds.wait(0.05)
    assert time.monotonic() - began >= 0.05
    assert taken(feeds) == [fork(4)]
    assert [record for _, records in feeds.last() for record in records] == [fork(2)]
