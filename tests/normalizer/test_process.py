"""Process records as events: joined, timed, with exit codes as a shell gives them, and every gap named."""

import os
import signal

import pytest

from shield.event import Event, Process, User
from shield.normalizer.lineage import Lineage
from shield.normalizer.origin import Origin
from shield.normalizer.process import (
    EXIT_FOLDED,
    FORK_FOLDED,
    SNAPSHOT_FOLDED,
    ProcessNormalizer,
)
from shield.record import ProcessExec, ProcessExit, ProcessFork, ProcessSnapshot

NS = 1_795_529_002_123_456_789


@pytest.fixture
def normalizer() -> ProcessNormalizer:
    return ProcessNormalizer(Origin("web-3", "linux", lambda ts_ns: f"id-{ts_ns}"), Lineage("scope"))


def executed(pid: int = 11, ppid: int = 10, gaps: tuple[str, ...] = (), **fields: object) -> ProcessExec:
    process = Process(pid=pid, ppid=ppid, exe="/bin/ls", **fields)  # type: ignore[arg-type]
    return ProcessExec(NS, process, User(name="alice"), pid, ppid, gaps=gaps)


def known(normalizer: ProcessNormalizer, pid: int = 10) -> None:
    """A process from before the start, below pid 1."""
    for number, ppid, exe in ((1, 0, "/sbin/init"), (pid, 1, "/bin/sh")):
        process = Process(pid=number, ppid=ppid, exe=exe, cmdline=exe)
        normalizer.event(ProcessSnapshot(NS, process, User(), number))


def started(normalizer: ProcessNormalizer, record: ProcessExec) -> Event:
    event = normalizer.event(record)
    assert isinstance(event, Event)
    return event


def test_a_program_that_starts_is_an_event_without_a_verdict(normalizer: ProcessNormalizer) -> None:
    event = started(normalizer, executed())
    assert (event.category, event.host, event.os) == ("process_start", "web-3", "linux")
    assert (event.ts, event.ts_ns, event.event_id) == (NS // 10**9, NS, f"id-{NS}")
    assert (event.action, event.score, event.rationale, event.signals) == ("ALLOW", 0, "low_signal", ())


def test_it_is_joined_to_what_is_above_it(normalizer: ProcessNormalizer) -> None:
    known(normalizer)
    normalizer.event(ProcessFork(NS, 11, 10, 11, 10))
    event = started(normalizer, executed())
    assert event.data.parent
    assert event.data.parent.exe == "/bin/sh"
    assert [above.exe for above in event.data.ancestors] == ["/bin/sh", "/sbin/init"]
    assert event.evidence_complete
    assert event.gaps == ()


def test_without_its_fork_and_parent_the_gap_is_named(normalizer: ProcessNormalizer) -> None:
    event = started(normalizer, executed())
    assert event.gaps == ("nothing is known above pid 10",)
    assert not event.evidence_complete


def test_a_gap_further_up_is_named_too(normalizer: ProcessNormalizer) -> None:
    started(normalizer, executed(pid=10, ppid=9))
    assert started(normalizer, executed()).gaps == ("nothing is known above pid 9",)


def test_gaps_of_the_source_are_kept(normalizer: ProcessNormalizer) -> None:
    known(normalizer)
    event = started(normalizer, executed(gaps=("the working directory was not seen",)))
    assert event.gaps == ("the working directory was not seen",)
    assert not event.evidence_complete


def test_arguments_that_were_cut_are_a_gap_with_its_size(normalizer: ProcessNormalizer) -> None:
    known(normalizer)
    event = started(normalizer, executed(args=("ls", "-l"), args_length=70_000, truncated=True))
    assert event.gaps == ("only 6 of 70000 bytes of arguments were kept",)


def test_escaped_bytes_count_as_the_bytes_they_were(normalizer: ProcessNormalizer) -> None:
    known(normalizer)
    event = started(normalizer, executed(args=("\uefe9",), args_length=70_000, truncated=True))
    assert event.gaps == ("only 2 of 70000 bytes of arguments were kept",)


@pytest.mark.parametrize(
    ("status", "code", "number"),
    [
        (0, 0, None),
        (1 << 8, 1, None),
        (255 << 8, 255, None),
        (signal.SIGKILL, 137, 9),
        (signal.SIGSEGV, 139, 11),
        (signal.SIGSEGV | 0x80, 139, 11),  # with a core dumped
        (64, 192, 64),
        (None, None, None),
    ],
)
def test_an_exit_code_is_what_a_shell_makes_of_the_wait_status(
    normalizer: ProcessNormalizer, status: int | None, code: int | None, number: int | None
) -> None:
    started(normalizer, executed())
    event = normalizer.event(ProcessExit(NS + 5, 11, 10, 11, status, lifetime_ns=5))
    assert event is not None
    assert event.data.process
    assert (event.data.process.exit_code, event.data.process.exit_signal) == (code, number)
    if status is not None and number is None:
        assert code == os.waitstatus_to_exitcode(status)


def test_an_end_tells_what_ended_for_how_long_it_ran_and_in_which_story(normalizer: ProcessNormalizer) -> None:
    known(normalizer)
    start = started(normalizer, executed(cmdline="ls -l"))
    event = normalizer.event(ProcessExit(NS + 5, 11, 10, 11, 0, lifetime_ns=5))
    assert event is not None
    assert event.category == "process_exit"
    process = event.data.process
    assert process
    assert start.data.process
    assert process.entity_id == start.data.process.entity_id
    assert (process.exe, process.cmdline, process.end_ns, process.lifetime_ns) == ("/bin/ls", "ls -l", NS + 5, 5)
    assert event.correlation_id == start.correlation_id
    assert event.data.parent == start.data.parent


def test_the_end_of_an_unknown_process_is_a_gap(normalizer: ProcessNormalizer) -> None:
    event = normalizer.event(ProcessExit(NS, 99, 1, 99, 0))
    assert isinstance(event, Event)
    assert event.gaps == ("the start of pid 99 was not seen",)
    assert not event.evidence_complete


def test_what_becomes_no_event_says_into_what_it_was_folded(normalizer: ProcessNormalizer) -> None:
    shell = Process(pid=10, ppid=1, exe="/bin/sh", cmdline="/bin/sh")
    assert normalizer.event(ProcessSnapshot(NS, shell, User(), 10)) == SNAPSHOT_FOLDED
    assert normalizer.event(ProcessFork(NS, 11, 10, 11, 10)) == FORK_FOLDED
    assert normalizer.event(ProcessExit(NS, 11, 10, 11, 0, execed=False)) == EXIT_FOLDED


def test_a_second_program_of_a_process_keeps_its_identity_and_story(normalizer: ProcessNormalizer) -> None:
    known(normalizer)
    first, second = started(normalizer, executed()), started(normalizer, executed())
    assert first.data.process
    assert second.data.process
    assert first.data.process.entity_id == second.data.process.entity_id
    assert first.correlation_id == second.correlation_id
