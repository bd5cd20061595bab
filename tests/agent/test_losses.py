"""Losses: told once each, and held against what rests on them for as long as a story lasts."""

from shield.agent.losses import Losses
from shield.agent.replay import RecordedLosses
from shield.event import Data, Event, Loss

SECOND = 1_000_000_000
WINDOW = 600 * SECOND


def event(seconds: int, data: Data | None = None) -> Event:
    return Event(seconds, "h", "loss", "ALLOW", 0, "", data or Data(), "", "", "", ts_ns=seconds * SECOND)


def test_a_loss_is_news_once_by_reason_with_its_remedy() -> None:
    dropped = {"ring_full": 3}
    losses = Losses("ebpf", lambda: dropped, {"ring_full": "Raise it.", "odd": "Report it."}, WINDOW)
    assert losses.news(SECOND) == Loss("ebpf", {"ring_full": 3}, "Raise it.")
    assert losses.news(SECOND) is None
    dropped["ring_full"] += 1
    dropped["odd"] = 2
    assert losses.news(SECOND) == Loss("ebpf", {"ring_full": 1, "odd": 2}, "Raise it. Report it.")
    assert losses.news(SECOND) is None


def test_a_loss_is_a_gap_for_the_length_of_a_story_and_no_longer() -> None:
    dropped: dict[str, int] = {}
    losses = Losses("ebpf", lambda: dropped, {}, WINDOW)
    assert losses.gaps(event(1000)) == ()
    dropped["ring_full"] = 3
    losses.news(1001 * SECOND)
    assert losses.gaps(event(1601)) == ("ebpf has lost 3 records, the last within 600 s",)
    assert losses.gaps(event(1602)) == ()


def test_a_loss_nobody_has_told_of_yet_is_a_gap_already() -> None:
    losses = Losses("ebpf", lambda: {"ring_full": 3}, {}, WINDOW)
    assert losses.gaps(event(1000))


def test_a_recorded_loss_counts_from_when_it_happened_not_from_when_it_mattered() -> None:
    losses = RecordedLosses(WINDOW)
    losses.note(event(1000, Data(loss=Loss("ebpf", {"ring_full": 3}))))
    losses.note(event(1100))
    assert losses.gaps(event(1600))
    assert losses.gaps(event(9000)) == ()
    losses.note(event(9500, Data(loss=Loss("ebpf", {"ring_full": 2}))))
    assert losses.gaps(event(9501)) == ("the recorded source has lost 5 records, the last within 600 s",)
