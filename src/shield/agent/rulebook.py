"""Finding and reading rule files: the ones Shield comes with, and a user's own files and folders."""

from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from msgspec import Struct

from shield.policy.document import DocumentError
from shield.scorer.sigma.rule import Rule, parse

SHIPPED = "shipped"
_SUFFIXES = (".yml", ".yaml")
_TESTS = (".test.yml", ".test.yaml")


class NoRules(Exception):
    """The rules that were asked for can't be used at all; the text says which and why."""


class Rulebook(Struct, frozen=True):
    """The rules that loaded, and a line for each that didn't."""

    rules: tuple[Rule, ...]
    problems: tuple[str, ...] = ()


def load(places: Sequence[str] = ()) -> Rulebook:
    """Return the rules in `places`: files, folders, or the word `shipped`; the shipped ones where none is given.

    A rule in a folder that can't be used is a problem, and the others load. Raises NoRules where a place is missing,
    a file named by itself can't be used, or nothing at all loads.
    """
    rules: dict[str, Rule] = {}
    problems: list[str] = []
    for place in places or (SHIPPED,):
        for rule in _rules(place, problems):
            known = rules.setdefault(rule.id, rule)
            if known is not rule:
                problems.append(f"{rule.source}: the id {rule.id} is {known.source}'s already; give each rule its own")
    if not rules:
        raise NoRules("\n".join([f"no rule could be loaded from {', '.join(places)}", *problems[:20]]))
    return Rulebook(tuple(rules.values()), tuple(problems))


def shipped() -> Path:
    """Return the folder of the rules that Shield comes with."""
    with as_file(files("shield").joinpath("rules")) as folder:
        return folder


def _rules(place: str, problems: list[str]) -> Iterator[Rule]:
    path = shipped() if place == SHIPPED else Path(place)
    if not path.exists():
        raise NoRules(f"{place}: there is no such file or folder; name a Sigma rule, a folder of them, or {SHIPPED}")
    if not path.is_dir():
        try:
            yield from _read(path)
        except (DocumentError, OSError) as error:
            raise NoRules(_told(path, error)) from None
        return
    for file in sorted(path.rglob("*")):
        if file.name.endswith(_SUFFIXES) and not file.name.endswith(_TESTS) and file.is_file():
            try:
                yield from _read(file)
            except (DocumentError, OSError) as error:
                problems.append(_told(file, error))


def _read(path: Path) -> list[Rule]:
    return parse(path.read_bytes(), str(path))


def _told(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{path}: can't be read: {error.strerror}; check its owner and mode"
    return str(error)
