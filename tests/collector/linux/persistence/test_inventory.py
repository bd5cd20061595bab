"""The inventory finds what every mechanism starts, and survives whatever is in the files."""

import base64
import hashlib
import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.persistence.inventory import Inventory, entries, every_place, mechanisms, take
from shield.collector.linux.persistence.item import Item
from shield.collector.linux.persistence.place import Found, Place
from shield.collector.linux.persistence.root import NAMES_MOST, Root

KEY = base64.b64encode(b"\0\0\0\x0bssh-ed25519" + bytes(36)).decode()
FINGERPRINT = "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(KEY)).digest()).decode().rstrip("=")
ALICE = "alice:x:1000:1000::/home/alice:/bin/bash\n"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below a root folder in which alice has a home."""

    def writer(path: str, content: str | bytes = "", mode: int = 0o644) -> Path:
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
        return file

    writer("/etc/passwd", "root:x:0:0::/root:/bin/bash\n" + ALICE)
    (tmp_path / "home/alice").mkdir(parents=True)
    return writer


def inventory(root: Path, only: str = "") -> Inventory:
    return take(Root(str(root)), only=only)


def items(root: Path) -> list[Item]:
    return list(inventory(root).items)


# Files that count as a whole: the mechanism, when it runs, and as whom.
WHOLE = {
    "/usr/local/lib/systemd/system-generators/g": ("systemd_generator", "boot and reload", "root"),
    "/usr/lib/systemd/system-sleep/s": ("systemd_sleep_hook", "sleep and wake", "root"),
    "/usr/lib/systemd/system-shutdown/s": ("systemd_shutdown_hook", "shutdown", "root"),
    "/etc/init.d/x": ("init_script", "boot", "root"),
    "/etc/profile.d/x.sh": ("shell_startup", "shell start", "every user"),
    "/home/alice/.bashrc": ("shell_startup", "shell start", "alice"),
    "/home/alice/.xprofile": ("session_startup", "desktop login", "alice"),
    "/usr/lib/x86_64-linux-gnu/security/pam_x.so": ("pam_module", "loaded by PAM", "root"),
    "/home/alice/.ssh/rc": ("ssh_rc", "ssh login", "alice"),
    "/home/alice/.mozilla/firefox/p.default/extensions/x.xpi": ("browser_extension", "browser start", "alice"),
    "/etc/chromium/policies/managed/x.json": ("browser_policy", "browser start", "every user"),
    "/usr/lib/python3.11/sitecustomize.py": ("python_startup", "python start", "every user"),
}

# A file with its content, and the mechanism, name, command, trigger and user of what it starts.
FOUND = [
    (
        "/etc/crontab",
        "PATH=/bin\n17 * * * * root run-parts /x\n",
        ("cron", "run-parts", "run-parts /x", "17 * * * *", "root"),
    ),
    ("/etc/cron.d/job", "@reboot www-data /opt/x --y\n", ("cron", "x", "/opt/x --y", "@reboot", "www-data")),
    ("/var/spool/cron/crontabs/alice", "# x\n0 1 * * * ~/b\n", ("cron", "b", "~/b", "0 1 * * *", "alice")),
    ("/var/spool/cron/root", "0 1 * * * /b\n", ("cron", "b", "/b", "0 1 * * *", "root")),
    (
        "/etc/anacrontab",
        "7 10 weekly nice run\n",
        ("anacron", "weekly", "nice run", "every 7 days, after 10 minutes", "root"),
    ),
    (
        "/var/spool/cron/atjobs/a00012018f1a00",
        "#!/bin/sh\n# atrun uid=1000 gid=1000\numask 22\n/tmp/x\n",
        ("at", "18", "/tmp/x", "once, 2019-09-24T13:20Z", "#1000"),
    ),
    (
        "/etc/systemd/system/a.service",
        "[Service]\nUser=www-data\nExecStart=/opt/a \\\n  -v\n[Install]\nWantedBy=x.target\n",
        ("systemd_service", "a.service", "/opt/a  -v", "WantedBy=x.target", "www-data"),
    ),
    (
        "/usr/lib/systemd/system/a.timer",
        "[Timer]\nOnCalendar=daily\n",
        ("systemd_timer", "a.timer", "a.service", "OnCalendar=daily", "root"),
    ),
    (
        "/run/systemd/system/a.socket",
        "[Socket]\nListenStream=80\nService=b.service\n",
        ("systemd_socket", "a.socket", "b.service", "ListenStream=80", "root"),
    ),
    (
        "/home/alice/.config/systemd/user/a.path",
        "[Path]\nPathChanged=/x\n",
        ("systemd_path", "a.path", "a.service", "PathChanged=/x", "alice"),
    ),
    (
        "/etc/systemd/system/ssh.service.d/a.conf",
        "[Service]\nExecStartPost=/x\nEnvironment=LD_PRELOAD=/e.so\n",
        ("systemd_drop_in", "ssh.service.d/a.conf", "/x", "Environment=LD_PRELOAD=/e.so", "root"),
    ),
    ("/etc/environment.d/9.conf", "A=b\n", ("systemd_environment", "A", "A=b", "every user session", "")),
    (
        "/etc/inittab",
        "1:2345:respawn:/sbin/getty tty1\n",
        ("inittab", "1", "/sbin/getty tty1", "respawn at run levels 2345", "root"),
    ),
    (
        "/home/alice/.config/autostart/.u.desktop",
        "[Desktop Entry]\nName=U\nExec=/x\nHidden=false\n",
        ("xdg_autostart", "U", "/x", "desktop login; Hidden=false", "alice"),
    ),
    ("/etc/ld.so.preload", "/lib/a.so # b\n", ("ld_preload", "a.so", "/lib/a.so", "every program", "every user")),
    (
        "/etc/environment",
        'LANG=C\nLD_PRELOAD="/x.so"\n',
        ("ld_preload", "LD_PRELOAD", "/x.so", "every login", "every user"),
    ),
    (
        "/etc/ld.so.conf.d/x.conf",
        "/opt/lib\n",
        ("library_folder", "/opt/lib", "/opt/lib", "every program", "every user"),
    ),
    ("/etc/modules-load.d/x.conf", "; c\nevil x=1\n", ("kernel_module", "evil", "modprobe evil x=1", "boot", "root")),
    (
        "/etc/modprobe.d/x.conf",
        "options a b=1\ninstall usb /tmp/x\n",
        ("kernel_module", "install usb", "/tmp/x", "modprobe usb", "root"),
    ),
    (
        "/etc/udev/rules.d/9.rules",
        'ACTION=="add", KERNEL=="sd*", RUN+="/tmp/x $kernel"\nKERNEL=="a", MODE="1"\n',
        ("udev_rule", "RUN x", "/tmp/x $kernel", 'ACTION=="add", KERNEL=="sd*"', "root"),
    ),
    (
        "/etc/pam.d/sshd",
        "@include common\nauth [success=1 default=ignore] pam_exec.so quiet /x # c\n",
        ("pam", "auth pam_exec.so", "pam_exec.so quiet /x", "sshd: auth [success=1 default=ignore]", "root"),
    ),
    (
        "/home/alice/.ssh/authorized_keys",
        f'no-pty,command="/bin/x -y" ssh-ed25519 {KEY} me@here\n',
        ("ssh_key", f"ssh-ed25519 {FINGERPRINT} me@here", "/bin/x -y", "ssh login; forced command; no-pty", "alice"),
    ),
    (
        "/etc/ssh/sshd_config",
        "Port 22\nMatch User git\n  ForceCommand /x\n",
        ("ssh_server", "ForceCommand", "/x", "User git", "root"),
    ),
    (
        "/home/alice/.ssh/config",
        "Host *\n ProxyCommand /x %h\n",
        ("ssh_client", "ProxyCommand x", "/x %h", "ssh", "alice"),
    ),
    ("/etc/gitconfig", "[core]\n\thooksPath = /x\n", ("git_setting", "hooksPath", "/x", "git", "every user")),
    (
        "/etc/apache2/mods-enabled/x.load",
        "LoadModule x_module /x.so\n",
        ("web_server_module", "x_module", "/x.so", "apache start", "root"),
    ),
    (
        "/etc/nginx/nginx.conf",
        "load_module modules/x.so;\n",
        ("web_server_module", "x.so", "modules/x.so", "nginx start", "root"),
    ),
    (
        "/etc/php/8.2/fpm/conf.d/x.ini",
        "auto_prepend_file=/x.php\n",
        ("web_server_module", "auto_prepend_file x.php", "/x.php", "every PHP script", ""),
    ),
    (
        "/home/alice/.config/chromium/Default/Extensions/abc/1/manifest.json",
        '{"name":"N","version":"1","permissions":["tabs",{}]}',
        (
            "browser_extension",
            "abc N 1",
            "/home/alice/.config/chromium/Default/Extensions/abc/1/manifest.json",
            "browser start; may use: tabs",
            "alice",
        ),
    ),
    (
        "/etc/chromium/native-messaging-hosts/x.json",
        '{"name":"n","path":"/x"}',
        ("browser_native_host", "n", "/x", "asked for by an extension", "every user"),
    ),
    (
        "/usr/share/dbus-1/system-services/x.service",
        "[D-BUS Service]\nName=org.x\nExec=/x\nUser=root\n",
        ("dbus_service", "org.x", "/x", "call of org.x", "root"),
    ),
    (
        "/etc/apt/apt.conf.d/99x",
        '// "no"\nDPkg::Post-Invoke {"/tmp/x || true";};\n',
        ("package_manager_hook", "DPkg::Post-Invoke x", "/tmp/x || true", "DPkg::Post-Invoke", "root"),
    ),
    (
        "/usr/lib/python3/dist-packages/x.pth",
        "/opt/p\nimport os; os.system('x')\n",
        ("python_startup", "x.pth", "import os; os.system('x')", "python start", "every user"),
    ),
    (
        "/etc/network/interfaces",
        "iface eth0 inet dhcp\n  post-up /x\n",
        ("network_hook", "post-up x", "/x", "post-up of eth0", "root"),
    ),
]

PROGRAMS = {
    "/etc/cron.daily/x": "cron_script",
    "/etc/rc.local": "rc_local",
    "/etc/update-motd.d/9-x": "motd_script",
    "/etc/NetworkManager/dispatcher.d/9-x": "network_hook",
    "/srv/repo.git/hooks/post-receive": "git_hook",
    "/opt/app/.git/hooks/pre-commit": "git_hook",
}


@pytest.mark.parametrize(("path", "content", "expected"), FOUND, ids=[one[0] for one in FOUND])
def test_what_a_file_starts_is_found(
    path: str, content: str | bytes, expected: tuple[str, ...], write: Write, tmp_path: Path
) -> None:
    file = write(path, content)
    (item,) = items(tmp_path)
    assert (item.mechanism, item.name, item.command, item.trigger, item.run_as) == expected
    assert item.path == path
    assert item.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(("path", "expected"), WHOLE.items())
def test_a_file_that_is_run_or_read_as_a_whole_is_found(
    path: str, expected: tuple[str, ...], write: Write, tmp_path: Path
) -> None:
    write(path, b"\x7fELF\0")
    (item,) = items(tmp_path)
    assert (item.mechanism, item.trigger, item.run_as) == expected
    assert (item.path, item.command, item.name) == (path, path, path.rpartition("/")[2])


@pytest.mark.parametrize(("path", "mechanism"), PROGRAMS.items())
def test_a_program_counts_only_if_it_may_be_run(path: str, mechanism: str, write: Write, tmp_path: Path) -> None:
    file = write(path, "#!/bin/sh\n", 0o755)
    assert [(one.mechanism, one.path, one.mode) for one in items(tmp_path)] == [(mechanism, path, 0o755)]
    file.chmod(0o644)
    assert items(tmp_path) == []


def test_every_mechanism_is_tested_here(write: Write, tmp_path: Path) -> None:
    tested = (
        {one[2][0] for one in FOUND} | {one[0] for one in WHOLE.values()} | set(PROGRAMS.values()) | {"systemd_enabled"}
    )
    assert tested == set(mechanisms())


def test_links_that_enable_are_items_of_their_own(write: Write, tmp_path: Path) -> None:
    write("/etc/systemd/system/a.service", "[Service]\nExecStart=/a\n")
    for link in ("etc/systemd/system/x.target.wants/a.service", "etc/rc2.d/S01a"):
        (tmp_path / link).parent.mkdir(parents=True)
        (tmp_path / link).symlink_to("/etc/systemd/system/a.service")
    (tmp_path / "etc/systemd/system/b.service").symlink_to("/dev/null")
    found = {(one.mechanism, one.name, one.command, one.trigger) for one in items(tmp_path)}
    assert found == {
        ("systemd_service", "a.service", "/a", ""),
        ("systemd_service", "b.service", "", "masked"),
        ("systemd_enabled", "x.target.wants/a.service", "/etc/systemd/system/a.service", "x.target.wants"),
        ("init_script", "S01a", "/etc/systemd/system/a.service", "start at run level 2"),
    }


def test_a_folder_that_has_two_names_is_listed_once(write: Write, tmp_path: Path) -> None:
    write("/usr/lib/systemd/system/a.service", "[Service]\nExecStart=/a\n")
    (tmp_path / "lib").symlink_to("usr/lib")
    assert [one.path for one in items(tmp_path)] == ["/usr/lib/systemd/system/a.service"]


def test_a_service_users_keys_are_found_in_their_home(write: Write, tmp_path: Path) -> None:
    write("/etc/passwd", "postgres:x:999:999::/var/lib/postgresql:/bin/false\n")
    write("/var/lib/postgresql/.ssh/authorized_keys", f"ssh-ed25519 {KEY}\n")
    assert [one.run_as for one in items(tmp_path)] == ["postgres"]


def test_homes_of_users_that_are_in_no_password_file_are_searched(write: Write, tmp_path: Path) -> None:
    write("/home/ldap/.bashrc", "x")
    assert [one.run_as for one in items(tmp_path)] == ["ldap"]


def test_a_link_out_of_the_root_leads_nowhere(write: Write, tmp_path: Path) -> None:
    (tmp_path / "etc/cron.d").mkdir()
    (tmp_path / "etc/cron.d/x").symlink_to("/../../../../../../etc/passwd")
    outside = tmp_path / "etc/passwd"
    (found,) = [Root(str(tmp_path)).find("/etc/cron.d/x")]
    assert found is not None
    assert found.content == outside.read_bytes()


def test_links_in_a_circle_end(write: Write, tmp_path: Path) -> None:
    (tmp_path / "etc/cron.d").symlink_to("cron.e")
    (tmp_path / "etc/cron.e").symlink_to("cron.d")
    (tmp_path / "etc/crontab").symlink_to("crontab")
    found = inventory(tmp_path)
    assert found.items == ()
    assert "/etc/cron.d" in found.unreadable


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
def test_a_users_link_does_not_make_root_read_what_only_root_may(write: Write, tmp_path: Path) -> None:
    write("/etc/shadow", "root:$6$secret:1::::::\n", 0o600)
    link = tmp_path / "home/alice/.bashrc"
    link.symlink_to("/etc/shadow")
    os.lchown(link, 1000, 1000)
    found = Root(str(tmp_path)).find("/home/alice/.bashrc")
    assert found is not None
    assert found.content == b""
    assert "link" in found.gap


def test_pipes_sockets_and_folders_are_not_read(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "etc/cron.d"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    assert items(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_can_not_be_read_is_named(write: Write, tmp_path: Path) -> None:
    write("/etc/cron.d/x", "* * * * * root x", 0)
    assert list(inventory(tmp_path).unreadable) == ["/etc/cron.d/x"]


def test_a_folder_with_too_many_files_is_named(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "etc/update-motd.d"
    folder.mkdir()
    for number in range(NAMES_MOST + 1):
        os.mknod(folder / str(number))
    assert "/etc/update-motd.d" in inventory(tmp_path, "motd_script").unreadable


def test_names_of_any_bytes_are_kept(write: Write, tmp_path: Path) -> None:
    write("/etc/cron.d/x")
    hostile = Path(os.fsdecode(os.fsencode(tmp_path) + b"/etc/cron.d/\xff\x1b[31m"))
    hostile.write_bytes(b"* * * * * root /bin/\xfe\n")
    (item,) = items(tmp_path)
    assert item.path == "/etc/cron.d/\uefff\x1b[31m"
    assert item.command == "/bin/\ueffe"


def test_secrets_on_command_lines_are_taken_out(write: Write, tmp_path: Path) -> None:
    write("/etc/cron.d/x", "* * * * * root backup --password hunter2 --all\n")
    (item,) = items(tmp_path)
    assert item.command == "backup --password [redacted] --all"


def test_only_one_mechanism_is_listed_when_it_is_named(write: Write, tmp_path: Path) -> None:
    write("/etc/crontab", "* * * * * root x\n")
    write("/etc/profile", "")
    assert [one.mechanism for one in inventory(tmp_path, "cron").items] == ["cron"]


def test_the_package_that_owns_a_file_is_asked_for(write: Write, tmp_path: Path) -> None:
    write("/etc/profile", "")
    (item,) = take(Root(str(tmp_path)), {"/etc/profile": "base-files"}.__getitem__).items
    assert item.package == "base-files"


lines = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([part.encode() for one in FOUND for part in str(one[1]).split("\n")]),
        st.sampled_from([b"[Service]", b"ExecStart=\\", b"@reboot", b'"', b"{", b'RUN+="', b"auth [", b"import "]),
    ),
    max_size=12,
).map(b"\n".join)


@pytest.mark.parametrize("place", {place.parse: place for place in every_place()}.values(), ids=lambda one: one.pattern)
@given(content=lines)
def test_no_content_makes_a_parser_fail(place: Place, content: bytes) -> None:
    name = "a00012018f1a00" if place.mechanism == "at" else "S01x"
    found = Found(f"/a/b/c/{name}", 0o755, 0, 0, len(content), (), content, user="alice")
    for one in entries(place, found):
        assert len(one.command) <= 2048
        assert max(map(len, (one.name, one.trigger, one.run_as))) <= 256


def test_a_huge_file_costs_little(write: Write, tmp_path: Path) -> None:
    write("/etc/cron.d/x", b"* * * * * root x\n" * 1_000_000)
    write("/etc/udev/rules.d/x.rules", b'RUN="' * 1_000_000)
    write("/etc/apt/apt.conf.d/x", b"Pre-Invoke {" * 100_000)
    assert max(Counter(one.path for one in items(tmp_path)).values()) == 1000
