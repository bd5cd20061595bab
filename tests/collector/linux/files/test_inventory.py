"""What files were like before, and what differs when somebody looks again."""

import hashlib
import os
from pathlib import Path

import pytest

from shield.collector.linux.files.facts import look
from shield.collector.linux.files.inventory import Inventory, survey
from shield.collector.linux.files.place import Places


def hashed(path: bytes) -> tuple[str, str]:
    return hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest(), ""


def learnt(folder: Path, most: int = 100, limit: int = 1000, budget: int = 1000) -> Inventory:
    inventory = Inventory(Places({"test": (f"{folder}/**",)}), most)
    assert all(rest >= 0 for rest in inventory.learn(hashed, limit, budget))
    return inventory


def differences(inventory: Inventory) -> dict[str, str]:
    told: list[None] = []
    for _ in inventory.compare(lambda: told.append(None)):
        pass
    assert len(told) == len(inventory.differences)
    return {
        Path(os.fsdecode(one.path)).name: "new" if one.before is None else "gone" if one.now is None else "other"
        for one in inventory.differences
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a", "b", "sub/c"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_files_are_known_with_their_hash_and_directories_with_their_rights(folder: Path) -> None:
    inventory = learnt(folder)
    facts = inventory.get(os.fsencode(folder / "sub/c"))
    assert facts is not None
    assert facts.sha256 == hashed(os.fsencode(folder / "sub/c"))[0]
    assert inventory.complete
    above = inventory.get(os.fsencode(folder / "sub"))
    assert above is not None
    assert above.is_directory


def test_looking_again_finds_what_is_new_gone_or_other_and_nothing_else(folder: Path) -> None:
    inventory = learnt(folder)
    (folder / "a").write_text("changed")
    (folder / "b").unlink()
    (folder / "sub" / "d").write_text("new")
    assert differences(inventory) == {"a": "other", "b": "gone", "d": "new"}


def test_what_found_no_room_is_counted_and_not_taken_for_new_later(folder: Path) -> None:
    inventory = learnt(folder, most=2)
    assert len(inventory) == 2
    assert inventory.left_out > 0
    assert differences(inventory) == {}


def test_files_are_hashed_up_to_a_number_of_bytes(folder: Path) -> None:
    (folder / "large").write_bytes(b"x" * 500)
    inventory = learnt(folder, budget=10)
    large, small = (inventory.get(os.fsencode(folder / name)) for name in ("large", "a"))
    assert large is not None
    assert small is not None
    assert not large.sha256
    assert small.sha256


def test_the_hash_of_a_file_that_changed_meanwhile_is_not_remembered(folder: Path) -> None:
    inventory = learnt(folder)
    path = os.fsencode(folder / "a")
    facts = look(path, 0)
    assert facts is not None
    inventory.record(path, facts)
    (folder / "a").chmod(0o600)
    inventory.add_hash(path, facts, "f" * 64)
    assert inventory.get(path) == facts


def test_links_to_directories_are_not_followed(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    places = Places({"test": (f"{folder}/**",)})
    assert len(list(survey(places))) == len(folder.parts) + 1
