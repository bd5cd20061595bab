"""A login that several witnesses saw is told once, by the best; what one of them alone saw is told all the same."""

import msgspec

from shield.collector.linux.identity.told_once import Held, Rank, ToldOnce
from shield.event import LogValue
from shield.record import LogRecord

SECOND = 1_000_000_000
LATE = 60.0


def line(event: str, at: float = 100, program: str = "sshd", **fields: LogValue) -> LogRecord:
    return LogRecord("linux", int(at * SECOND), provider=program, channel="syslog", fields={"event": event, **fields})


def audit(result: str, exe: str = "/usr/sbin/sshd", at: float = 100, **fields: LogValue) -> LogRecord:
    return LogRecord("linux", int(at * SECOND), provider="auditd", fields={"res": result, "exe": exe, **fields})


def entry(event: str, at: float = 100, **fields: LogValue) -> LogRecord:
    return LogRecord("linux", int(at * SECOND), provider="btmp", fields={"event": event, **fields})


def told(*offers: tuple[Rank, LogRecord]) -> list[LogRecord]:
    once = ToldOnce()
    now = [record for rank, record in offers if once.offer(rank, record, 0)]
    found = [*now, *once.due(LATE)]
    assert len(found) + once.repeats == len(offers)
    assert once.waiting == 0
    return found


FAILED = line("failed", method="password", user="root", source_ip="192.0.2.9", pid=7)


def test_pam_says_before_it_what_the_program_says() -> None:
    pam = line("failed", at=98, method="pam", user="root", source_ip="192.0.2.9", pid=7)
    unknown = line("invalid_user", at=98, user="root", source_ip="192.0.2.9", pid=7)
    assert told((Rank.PAM, pam), (Rank.PAM, unknown), (Rank.PROGRAM, FAILED)) == [FAILED]
    assert told((Rank.PROGRAM, FAILED), (Rank.PAM, pam)) == [FAILED]


def test_a_line_of_pam_for_another_process_or_another_time_is_told() -> None:
    for differs in ({"pid": 8}, {"at": 50}):
        pam = line("failed", **{"at": 98, "pid": 7, **differs}, method="pam", user="root")  # type: ignore[arg-type]
        assert told((Rank.PAM, pam), (Rank.PROGRAM, FAILED)) == [FAILED, pam]
    sudo = line("failed", program="sudo", method="pam", user="alice", pid=7)
    assert told((Rank.PAM, sudo), (Rank.PROGRAM, FAILED)) == [FAILED, sudo], "one wrong password is no refusal of sudo"


def test_audit_records_and_login_records_repeat_what_a_line_said() -> None:
    repeats = (
        (Rank.AUDIT, audit("failed", acct="root", addr="192.0.2.9", pid=7)),
        (Rank.AUDIT, audit("failed", acct="(unknown)", addr="192.0.2.9", pid=7)),
        (Rank.AUDIT, audit("failed", acct="root", addr="?", pid=7)),
        (Rank.LOGIN_RECORD, entry("failed", user="root", source_ip="192.0.2.9")),
        (Rank.LOGIN_RECORD, entry("failed", source_ip="192.0.2.9")),
        (Rank.LOGIN_RECORD, entry("failed", at=108, user="root", source_host="host.example")),
    )
    assert told(*repeats, (Rank.PROGRAM, FAILED)) == [FAILED]


def test_what_a_lower_witness_alone_saw_is_told() -> None:
    alone = (
        (Rank.AUDIT, audit("success", acct="root", addr="192.0.2.9")),
        (Rank.AUDIT, audit("failed", acct="eve", addr="192.0.2.9")),
        (Rank.AUDIT, audit("failed", exe="/usr/bin/su", acct="root", addr="192.0.2.9")),
        (Rank.LOGIN_RECORD, entry("failed", user="root", source_ip="198.51.100.1")),
        (Rank.LOGIN_RECORD, entry("failed", at=130, user="root", source_ip="192.0.2.9")),
    )
    assert told((Rank.PROGRAM, FAILED), *alone) == [FAILED, *(record for _, record in alone)]


def test_of_two_lower_witnesses_the_better_one_is_told_whichever_came_first() -> None:
    audited, logged = (
        audit("failed", acct="root", addr="192.0.2.9"),
        entry("failed", user="root", source_ip="192.0.2.9"),
    )
    assert told((Rank.LOGIN_RECORD, logged), (Rank.AUDIT, audited)) == [audited]


def test_repeats_by_the_same_witness_are_many_and_not_one() -> None:
    burst = [(Rank.PROGRAM, FAILED)] * 3 + [(Rank.LOGIN_RECORD, entry("failed", user="eve"))] * 3
    assert told(*burst) == [record for _, record in burst]


def test_an_act_of_sudo_repeats_that_its_user_proved_himself() -> None:
    ran = line("command", program="sudo", user="alice", USER="root", COMMAND="/bin/id")
    proved = audit("success", exe="/usr/bin/sudo", acct="alice", pid=9)
    command = audit("success", exe="/usr/bin/sudo", cmd="id", pid=9)
    assert told((Rank.AUDIT, proved), (Rank.AUDIT, command), (Rank.PROGRAM, ran)) == [ran]


def test_lines_about_something_else_are_told_at_once() -> None:
    closed = line("session_closed", user="root")
    plain = LogRecord("linux", 1, provider="sshd", fields={"message": "hello"})
    assert told((Rank.PAM, closed), (Rank.PROGRAM, plain)) == [closed, plain]


def test_nothing_is_lost_or_told_twice_over_a_restart() -> None:
    first = ToldOnce()
    waiting = line("failed", method="pam", user="eve", pid=9)
    assert first.offer(Rank.PROGRAM, FAILED, 0)
    assert not first.offer(Rank.PAM, waiting, 0)
    held, known = msgspec.msgpack.decode(
        msgspec.msgpack.encode(first.state()), type=tuple[list[Held], list[tuple[tuple[bool, str, str, str, int], int]]]
    )
    second = ToldOnce()
    second.restore(held, known, 0)
    assert not second.offer(Rank.LOGIN_RECORD, entry("failed", user="root", source_ip="192.0.2.9"), 0)
    assert list(second.due(LATE)) == [waiting]
    assert second.repeats == 1


def test_what_waits_is_bounded_and_told_rather_than_lost() -> None:
    once = ToldOnce()
    for number in range(10_000):
        once.offer(Rank.PAM, line("failed", method="pam", user="eve", pid=number), 0)
    early = list(once.due(0))
    assert len(early) + once.waiting == 10_000
    assert once.waiting <= 4096
