"""Which source a host gets: the first that can run here, and what kept the better ones from it."""

from collections.abc import Sequence

from msgspec import Struct

from shield.collector.source import Kind, Source, SourceUnavailable


class Group(Struct, frozen=True):
    """The sources that tell of one kind of thing, best first; one of them is used."""

    kind: Kind
    candidates: Sequence[Source]


class Selection(Struct, frozen=True):
    """An open source, and why each one before it was refused."""

    source: Source
    refused: tuple[SourceUnavailable, ...] = ()


def open_first(candidates: Sequence[Source]) -> Selection:
    """Open the first of `candidates` that can run here. Raises SourceUnavailable, with all their reasons, for none."""
    refused: list[SourceUnavailable] = []
    for source in candidates:
        try:
            source.open()
        except SourceUnavailable as refusal:
            refused.append(refusal)
        else:
            return Selection(source, tuple(refused))
    if len(refused) == 1:
        raise refused[0]
    reasons = " | ".join(f"{refusal.source}: {refusal.reason}" for refusal in refused)
    remedies = " | ".join(dict.fromkeys(refusal.remedy for refusal in refused))
    names = ", ".join(source.name for source in candidates)
    raise SourceUnavailable(names or "sources", reasons or "there are none to try", remedies or "name at least one")


def only(candidates: Sequence[Source], name: str) -> list[Source]:
    """Return the one candidate called `name`. Raises ValueError, naming them all, for an unknown name."""
    found = [source for source in candidates if source.name == name]
    if not found:
        known = ", ".join(source.name for source in candidates)
        raise ValueError(f"there is no source {name!r}; choose one of: {known}")
    return found
