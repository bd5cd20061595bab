"""Logins on a real host: a real syslog daemon that rotates its log, a real sshd, and a follower that is killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from shield.collector.linux.identity.source import IdentityOptions, IdentitySource
from shield.collector.linux.netlink import message, open_socket
from shield.collector.linux.process.audit_control import NETLINK_AUDIT, AuditControl
from shield.normalizer.log import LogNormalizer
from shield.record import LogRecord

RSYSLOGD, SSHD = shutil.which("rsyslogd"), shutil.which("sshd")
CONFIGURATION = """
module(load="imuxsock" SysSock.Use="off")
global(workDirectory="{folder}")
template(name="classic" type="string" string="%TIMESTAMP% %HOSTNAME% %syslogtag%%msg:::sp-if-no-1st-sp%%msg%\\n")
input(type="imuxsock" Socket="{folder}/dev-log" CreatePath="off" RateLimit.Interval="0")
auth,authpriv.* action(type="omfile" file="{folder}/auth.log" template="classic")
"""
FOLLOWER = """
import os, sys, time
from pathlib import Path
import msgspec
from shield.collector.linux.process.audit_control import NETLINK_AUDIT, AuditControl
from shield.collector.linux.identity.source import IdentityOptions, IdentitySource
folder, kept = Path(sys.argv[1]), Path(sys.argv[2])
nowhere = folder / "none"
options = IdentityOptions(
    logs=(folder / "auth.log",), journald=nowhere, wtmp=nowhere, btmp=nowhere, audit=False, interval=0.02
)
source = IdentitySource(options)
number = max((int(path.name) for path in kept.iterdir() if path.suffix == ""), default=0)
if number:
    source.restore(msgspec.msgpack.decode((kept / str(number)).read_bytes())[1])
source.open()
while True:
    messages = [record.message for record in source.read()]
    number += 1
    part = kept / f"{number}.part"
    part.write_bytes(msgspec.msgpack.encode((messages, source.state())))
    os.rename(part, kept / str(number))
    time.sleep(options.interval)
"""


def until(true: Callable[[], bool], most_s: float = 30) -> None:
    end = time.monotonic() + most_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run rsyslogd by its own configuration, with all its files in a folder of its own."""
    if RSYSLOGD is None:
        pytest.skip("rsyslogd is not installed")
    (tmp_path / "rsyslog.conf").write_text(CONFIGURATION.format(folder=tmp_path))
    arguments = [RSYSLOGD, "-n", "-f", str(tmp_path / "rsyslog.conf"), "-i", str(tmp_path / "pid")]
    daemon = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until((tmp_path / "dev-log").exists)
        yield daemon
    finally:
        daemon.terminate()
        daemon.wait(10)


def send(folder: Path, numbers: range) -> None:
    """Write failed logins to the daemon's socket, as sshd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.connect(str(folder / "dev-log"))
        for number in numbers:
            stamp = time.strftime("%b %e %H:%M:%S")
            message = f"Failed password for root from 192.0.2.9 port {number} ssh2"
            log.send(f"<38>{stamp} sshd[{number}]: {message}".encode())


def written(folder: Path, last: int) -> Callable[[], bool]:
    return lambda: f" port {last} ".encode() in (folder / "auth.log").read_bytes()


def follow(folder: Path, kept: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", FOLLOWER, str(folder), str(kept)])


def told(kept: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in kept.iterdir():
        if not path.suffix:
            found.update(msgspec.msgpack.decode(path.read_bytes())[0])
    return found


def test_two_thousand_failures_through_rotations_and_a_kill_are_told_exactly_once(
    tmp_path: Path, syslog: subprocess.Popen[bytes]
) -> None:
    log, kept = tmp_path / "auth.log", tmp_path / "kept"
    kept.mkdir()
    log.touch()
    follower = follow(tmp_path, kept)
    try:
        until((kept / "1").exists)
        send(tmp_path, range(1, 501))
        until(lambda: bool(told(kept)))
        follower.kill()
        follower.wait()
        send(tmp_path, range(501, 751))
        until(written(tmp_path, 750))
        log.rename(tmp_path / "auth.log.1")
        log.touch()
        send(tmp_path, range(751, 851))  # the daemon still writes to the old file
        syslog.send_signal(signal.SIGHUP)
        send(tmp_path, range(851, 1001))
        follower = follow(tmp_path, kept)
        send(tmp_path, range(1001, 1501))
        until(written(tmp_path, 1500))
        (tmp_path / "auth.log.1").rename(tmp_path / "auth.log.2")
        shutil.copyfile(log, tmp_path / "auth.log.1")
        os.truncate(log, 0)
        send(tmp_path, range(1501, 2001))
        until(lambda: told(kept).total() >= 2000)
        until(lambda: log.stat().st_size > 0)
        time.sleep(0.3)  # for what might be told twice
    finally:
        follower.kill()
        follower.wait()
    found = told(kept)
    wanted = [f"Failed password for root from 192.0.2.9 port {number} ssh2" for number in range(1, 2001)]
    assert found == Counter(wanted)


def only_text(folder: Path) -> IdentityOptions:
    none = folder / "none"
    return IdentityOptions(logs=(folder / "auth.log",), journald=none, wtmp=none, btmp=none, audit=False)


def test_what_syslog_passes_on_becomes_events_as_recorded_lines_do(
    tmp_path: Path, syslog: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "auth.log").touch()
    source = IdentitySource(only_text(tmp_path))
    source.open()
    before = time.time_ns()
    send(tmp_path, range(1, 2))
    until(written(tmp_path, 1))
    (record,) = source.read()
    source.close()
    assert isinstance(record, LogRecord)
    event = LogNormalizer("live").event(record, 0)
    assert abs(event.ts_ns - before) < 3_000_000_000
    assert (event.category, event.host) == ("auth_failure", socket.gethostname().partition(".")[0])
    assert event.data.auth is not None
    assert (event.data.auth.service, event.data.auth.method) == ("sshd", "password")
    assert event.data.network is not None
    assert (event.data.network.source_ip, event.data.network.source_port) == ("192.0.2.9", 1)


SSHD_CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
SyslogFacility AUTH
"""


@pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason="openssh is not installed")
def test_a_real_ssh_login_is_told_with_its_key_and_a_refused_one_as_a_failure(tmp_path: Path) -> None:
    assert SSHD is not None
    for name in ("host_key", "right", "wrong"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    shutil.copyfile(tmp_path / "right.pub", tmp_path / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "sshd_config").write_text(SSHD_CONFIGURATION.format(folder=tmp_path, port=port))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = tmp_path / "auth.log"
    log.touch()
    source = IdentitySource(only_text(tmp_path))
    source.open()
    # sshd writes to its standard error what it would send to syslog; that becomes the lines of a log here.
    arguments = [SSHD, "-D", "-e", "-f", str(tmp_path / "sshd_config")]
    daemon = subprocess.Popen(arguments, stderr=subprocess.PIPE)
    try:
        until((tmp_path / "sshd.pid").exists)
        codes = [_log_in(tmp_path / key, user, port) for key, user in (("right", "root"), ("wrong", "nobody-here"))]
    finally:
        daemon.terminate()
        _, said = daemon.communicate(timeout=10)
    assert codes == [0, 255]
    stamp = time.strftime("%b %e %H:%M:%S")
    log.write_text(
        "".join(f"{stamp} here sshd[{daemon.pid}]: {line.rstrip()}\n" for line in said.decode().splitlines())
    )
    records = source.read()
    source.stop()
    records += source.read()
    source.close()
    events = [LogNormalizer("live").event(record, 0) for record in records if isinstance(record, LogRecord)]
    (accepted,) = [event for event in events if event.category == "auth_success"]
    (refused,) = [event for event in events if event.category == "auth_failure"]
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "right.pub")], capture_output=True, text=True, check=True
    )
    assert accepted.data.auth is not None
    assert (accepted.data.auth.method, accepted.data.auth.key_type) == ("publickey", "ED25519")
    assert accepted.data.auth.key_fingerprint == shown.stdout.split()[1]
    assert accepted.data.user is not None
    assert accepted.data.user.name == "root"
    assert refused.data.user is not None
    assert refused.data.user.name == "nobody-here"
    assert refused.data.network is not None
    assert refused.data.network.source_ip == "127.0.0.1"


def _log_in(key: Path, user: str, port: int) -> int:
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=10")
    arguments = [part for option in options for part in ("-o", option)]
    command = ["ssh", "-F", "none", "-q", *arguments, "-i", str(key), "-p", str(port), f"{user}@127.0.0.1", "true"]
    return subprocess.run(command, timeout=30, stdin=subprocess.DEVNULL, check=False).returncode


@pytest.fixture
def auditing() -> Iterator[None]:
    """Have the kernel's audit system switched on, as on a host with auditd."""
    try:
        control = AuditControl()
        enabled = control.status().enabled
        if enabled == 0:
            control.change(enabled=1)
    except OSError as error:
        pytest.skip(f"audit is not permitted here: {error}")
    try:
        yield
    finally:
        if enabled == 0:
            control.change(enabled=0)
        control.close()


def test_what_programs_tell_the_audit_system_is_received_beside_whoever_reads_it(
    tmp_path: Path, auditing: None
) -> None:
    none = tmp_path / "none"
    source = IdentitySource(IdentityOptions((none / "auth.log",), none, none, none, none, audit=True, hold=0))
    source.open()
    exe = "/usr/sbin/sshd"
    with open_socket(NETLINK_AUDIT) as program:
        for kind, result in (
            (1100, "failed"),
            (1112, "failed"),
            (1100, "success"),
            (1101, "success"),
            (1112, "success"),
        ):
            text = f'op=login acct="alice" exe="{exe}" hostname=? addr=192.0.2.9 terminal=ssh res={result}\0'
            program.send(message(kind, text.encode()))
    events = [LogNormalizer("live").event(record, 0) for record in _read(source, 2)]
    count = source.count()
    source.close()
    assert [event.category for event in events] == ["auth_failure", "auth_success"]
    assert all(event.data.process is not None and event.data.process.pid == os.getpid() for event in events)
    assert count.filtered == {"told_by_other_record": 2}, "and the kernel left out what is of no other interest"


def _read(source: IdentitySource, number: int) -> list[LogRecord]:
    found: list[LogRecord] = []

    def enough() -> bool:
        found.extend(record for record in source.read() if isinstance(record, LogRecord))
        return len(found) >= number

    until(enough)
    return found
