"""Compiled rules on disk: a cached start gives the same rules and matches; what can't be trusted is made anew."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from shield.agent import rulebook
from shield.agent.rulebook import Rulebook
from shield.agent.rulecache import RuleCache, default_folder
from shield.event import Data, Event, Process, Signal
from shield.policy.load import built_in
from shield.scorer.score import Scorer

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")

RULES = """title: a
id: 11111111-1111-4111-8111-111111111111
logsource: {category: process_creation}
detection: {selection: {CommandLine|contains: [mimi, katz], Image|endswith: /a}, condition: selection}
level: high
---
title: b
id: 22222222-1111-4111-8111-111111111111
logsource: {category: process_creation}
detection: {selection: {CommandLine|re: 'x[0-9]+y'}, condition: selection}
level: low
---
title: many
id: 33333333-1111-4111-8111-111111111111
correlation: {type: event_count, rules: [22222222-1111-4111-8111-111111111111], timespan: 10m, condition: {gte: 2}}
level: high
"""


@pytest.fixture
def place(tmp_path: Path) -> str:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "rules.yml").write_text(RULES)
    (folder / "bad.yml").write_text("title: [\n")
    return str(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def started(place: str, folder: Path | None) -> tuple[Rulebook, Scorer]:
    """A start with a cache."""
    cache = RuleCache(folder)
    book = rulebook.load([place], cache=cache)
    scorer = Scorer(book.ruleset, built_in().policy, book.databases)
    scorer.prepare("linux")
    book.keep(cache)
    return book, scorer


def signals(scorer: Scorer) -> list[tuple[Signal, ...]]:
    texts = ("/a mimi", "/a x12y", "/a mimikatz x1y", "/b mimi", "/a")
    events = [
        Event(1, "h", "process_start", "ALLOW", 0, "", Data(process=Process(pid=7, exe=text.split()[0], cmdline=text)),
              "", "", "", ts_ns=number)
        for number, text in enumerate(texts)
    ]  # fmt: skip
    return [scorer.assess(event).signals for event in events]


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_a_cached_start_gives_the_same_rules_problems_and_matches(place: str, folder: Path) -> None:
    first, fresh = started(place, folder)
    second, cached = started(place, folder)
    assert (second.ruleset, second.problems, second.key) == (first.ruleset, first.problems, first.key)
    assert len(first.problems) == 1
    assert not second.databases.fresh
    assert second.databases.known == first.databases.known
    assert signals(cached) == signals(fresh)
    assert [len(found) for found in signals(started(place, folder)[1])] == [1, 0, 2, 0, 0]


def test_the_cache_is_for_this_user_alone(place: str, folder: Path) -> None:
    started(place, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert only_file(folder).stat().st_mode & 0o777 == 0o600


def test_changed_rules_are_compiled_anew(place: str, folder: Path) -> None:
    started(place, folder)
    path = Path(place, "rules.yml")
    path.write_text(path.read_text().replace("/a}", "/b}"))
    _, scorer = started(place, folder)
    assert [len(found) for found in signals(scorer)] == [0, 0, 1, 1, 0]
    assert len(list(folder.iterdir())) == 2


def test_only_a_few_sets_are_kept_and_other_files_left_alone(place: str, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "note.txt").write_text("mine")
    for number in range(12):
        Path(place, "more.yml").write_text(f"# {number}\n")
        started(place, folder)
    assert (folder / "note.txt").read_text() == "mine"
    assert len(list(folder.glob("*.rules"))) == 8


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(4096))


def _give_away(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


def _give_folder_away(path: Path) -> None:
    os.chown(path.parent, NOBODY, NOBODY)


def _open_up(path: Path) -> None:
    path.chmod(0o602)


def _open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


@pytest.mark.parametrize(
    "spoil",
    [
        _cut,
        _empty,
        _flip,
        _garbage,
        _open_up,
        _open_folder,
        pytest.param(_give_away, marks=as_root),
        pytest.param(_give_folder_away, marks=as_root),
    ],
)
def test_a_file_that_is_damaged_or_that_others_could_have_written_is_not_used(
    place: str, folder: Path, spoil: Callable[[Path], None]
) -> None:
    expected = signals(started(place, folder)[1])
    spoil(only_file(folder))
    assert RuleCache(folder).load(only_file(folder).stem) is None
    book, scorer = started(place, folder)
    assert len(book.ruleset) == 3
    assert signals(scorer) == expected


@pytest.mark.parametrize("content", [b"\xff" * 100, b""])
def test_a_scanner_in_the_cache_that_does_not_work_here_is_compiled_anew(place: str, content: bytes) -> None:
    book, scorer = started(place, None)
    expected = signals(scorer)
    databases = book.databases
    for digest, database in databases.known.items():
        if len(database) > 3:  # not the answers to whether an expression can be scanned
            databases.known[digest] = content
    assert signals(Scorer(book.ruleset, built_in().policy, databases)) == expected


def test_without_a_cache_rules_are_compiled_at_each_start(place: str) -> None:
    started(place, None)
    assert rulebook.load([place], cache=RuleCache(None)).databases.fresh


def test_a_full_disk_leaves_nothing_and_only_costs_time(place: str, folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        book, _ = started(place, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(book.ruleset) == 3
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_only_costs_time(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(started(place, tmp_path / "file" / "cache")[0].ruleset) == 3


def test_the_folder_depends_on_the_user_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIELD_CACHE", "")
    assert default_folder() is None
    monkeypatch.setenv("SHIELD_CACHE", "/somewhere")
    assert default_folder() == Path("/somewhere")
    monkeypatch.delenv("SHIELD_CACHE")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_folder() == Path("/var/cache/shield")
