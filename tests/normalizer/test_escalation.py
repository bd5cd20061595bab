"""Processes that start a program as root although nothing made them root."""

import pytest

from shield.event import Process, User
from shield.normalizer.escalation import escalation
from shield.record import ProcessExec

EVE = User(id=1000, name="eve", effective_id=1000, effective_name="eve")
ROOT = User(id=0, name="root", effective_id=0, effective_name="root")


def start(user: User, mode: int = 0o100755, owner: int | None = 0) -> ProcessExec:
    process = Process(pid=42, ppid=7, exe="/usr/bin/bash", exe_mode=mode, exe_owner=owner, capabilities=1 << 21)
    return ProcessExec(1, process, user)


def test_a_shell_as_root_out_of_an_ordinary_process_is_a_gain() -> None:
    found = escalation(EVE, start(ROOT))
    assert found is not None
    assert (found.kind, found.old_id, found.old_name, found.new_id, found.new_name) == (
        "user_id",
        1000,
        "eve",
        0,
        "root",
    )
    assert found.gained == ("CAP_SYS_ADMIN",)


def test_a_setuid_program_that_is_not_roots_gives_nobody_root() -> None:
    assert escalation(EVE, start(ROOT, 0o104755, owner=1000)) is not None


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (EVE, start(EVE)),
        (ROOT, start(ROOT)),
        (ROOT, start(EVE)),
        (EVE, start(ROOT, 0o104755)),
        (User(id=1000, effective_id=0), start(ROOT)),
        (User(id=0, effective_id=33), start(ROOT)),
        (None, start(ROOT)),
        (User(), start(ROOT)),
        (EVE, start(User())),
        (EVE, start(ROOT, mode=0)),
    ],
)
def test_what_a_setuid_program_root_or_ignorance_explains_is_none(before: User | None, now: ProcessExec) -> None:
    assert escalation(before, now) is None
