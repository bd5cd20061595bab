"""Who is watching."""

import uuid
from pathlib import Path

import pytest

from shield.agent import identity
from shield.agent.identity import identify


def test_it_stays_the_same_and_does_not_give_the_machine_id_away() -> None:
    first = identify()
    assert first == identify()
    machine = Path("/etc/machine-id")
    if machine.exists():
        secret = machine.read_text().strip()
        assert secret not in str(first)
        assert uuid.UUID(first.agent_id).hex != secret


def test_another_boot_is_another_scope_of_the_same_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    boots = iter(["boot-1", "boot-2"])
    monkeypatch.setattr(identity, "_line", lambda path: "machine" if "machine-id" in path else next(boots))
    first, second = identify(), identify()
    assert first.agent_id == second.agent_id
    assert first.scope != second.scope


def test_a_host_without_a_machine_id_has_an_identity_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_line", lambda path: "")
    assert identify() == identify()
    assert uuid.UUID(identify().agent_id)
