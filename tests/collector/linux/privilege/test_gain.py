"""Which change of credentials is a gain of power."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.privilege import gain
from shield.collector.linux.privilege.image import Image
from shield.collector.linux.privilege.task_status import Credentials
from shield.event import Privilege

ALL = (1 << 41) - 1
ADMIN = 1 << 21
USER = Credentials(1000, 1000, 1000, 1000, 1000)
KEPT_A_WAY = Credentials(1000, 1000, 0, 1000, 1000, ALL, 0)
ROOT = Credentials(0, 0, 0, 0, 0, ALL, ALL)
PYTHON = Image("/usr/bin/python3", 0o100755, 0, 0)
SUDO = Image("/usr/bin/sudo", 0o104755, 0, 0)
SSHD = Image("/usr/sbin/sshd", 0o100755, 0, 0)


def test_a_flaw_in_the_kernel_is_told_with_all_it_gave() -> None:
    told = gain.of_user(USER, ROOT, PYTHON)
    assert isinstance(told, Privilege)
    assert (told.old_id, told.new_id) == (1000, 0)
    assert len(told.gained) == 41


def test_the_way_back_that_a_process_kept_is_told_without_a_capability() -> None:
    told = gain.of_user(KEPT_A_WAY, KEPT_A_WAY._replace(euid=0, effective=ALL), PYTHON)
    assert told == Privilege(kind="user_id", old_id=1000, new_id=0)


@pytest.mark.parametrize(
    ("old", "new", "image", "why"),
    [
        (ROOT, USER, PYTHON, "not_root"),
        (USER, USER._replace(euid=1001), PYTHON, "not_root"),
        (ROOT, ROOT._replace(uid=1000), PYTHON, "was_root"),
        (USER, ROOT._replace(uid=1000), SUDO, "setuid_program"),
        (KEPT_A_WAY, KEPT_A_WAY._replace(euid=0), SSHD, "known_program"),
        (USER, ROOT._replace(uid=1000), PYTHON, "program_replaced"),
    ],
)
def test_what_happens_all_day_is_not_told(old: Credentials, new: Credentials, image: Image, why: str) -> None:
    assert gain.of_user(old, new, image) == why


@pytest.mark.parametrize(
    "image",
    [
        Image("/tmp/sshd", 0o100755, 0, 0),
        Image("/home/eve/sudo", 0o104755, 0, 0),
        Image("/usr/bin/sshd", 0o100755, 1000, 0),
        Image("/usr/bin/sudo", 0o104755, 1000, 0),
    ],
)
def test_a_name_or_a_place_alone_excuses_nothing(image: Image) -> None:
    assert isinstance(gain.of_user(USER, ROOT, image), Privilege)
    assert isinstance(gain.of_user(KEPT_A_WAY, ROOT, image), Privilege)


def test_a_known_program_that_gains_what_it_could_not_have_is_told() -> None:
    assert isinstance(gain.of_user(USER, ROOT, SSHD), Privilege)


def test_groups_that_lead_to_root_are_told() -> None:
    new = USER._replace(gid=42, egid=42)
    assert gain.of_group(USER, new, PYTHON, "shadow") == Privilege(kind="group_id", old_id=1000, new_id=42)
    assert gain.of_group(USER, new, PYTHON, "audio") == "ordinary_group"
    assert gain.of_group(USER, USER, PYTHON, "shadow") == "ordinary_group"
    assert gain.of_group(ROOT, new, PYTHON, "shadow") == "was_root"
    assert gain.of_group(USER, new._replace(euid=0), PYTHON, "shadow") == "root_anyway"
    assert gain.of_group(USER, new, Image("/usr/bin/chage", 0o102755, 0, 42), "shadow") == "setgid_program"
    assert gain.of_group(USER, USER._replace(egid=42), PYTHON, "shadow") == "program_replaced"


def test_capabilities_beyond_the_permitted_are_told_and_using_those_only_where_they_lead_to_root() -> None:
    new = USER._replace(permitted=1 << 10, effective=1 << 10)
    assert gain.of_capabilities(USER, new, PYTHON) == Privilege(kind="capabilities", gained=("CAP_NET_BIND_SERVICE",))
    allowed = USER._replace(permitted=ADMIN | 1 << 10)
    using = allowed._replace(effective=ADMIN | 1 << 10)
    assert gain.of_capabilities(allowed, using, PYTHON) == Privilege(kind="capabilities", gained=("CAP_SYS_ADMIN",))
    assert gain.of_capabilities(allowed, allowed._replace(effective=1 << 10), PYTHON) == "harmless_capability"
    assert gain.of_capabilities(using, allowed, PYTHON) == "unchanged"
    assert gain.of_capabilities(ROOT, new._replace(permitted=ALL << 1), PYTHON) == "root_anyway"
    ping = Image("/usr/bin/ping", 0o100755, 0, 0, gives_capabilities=True)
    assert gain.of_capabilities(USER, new, ping) == "capable_program"
    assert isinstance(gain.of_capabilities(USER, new, ping._replace(path="/tmp/ping")), Privilege)


def test_tracing_is_ordinary_within_ones_own_unless_secrets_are_held_there() -> None:
    agent = Image("/usr/bin/ssh-agent", 0o102755, 0, 0)
    assert gain.of_tracing(USER, USER, PYTHON, PYTHON) == "same_user"
    assert gain.of_tracing(USER, USER, PYTHON, agent) == ""
    assert gain.of_tracing(ROOT, USER, PYTHON, PYTHON) == ""
    assert gain.of_tracing(USER, ROOT, PYTHON, PYTHON) == ""
    chrome, handler = Image("/opt/google/chrome/chrome", owner=0), Image("/opt/google/chrome/crashpad", owner=0)
    assert gain.of_tracing(USER, USER, handler, chrome) == "own_crash_handler"
    assert gain.of_tracing(USER, USER, Image("/tmp/crashpad", owner=0), chrome) == ""


ids = st.sampled_from((0, 1000, 1001))
held = st.builds(Credentials, ids, ids, ids, ids, ids, st.integers(0, ALL), st.integers(0, ALL))


@given(held, held)
def test_giving_up_root_is_never_a_gain(old: Credentials, new: Credentials) -> None:
    if old.euid == 0 or new.euid != 0:
        assert isinstance(gain.of_user(old, new, PYTHON), str)
