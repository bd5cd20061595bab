"""Real sources whose descriptors all break at once, again and again: each dies, comes back, and leaves nothing."""

import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shield.agent.configuration import Configuration
from shield.agent.feed import Feed
from shield.agent.sources import HostSources
from shield.collector.source import Source

# Neither is psutil here nor sock_diag, which keep nothing open, nor audit, which only one process at a time may test.
LIVES = {
    "ebpf": 10,
    "connector": 100,
    "fanotify": 100,
    "inotify": 20,
    "identity": 100,
    "accounts": 100,
    "persistence": 10,
    "credentials": 100,
    "kernel": 100,
}


KEPT = ("anon_inode:", "socket:", "pipe:", "/proc/", "/var/log/", f"{tempfile.gettempdir()}/")


@pytest.fixture(params=LIVES)
def feed(request: pytest.FixtureRequest) -> Iterator[Feed]:
    """A feed of one real source, not open."""
    groups = HostSources(Configuration()).groups
    kind, source = next((group.kind, one) for group in groups for one in group.candidates if one.name == request.param)
    made = Feed(kind, [source], 1)
    yield made
    made.close()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """A descriptor that can be polled and not be read."""
    opened = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    yield opened
    os.close(opened)


def descriptors() -> dict[int, str]:
    """Return what is open for good: all but the files that are hashed in the background meanwhile."""
    listed = {int(one.name): str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}
    return {number: what for number, what in listed.items() if what.startswith(KEPT)}


def die(feed: Feed, break_all: Callable[[], None]) -> None:
    """Break what the source has open, and go on as the watch does until that is noticed."""
    assert feed.source is not None
    break_all()
    for _ in range(3):
        feed._due = 0.0
        feed.read()
        feed.ledger()
    assert feed.source is None, "it works without its descriptors"


def revive(feed: Feed) -> None:
    feed._again = 0.0
    lost = [loss for loss in feed.care(time.time_ns()) if "source_died" in loss.dropped]
    assert feed.source is not None, feed.refused
    assert [loss.until_ns > loss.from_ns > 0 for loss in lost] == [True]


def test_a_source_dies_and_comes_back_many_times(feed: Feed, directory: int) -> None:
    before, threads = descriptors(), threading.active_count()

    def break_all() -> None:
        for number in descriptors().keys() - before.keys():
            os.dup2(directory, number, inheritable=False)

    feed.open()
    objects = 0
    source: Source | None = feed.source
    for life in range(LIVES[feed.name]):
        feed.read()
        die(feed, break_all)
        assert descriptors() == before
        assert threading.active_count() == threads
        revive(feed)
        gc.collect()
        if life == 4:
            objects = len(gc.get_objects())
    assert feed.source is source
    assert len(gc.get_objects()) < objects + 500
    ledger = feed.ledger()
    assert ledger.seen >= ledger.pending
    feed.close()
    assert descriptors() == before
