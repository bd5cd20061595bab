"""Provenance in the records of process starts."""

from shield.agent.enrichment import Enrichment
from shield.collector.linux.provenance.service import NOT_YET, Learnt, Ticket
from shield.event import Data, Event, Ledger, Process, Provenance, User
from shield.record import ProcessExec, ProcessExit

UNOWNED = Learnt(Provenance(package_state="unowned"), {"sha256": "aa"})
UNCHANGED = Learnt(Provenance(package="tool", package_state="unchanged"), {"sha256": "bb"})
WAITS = Learnt(None, {}, NOT_YET)


class Known:
    """Answers as it is told to: the real source needs files and packages."""

    def __init__(self, answer: Learnt) -> None:
        self.answer = answer
        self.later: list[tuple[Ticket, Learnt]] = []

    def of(self, process: Process, started_ns: int) -> Learnt:
        return self.answer

    def finished(self) -> list[tuple[Ticket, Learnt]]:
        told, self.later = self.later, []
        return told

    def ledger(self) -> Ledger:
        return Ledger("provenance")

    def close(self) -> None: ...


def start(pid: int = 7, gaps: tuple[str, ...] = ()) -> ProcessExec:
    return ProcessExec(1000, Process(pid=pid, exe="/usr/bin/tool", hashes={"imphash": "cc"}), User(), 5, 4, None, gaps)


def event(record: ProcessExec) -> Event:
    return Event(
        ts=0,
        host="h",
        category="process_start",
        action="ALERT",
        score=80,
        rationale="x",
        data=Data(process=record.process, user=record.user),
        policy_version="1",
        dedupe_key="k",
        correlation_id="story",
        event_id="first",
        ts_ns=record.ts_ns,
        gaps=record.gaps,
        evidence_complete=not record.gaps,
    )


def test_a_known_program_gets_its_provenance_and_hashes() -> None:
    record = Enrichment(Known(UNOWNED)).enrich(start())
    assert isinstance(record, ProcessExec)
    assert record.process.provenance == UNOWNED.provenance
    assert record.process.hashes == {"imphash": "cc", "sha256": "aa"}
    assert (record.start_ticks, record.parent_start_ticks, record.gaps) == (5, 4, ())


def test_other_records_pass_as_they_are() -> None:
    ended = ProcessExit(1000, 7)
    assert Enrichment(Known(UNOWNED)).enrich(ended) is ended


def test_an_unknown_program_goes_out_with_a_gap_and_comes_again_once_it_is_known() -> None:
    source = Known(WAITS)
    enrichment = Enrichment(source)
    record = enrichment.enrich(start())
    assert isinstance(record, ProcessExec)
    assert record.gaps == (NOT_YET,)
    enrichment.offer(event(record))
    assert enrichment.findings() == []
    source.later = [((7, 1000), UNOWNED)]
    (found,) = enrichment.findings()
    assert found.data.process is not None
    assert found.data.process.provenance == UNOWNED.provenance
    assert found.data.process.hashes["sha256"] == "aa"
    assert (found.correlation_id, found.ts_ns, found.gaps, found.evidence_complete) == ("story", 1000, (), True)


def test_other_gaps_stay() -> None:
    source = Known(WAITS)
    enrichment = Enrichment(source)
    record = enrichment.enrich(start(gaps=("some arguments were lost",)))
    assert isinstance(record, ProcessExec)
    enrichment.offer(event(record))
    source.later = [((7, 1000), UNOWNED)]
    (found,) = enrichment.findings()
    assert (found.gaps, found.evidence_complete) == (("some arguments were lost",), False)


def test_nothing_is_said_again_about_a_program_that_is_as_its_package_brought_it() -> None:
    source = Known(WAITS)
    enrichment = Enrichment(source)
    record = enrichment.enrich(start())
    assert isinstance(record, ProcessExec)
    enrichment.offer(event(record))
    source.later = [((7, 1000), UNCHANGED), ((8, 1), UNOWNED), ((7, 1000), UNOWNED)]
    assert enrichment.findings() == []


def test_what_waits_is_bounded() -> None:
    source = Known(WAITS)
    enrichment = Enrichment(source)
    for pid in range(3000):
        record = enrichment.enrich(start(pid))
        assert isinstance(record, ProcessExec)
        enrichment.offer(event(record))
    source.later = [((pid, 1000), UNOWNED) for pid in range(3000)]
    assert len(enrichment.findings()) == 1024
