"""Observations joined to who did it: by the tree, by what the source could read, or by who wrote the file last."""

from shield.event import Account, Event, File, Network, Persistence, Process, User
from shield.normalizer.lineage import Lineage
from shield.normalizer.live import LiveNormalizer
from shield.normalizer.origin import Origin
from shield.record import Actor, LogRecord, Observation, ProcessExec, ProcessExit, ProcessFork, Record

SECOND = 1_000_000_000
NOW = 1_795_529_002 * SECOND


def normalizer() -> LiveNormalizer:
    origin = Origin("web-1", "linux", lambda ts_ns: f"id-{ts_ns}")
    return LiveNormalizer(origin, Lineage("scope", ended_most=4), lambda: 0)


def only(live: LiveNormalizer, record: Record) -> Event:
    events = live.events(record)
    assert not isinstance(events, str)
    (event,) = events
    return event


def started(live: LiveNormalizer, pid: int, exe: str = "/usr/bin/curl", ppid: int = 10) -> Event:
    process = Process(
        pid=pid, ppid=ppid, exe=exe, cmdline=f"{exe} x", args=(exe, "x"), args_length=9, env={"LD_PRELOAD": "y"}
    )
    return only(live, ProcessExec(NOW, process, User(id=33, name="www-data"), pid, ppid))


def connected(pid: int, ticks: int) -> Observation:
    network = Network(transport="tcp", destination_ip="203.0.113.9", destination_port=443)
    return Observation(NOW, "network_connection", Actor(pid, ticks), network=network)


def written(path: str, actor: Actor | None, ts_ns: int = NOW) -> Observation:
    return Observation(ts_ns, "file_write", actor, file=File(path=path))


def test_a_connection_tells_who_made_it_and_from_where_it_came() -> None:
    live = normalizer()
    start = started(live, 11)
    event = only(live, connected(11, 11))
    assert event.data.process
    assert (event.data.process.exe, event.data.process.cmdline) == ("/usr/bin/curl", "/usr/bin/curl x")
    assert event.data.process.entity_id == "11-11"
    assert event.data.user == User(id=33, name="www-data")
    assert (event.data.parent, event.data.ancestors) == (start.data.parent, start.data.ancestors)
    assert event.correlation_id == start.correlation_id
    assert (event.gaps, event.action) == ((), "ALLOW")


def test_the_arguments_and_the_environment_are_not_told_again() -> None:
    live = normalizer()
    started(live, 11)
    process = only(live, connected(11, 11)).data.process
    assert process
    assert (process.args, process.env, process.truncated) == ((), {}, False)


def test_a_fork_without_a_program_of_its_own_is_the_doer_under_its_own_pid() -> None:
    live = normalizer()
    started(live, 11)
    assert live.events(ProcessFork(NOW, 12, 11, 12, 11)) == "fork_into_lineage"
    process = only(live, connected(12, 12)).data.process
    assert process
    assert (process.pid, process.ppid, process.entity_id, process.exe) == (12, 11, "12-12", "/usr/bin/curl")


def test_what_a_process_did_just_before_its_end_is_still_joined_to_it() -> None:
    live = normalizer()
    start = started(live, 11)
    live.events(ProcessExit(NOW, 11, 10, 11, 0))
    event = only(live, written("/etc/x", Actor(11, 11)))
    assert (event.correlation_id, event.gaps) == (start.correlation_id, ())
    assert only(live, written("/etc/x", Actor(11, 0))).correlation_id == start.correlation_id


def test_a_reused_pid_is_not_taken_for_the_process_before_it() -> None:
    live = normalizer()
    started(live, 11)
    event = only(live, connected(11, 4711))
    assert event.correlation_id == ""
    assert event.gaps == ("the start of pid 11 was not seen",)


def test_of_a_process_from_nowhere_what_the_source_could_read_is_told() -> None:
    shown = Process(pid=99, exe="/usr/sbin/sshd", name="sshd")
    event = only(normalizer(), written("/etc/x", Actor(99, 5, shown, User(id=0, name="root"))))
    assert event.data.process
    assert (event.data.process.exe, event.data.process.entity_id) == ("/usr/sbin/sshd", "99-5")
    assert event.data.user == User(id=0, name="root")
    assert not event.evidence_complete


def test_where_nobody_is_known_that_is_a_gap() -> None:
    event = only(normalizer(), written("/etc/x", None))
    assert event.data.process is None
    assert event.gaps == ("the process that did it is not known",)


def test_a_change_of_accounts_is_joined_to_who_wrote_the_file() -> None:
    live = normalizer()
    start = started(live, 11, "/usr/sbin/useradd")
    live.events(written("/etc/passwd", Actor(11, 11)))
    account = Account("user", "eve", "added")
    seen = Observation(NOW + SECOND, "account_change", account=account, file=File(path="/etc/passwd"))
    event = only(live, seen)
    assert event.data.process
    assert (event.data.process.exe, event.data.account) == ("/usr/sbin/useradd", account)
    assert (event.data.file, event.correlation_id, event.gaps) == (None, start.correlation_id, ())


def test_who_wrote_a_file_long_ago_is_not_blamed() -> None:
    live = normalizer()
    started(live, 11)
    live.events(written("/etc/cron.d/x", Actor(11, 11)))
    seen = Observation(NOW + 61 * SECOND, "persistence_change", persistence=Persistence("cron", "/etc/cron.d/x"))
    assert only(live, seen).data.process is None


def test_a_line_of_a_log_joins_the_process_that_wrote_it() -> None:
    live = normalizer()
    start = started(live, 500, "/usr/sbin/sshd", ppid=1)
    message = "Accepted password for root from 203.0.113.9 port 51022 ssh2"
    fields = {"event": "accepted", "method": "password", "user": "root", "source_ip": "203.0.113.9", "pid": 500}
    event = only(live, LogRecord("linux", NOW, "elsewhere", "sshd", message=message, fields=fields))
    assert (event.category, event.host) == ("auth_success", "web-1")
    assert event.data.process is None or event.correlation_id == start.correlation_id


def test_what_a_package_manager_writes_is_told_as_its_doing() -> None:
    live = normalizer()
    started(live, 11, "/usr/bin/dpkg")
    by_dpkg = only(live, written("/etc/cron.d/x", Actor(11, 11))).data.file
    started(live, 12, "/tmp/dpkg")
    by_another = only(live, written("/etc/cron.d/x", Actor(12, 12))).data.file
    assert by_dpkg
    assert by_another
    assert (by_dpkg.package_manager, by_another.package_manager) == ("dpkg", "")
