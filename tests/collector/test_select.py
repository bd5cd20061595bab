"""Choosing a source."""

import pytest

from shield.collector.select import only, open_first
from shield.collector.source import Count, SourceUnavailable
from shield.record import Record


class Fake:
    """A source that opens, or refuses with a reason."""

    blind_spots: tuple[str, ...] = ()
    interval: float | None = None

    def __init__(self, name: str, refuses: str = "") -> None:
        self.name = name
        self.remedies: dict[str, str] = {}
        self.is_open = False
        self._refuses = refuses

    def open(self) -> None:
        if self._refuses:
            raise SourceUnavailable(self.name, self._refuses, f"mend {self.name}")
        self.is_open = True

    def fileno(self) -> int | None:
        return None

    def read(self) -> list[Record]:
        return []

    def count(self) -> Count:
        return Count(0, {}, {}, 0)

    def stop(self) -> None:
        return None

    def close(self) -> None:
        self.is_open = False


def test_the_first_that_can_is_opened_and_no_other() -> None:
    best, middle, last = Fake("best", "no root"), Fake("middle"), Fake("last")
    selection = open_first([best, middle, last])
    assert selection.source is middle
    assert [(refusal.source, refusal.reason) for refusal in selection.refused] == [("best", "no root")]
    assert (middle.is_open, last.is_open) == (True, False)


def test_where_none_can_every_reason_and_remedy_is_named() -> None:
    with pytest.raises(SourceUnavailable) as caught:
        open_first([Fake("a", "no root"), Fake("b", "no kernel")])
    for part in ("a: no root", "b: no kernel", "mend a", "mend b"):
        assert part in str(caught.value)


def test_without_candidates_the_error_says_so() -> None:
    with pytest.raises(SourceUnavailable, match="none to try"):
        open_first([])


def test_a_source_is_chosen_by_name() -> None:
    wanted = Fake("b")
    assert only([Fake("a"), wanted], "b") == [wanted]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no source 'ebfp'; choose one of: ebpf, audit"):
        only([Fake("ebpf"), Fake("audit")], "ebfp")
