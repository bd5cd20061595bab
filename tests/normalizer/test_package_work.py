"""What counts as the work of a package manager, and what only looks like it."""

import pytest

from shield.event import Ancestor, Process
from shield.normalizer.package_work import package_manager

SHELL = Ancestor(pid=10, exe="/usr/bin/bash", cmdline="bash")


@pytest.mark.parametrize(
    ("exe", "name"),
    [
        ("/usr/bin/dpkg", "dpkg"),
        ("/usr/bin/dpkg-deb", "dpkg"),
        ("/usr/bin/apt-get", "apt"),
        ("/bin/rpm", "rpm"),
        ("/usr/bin/dnf5", "dnf"),
        ("/sbin/apk", "apk"),
        ("/usr/bin/pacman", "pacman"),
        ("/usr/lib/snapd/snapd", "snapd"),
        ("/snap/snapd/21759/usr/lib/snapd/snapd", "snapd"),
    ],
)
def test_a_package_manager_is_known_by_its_full_path(exe: str, name: str) -> None:
    assert package_manager(Process(pid=1, exe=exe), ()) == name


@pytest.mark.parametrize(
    ("exe", "cmdline", "name"),
    [
        ("/usr/bin/python3.11", "/usr/bin/python3 /usr/bin/unattended-upgrade --download-only", "unattended-upgrades"),
        ("/usr/bin/python3.9", "/usr/bin/python3 -s /usr/bin/dnf install nginx", "dnf"),
        ("/usr/libexec/platform-python3.6", "/usr/libexec/platform-python /usr/bin/dnf upgrade", "dnf"),
        ("/usr/bin/dash", "/bin/sh /usr/lib/apt/apt.systemd.daily install", "apt"),
        ("/usr/bin/perl", "/usr/bin/perl -w /usr/sbin/dpkg-reconfigure tzdata", "dpkg"),
    ],
)
def test_one_that_is_a_script_is_known_by_the_script(exe: str, cmdline: str, name: str) -> None:
    assert package_manager(Process(pid=1, exe=exe, cmdline=cmdline), ()) == name


def test_a_script_of_a_package_is_the_work_of_what_installs_it() -> None:
    postinst = Process(pid=3, exe="/usr/bin/dash", cmdline="/bin/sh /var/lib/dpkg/info/nginx.postinst configure")
    above = (Ancestor(pid=2, exe="/usr/bin/dpkg"), Ancestor(pid=1, exe="/usr/bin/apt-get"), SHELL)
    assert package_manager(postinst, above) == "dpkg"


@pytest.mark.parametrize(
    ("exe", "cmdline"),
    [
        ("/tmp/dpkg", "/usr/bin/dpkg -i x.deb"),
        ("/home/alice/usr/bin/dpkg", "dpkg"),
        ("/usr/bin/dpkg/../../../tmp/x", "dpkg"),
        ("/usr/bin/bash", "dpkg -i"),
        ("/usr/bin/perl", "perl -e /usr/bin/dnf ; system 'id'"),
        ("/usr/bin/perl", "perl -E /usr/bin/dnf"),
        ("/usr/bin/python3.11", "python3 -c /usr/bin/dnf"),
        ("/usr/bin/python3.11", "python3 evil.py /usr/bin/dnf"),
        ("/tmp/python3", "python3 /usr/bin/dnf"),
        ("/usr/bin/bash", "bash -s /usr/bin/apt-key"),
        ("/usr/bin/python3.11", "python3"),
        ("/usr/bin/dpkg\n", ""),
        ("", ""),
    ],
)
def test_a_name_or_an_argument_makes_no_package_manager(exe: str, cmdline: str) -> None:
    assert not package_manager(Process(pid=1, exe=exe, cmdline=cmdline), (SHELL,))


def test_nothing_is_known_of_an_unknown_process() -> None:
    assert not package_manager(None, ())
