"""Which mounts are marked as a whole."""

from shield.collector.linux.files.fanotify_marks import holding, worth_marking
from shield.collector.linux.kernel.mounts import Mount


def mount(number: int, point: str, kind: str = "ext4", options: str = "rw,relatime", root: str = "/") -> Mount:
    return Mount(number, root, point, options, kind, "/dev/x", "rw")


MOUNTS = [
    mount(1, "/"),
    mount(2, "/proc", "proc"),
    mount(3, "/home", "xfs", "rw,nosuid"),
    mount(4, "/data"),
    mount(5, "/mnt/ro", options="ro"),
    mount(6, "/tmp", "tmpfs", "rw,nosuid,nodev"),
    mount(7, "/net", "nfs4"),
    mount(8, "/srv/bind", root="/sub"),
]


def test_file_systems_with_sensitive_places_come_first_those_with_most_of_them_before() -> None:
    chosen = worth_marking(MOUNTS, ["/etc", "/etc/cron.d", "/usr/bin", "/home", "/net/www"])
    assert [(one.point, wanted) for one, wanted in chosen[:3]] == [("/", True), ("/home", True), ("/net", True)]


def test_others_are_marked_where_a_program_can_gain_power() -> None:
    chosen = worth_marking(MOUNTS, ["/etc"])
    assert [one.point for one, wanted in chosen if not wanted] == ["/data", "/srv/bind"]


def test_a_path_is_in_the_mount_nearest_to_it_and_the_last_of_those() -> None:
    over = mount(9, "/home")
    found = holding("/home/alice", [*MOUNTS, over])
    assert found is over
    assert holding("/homework", MOUNTS) is MOUNTS[0]
    assert holding("/x", []) is None
