"""Which findings are repeats of each other, and what weighs little because it is expected."""

from typing import Any

import pytest

from shield.event import Account, Category, Data, Dns, Event, File, Network, Persistence, Process, Signal, User
from shield.scorer.quiet import quietened
from shield.scorer.subject import subject

ONE = Process(pid=1, exe="/bin/x")


def event(category: Category, **data: Any) -> Event:
    return Event(1, "h", category, "ALLOW", 0, "", Data(process=ONE, **data), "", "", "")


def alike(category: Category, one: dict[str, Any], other: dict[str, Any]) -> bool:
    return subject(event(category, **one)) == subject(event(category, **other))


@pytest.mark.parametrize(
    ("category", "part", "one", "other"),
    [
        ("file_write", "file", File(path="/etc/passwd"), File(path="/etc/shadow")),
        ("network_connection", "network", Network(destination_ip="1.2.3.4"), Network(destination_ip="1.2.3.5")),
        ("network_listen", "network", Network(destination_port=80), Network(destination_port=81)),
        ("dns_query", "dns", Dns("a"), Dns("b")),
        ("auth_failure", "user", User(name="a"), User(name="b")),
        ("account_change", "account", Account("user", "a", "added"), Account("user", "a", "removed")),
        ("persistence_change", "persistence", Persistence("cron", "/a"), Persistence("cron", "/b")),
    ],
)
def test_what_was_done_to_something_else_is_no_repeat(
    category: Category, part: str, one: object, other: object
) -> None:
    assert not alike(category, {part: one}, {part: other})
    assert alike(category, {part: one}, {part: one})


def test_the_port_a_client_happened_to_use_makes_no_difference() -> None:
    first, second = (Network(source_port=port, destination_ip="1.2.3.4", destination_port=443) for port in (4000, 4001))
    assert alike("network_connection", {"network": first}, {"network": second})


def test_a_thousand_deleted_files_are_one_finding() -> None:
    assert alike("file_delete", {"file": File(path="/a")}, {"file": File(path="/b")})


def test_what_a_package_manager_wrote_keeps_its_signals_at_a_tenth() -> None:
    signals = (Signal("1", "cron_file_written", 70), Signal("2", "weak", 5))
    by_hand, by_dpkg = (event("file_write", file=File("/etc/cron.d/x", package_manager=name)) for name in ("", "dpkg"))
    assert quietened(by_hand, signals) == signals
    assert [(one.name, one.points, one.full_points) for one in quietened(by_dpkg, signals)] == [
        ("cron_file_written", 7, 70), ("weak", 0, 5)
    ]  # fmt: skip


def test_without_the_part_it_should_have_an_event_is_about_its_program() -> None:
    assert subject(event("file_write")) == ("/bin/x", "")
