"""Guessed and sprayed passwords are found in the log as it is written, not only in events made for the rules."""

import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from shield.agent import rulebook
from shield.agent.rulebook import Rulebook
from shield.agent.ruletest import watched
from shield.collector.linux.identity.source import IdentityOptions, IdentitySource
from shield.event import Event
from shield.normalizer.log import LogNormalizer
from shield.record import LogRecord

RULES = Path(__file__).parents[2] / "src" / "shield" / "rules" / "linux"


def guessed() -> Iterator[str]:
    for number in range(25):
        yield f"sshd[{number}]: Failed password for root from 203.0.113.9 port {number} ssh2"
    yield "sshd[99]: Accepted password for root from 203.0.113.9 port 99 ssh2"


def sprayed() -> Iterator[str]:
    for number in range(12):
        yield f"sshd[{number}]: Invalid user user{number} from 203.0.113.9 port {number}"


def guessed_with_su() -> Iterator[str]:
    for number in range(6):
        pam = "authentication failure; logname=bob uid=1001 euid=0 tty=pts/0 ruser=bob rhost=  user=root"
        yield f"su[{number}]: pam_unix(su:auth): {pam}"
        yield f"su[{number}]: FAILED SU (to root) bob on pts/0"
    yield "su[9]: (to root) bob on pts/0"


def shared_guessing() -> Iterator[str]:
    for number in range(16):
        yield f"sshd[{number}]: Failed password for alice from 203.0.113.{number} port {number} ssh2"


def a_day_at_work() -> Iterator[str]:
    yield "sshd[1]: Failed password for alice from 10.0.0.2 port 1 ssh2"
    yield "sshd[1]: Accepted password for alice from 10.0.0.2 port 1 ssh2"
    yield "sudo[2]: alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/apt update"
    yield "su[3]: FAILED SU (to root) alice on pts/0"
    yield "su[4]: (to root) alice on pts/0"


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (guessed(), "ssh_passwords_guessed"),
        (guessed(), "ssh_password_guess_succeeded"),
        (sprayed(), "ssh_user_names_sprayed"),
        (guessed_with_su(), "su_passwords_guessed"),
        (guessed_with_su(), "su_password_guess_succeeded"),
        (shared_guessing(), "ssh_account_tried_from_many_addresses"),
    ],
)
def test_it_is_found_in_the_log_as_it_is_written(tmp_path: Path, lines: Iterable[str], name: str) -> None:
    assert fired(name, followed(tmp_path, lines))


def test_a_day_at_work_is_nothing(tmp_path: Path) -> None:
    events = followed(tmp_path, a_day_at_work())
    assert not any(
        fired(path.stem, events) for path in (RULES / "correlation").glob("*su*.yml") if ".test" not in path.name
    )


@cache
def shipped() -> Rulebook:
    return rulebook.load([str(RULES)])


def fired(name: str, events: Iterable[Event]) -> int:
    book = shipped()
    correlations = [one for one in book.correlations if Path(one.source).stem == name]
    return watched(book, correlations, events)[0]


def followed(folder: Path, lines: Iterable[str]) -> list[Event]:
    log, none = folder / "auth.log", folder / "none"
    log.touch()
    source = IdentitySource(IdentityOptions((log,), none, none, none, none, audit=False))
    source.open()
    stamp = time.strftime("%b %e %H:%M:%S")
    with log.open("a") as file:
        file.writelines(f"{stamp} web-3 {line}\n" for line in lines)
    records = source.read()
    source.stop()
    records += source.read()
    source.close()
    normalizer = LogNormalizer("live")
    return [normalizer.event(record, number) for number, record in enumerate(records) if isinstance(record, LogRecord)]
