"""Who makes most of the events: a short list kept exactly enough, in little memory, however many programs there are."""

from msgspec import Struct

from shield.event import Category, Event

_TOLD = 10
_KEPT = 512


class Producer(Struct, frozen=True):
    """A program and how many events of one category it has caused of late."""

    program: str
    category: Category
    events: int


class Producers:
    """Counts events by program and category. `fade` halves every count, so that the list is about the last minutes.

    Where there are more than 512 kinds, the smaller half is forgotten: what is left out is never among the largest.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Category], int] = {}

    def note(self, event: Event) -> None:
        """Count one event."""
        process = event.data.process
        key = ((process.exe or process.name) if process is not None else "", event.category)
        self._counts[key] = self._counts.get(key, 0) + 1
        if len(self._counts) > _KEPT:
            self._counts = dict(self._largest(_KEPT // 2))

    def fade(self) -> None:
        """Let half of what was counted be forgotten."""
        self._counts = {key: count // 2 for key, count in self._counts.items() if count > 1}

    def top(self) -> tuple[Producer, ...]:
        """Return the ten largest, the largest first."""
        return tuple(Producer(program, category, count) for (program, category), count in self._largest(_TOLD))

    def _largest(self, number: int) -> list[tuple[tuple[str, Category], int]]:
        return sorted(self._counts.items(), key=lambda item: item[1], reverse=True)[:number]
