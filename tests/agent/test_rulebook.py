"""Which rule files load, and what is said of the others."""

from pathlib import Path

import pytest

from shield.agent import rulebook
from shield.agent.rulebook import NoRules

RULE = """title: {title}
id: {id}
logsource: {{category: process_creation}}
detection: {{selection: {{Image: /a}}, condition: selection}}
level: low
"""
IDS = [f"{n}{n}{n}{n}{n}{n}{n}{n}-1111-4111-8111-111111111111" for n in range(1, 4)]


def write(folder: Path, name: str, number: int) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RULE.format(title=name, id=IDS[number]))
    return path


def test_the_shipped_rules_load_without_a_problem() -> None:
    book = rulebook.load()
    assert len(book.rules) >= 29
    assert not book.problems


def test_folders_are_read_to_their_depth_and_tests_beside_rules_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "one.yml", 0)
    write(tmp_path, "deep/er/two.yaml", 1)
    (tmp_path / "one.test.yml").write_text("matches: []\n")
    (tmp_path / "notes.txt").write_text("no rule")
    book = rulebook.load([str(tmp_path)])
    assert [rule.title for rule in book.rules] == ["deep/er/two.yaml", "one.yml"]
    assert not book.problems


def test_a_rule_that_is_wrong_is_a_problem_with_its_place_and_the_others_load(tmp_path: Path) -> None:
    write(tmp_path, "good.yml", 0)
    (tmp_path / "bad.yml").write_text("title: a\nlogsource: {category: x}\ndetection: {s: {a: b}, condition: t}\n")
    book = rulebook.load([str(tmp_path)])
    assert len(book.rules) == 1
    (problem,) = book.problems
    assert "bad.yml:3" in problem


def test_a_second_rule_of_the_same_id_is_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", 0)
    write(tmp_path, "b.yml", 0)
    book = rulebook.load([str(tmp_path)])
    assert [rule.title for rule in book.rules] == ["a.yml"]
    assert "b.yml" in book.problems[0]
    assert "a.yml" in book.problems[0]


def test_rules_without_an_id_are_told_apart_by_their_file(tmp_path: Path) -> None:
    for name in ("a.yml", "b.yml"):
        path = write(tmp_path, name, 0)
        path.write_text(path.read_text().replace(f"id: {IDS[0]}\n", ""))
    book = rulebook.load([str(tmp_path)])
    assert len(book.rules) == 2
    assert not book.problems


@pytest.mark.parametrize("place", ["/no/such/place", "empty", "empty/bad.yml"])
def test_a_place_without_any_rule_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/bad.yml").write_text("title: [\n")
    with pytest.raises(NoRules, match=place.rpartition("/")[2]):
        rulebook.load([place if place.startswith("/") else str(tmp_path / place)])


def test_shipped_and_own_rules_can_be_used_together(tmp_path: Path) -> None:
    write(tmp_path, "own.yml", 2)
    book = rulebook.load([rulebook.SHIPPED, str(tmp_path)])
    assert len(book.rules) == len(rulebook.load().rules) + 1
