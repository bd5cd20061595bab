"""Tables of mounts, and what changed between two of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.kernel.mounts import Mount, changes, parse_mount, remounted

LINE = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue"


def mount(number: int, point: str, options: str = "rw,relatime", super_options: str = "rw") -> bytes:
    return f"{number} 1 0:40 / {point} {options} shared:1 - tmpfs tmpfs {super_options}".encode()


def test_a_line_is_read_with_its_escapes() -> None:
    assert parse_mount(LINE) == Mount(36, "/mnt1", "/mnt 2", "rw,noatime", "ext3", "/dev/root", "rw,errors=continue")


@pytest.mark.parametrize("line", [b"", b"x", b" - ", LINE.replace(b" - ", b" "), LINE.replace(b"36", b"ab", 1)])
def test_a_line_in_another_form_is_nothing(line: bytes) -> None:
    assert parse_mount(line) is None


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_garbage_never_raises(garbage: bytes, name: bytes) -> None:
    parse_mount(garbage)
    parse_mount(LINE.replace(b"/mnt1", name) + garbage)
    list(changes({garbage}, {name, LINE}))


def test_what_came_what_went_and_what_has_other_options() -> None:
    gone = {mount(1, "/etc"), mount(2, "/usr"), mount(3, "/bin")}
    added = {mount(2, "/usr", "ro,relatime"), mount(3, "/lib"), mount(4, "/sbin")}
    found = [(one.kind, one.mount.point) for one in changes(gone, added)]
    assert found == [
        ("unmount", "/etc"),
        ("remount", "/usr"),
        ("unmount", "/bin"),
        ("mount", "/lib"),
        ("mount", "/sbin"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (("ro,noexec", "rw"), ("rw,noexec", "rw"), True),
        (("rw,relatime", "ro"), ("rw,relatime", "rw"), True),
        (("rw,noexec", "rw"), ("rw", "rw"), True),
        (("rw", "rw,hidepid=2"), ("rw", "rw"), True),
        (("rw", "rw"), ("ro", "rw"), False),
        (("rw,relatime", "rw"), ("rw,noatime", "rw"), False),
    ],
)
def test_only_a_remount_that_takes_protection_away_is_told(
    old: tuple[str, str], new: tuple[str, str], told: bool
) -> None:
    before, after = (parse_mount(mount(1, "/srv", *options)) for options in (old, new))
    assert before is not None
    assert after is not None
    found = remounted(before, after)
    assert isinstance(found, str) != told
    if not isinstance(found, str):
        assert found.old_options != found.options
