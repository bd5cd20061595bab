"""Who found what: the hits of two contestants side by side, and for each that only one of them has, why."""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from bench.engine_task import Hits

_EXAMPLES = 20

UNEXPLAINED = "unexplained"
NO_QUERY = "the peer has no query for it"
NO_COLUMN = "the peer has no such column"
OTHER_LOG = "another log, to the peer"
NOT_LOADED = "not loaded by Shield"


class Example(Struct, frozen=True):
    """A rule and the first event that only one contestant says it matches; the event by its place in the stream."""

    rule: str
    only: str
    why: str
    events: int
    first_event: int
    first_channel: str
    first_code: str


class Comparison(Struct, frozen=True):
    """Hits, each a rule and an event: of Shield, of the peer, of both, and of one of them only, by reason."""

    events: int
    shield: int
    peer: int
    both: int
    rules_that_hit: int
    rules_that_agree: int
    only_shield: dict[str, int]
    only_peer: dict[str, int]
    unexplained: int
    examples: list[Example]


class Reasons(Struct, frozen=True):
    """What the contestants say of rules by id: which logs the peer's query is about, what it lacks; Shield's rules."""

    channels: Mapping[str, Sequence[str]]
    lacking: Mapping[str, str]
    loaded: frozenset[str]


def compare(shield: Hits, peer: Hits, kinds: Sequence[tuple[str, str]], reasons: Reasons) -> Comparison:
    """Compare the hits in as many events as `kinds` names the channel and the code of; later ones don't count."""
    ours, theirs = _pairs(shield, len(kinds)), _pairs(peer, len(kinds))
    rules = {rule for rule, _ in ours | theirs}
    differing = {rule for rule, _ in ours ^ theirs}
    examples: dict[tuple[str, str, str], list[int]] = {}
    for only, pairs in (("shield", ours - theirs), ("peer", theirs - ours)):
        for rule, event in sorted(pairs):
            why = _why_not_peer(rule, kinds[event][0], reasons) if only == "shield" else _why_not_shield(rule, reasons)
            examples.setdefault((rule, only, why), []).append(event)
    listed = [
        Example(rule, only, why, len(events), events[0], *kinds[events[0]])
        for (rule, only, why), events in examples.items()
    ]
    listed.sort(key=lambda one: (one.why != UNEXPLAINED, -one.events, one.rule))
    return Comparison(
        events=len(kinds),
        shield=len(ours),
        peer=len(theirs),
        both=len(ours & theirs),
        rules_that_hit=len(rules),
        rules_that_agree=len(rules - differing),
        only_shield=_counts(listed, "shield"),
        only_peer=_counts(listed, "peer"),
        unexplained=sum(one.events for one in listed if one.why == UNEXPLAINED),
        examples=listed[:_EXAMPLES],
    )


def _pairs(hits: Hits, events: int) -> set[tuple[str, int]]:
    return {(rule, event) for rule, places in hits.items() for event in places if event < events}


def _why_not_peer(rule: str, channel: str, reasons: Reasons) -> str:
    if rule not in reasons.channels:
        return NO_QUERY
    if rule in reasons.lacking:
        return NO_COLUMN
    channels = reasons.channels[rule]
    return OTHER_LOG if channels and channel not in channels else UNEXPLAINED


def _why_not_shield(rule: str, reasons: Reasons) -> str:
    return UNEXPLAINED if rule in reasons.loaded else NOT_LOADED


def _counts(listed: Sequence[Example], only: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for one in listed:
        if one.only == only:
            counts[one.why] += one.events
    return dict(counts)
