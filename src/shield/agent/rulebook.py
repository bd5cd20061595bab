"""Finding and reading rule files: the ones Shield comes with, and a user's own files and folders."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from msgspec import Struct

from shield.agent.rulecache import Compiled, RuleCache, key_of
from shield.policy.document import DocumentError
from shield.scorer.sigma.correlation.rule import Correlation, normal_id
from shield.scorer.sigma.filter_rule import Filter
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.ruleset import Ruleset, collected, usable
from shield.scorer.sigma.scan import Databases

SHIPPED = "shipped"
_SUFFIXES = (".yml", ".yaml")
_TESTS = (".test.yml", ".test.yaml")
_LARGEST = 16 << 20

Progress = Callable[[Iterable[tuple[str, bytes]], int], Iterable[tuple[str, bytes]]]
"""Passes files through while it shows how far the work has come; the number is how many they are."""


class NoRules(Exception):
    """The rules that were asked for can't be used at all; the text says which and why."""


class Rulebook(Struct, frozen=True):
    """The rules that loaded, and a line for each that didn't. `key` is what the cache keeps them under."""

    ruleset: Ruleset
    problems: tuple[str, ...] = ()
    databases: Databases = Databases()
    key: str = ""
    _parsed: Compiled | None = None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules about single events."""
        return self.ruleset.rules

    @property
    def correlations(self) -> tuple[Correlation, ...]:
        """The rules about several events."""
        return self.ruleset.correlations

    def called(self, name: str) -> list[Rule | Correlation]:
        """Return the rules with this id, or else this name, or else this title (whatever its case)."""
        both: tuple[Rule | Correlation, ...] = (*self.rules, *self.correlations)
        known = normal_id(name)
        for found in (
            [rule for rule in both if rule.id == known],
            [rule for rule in both if name in (rule.name, rule.reference)],
            [rule for rule in both if rule.title.casefold() == name.casefold()],
        ):
            if found:
                return found
        return []

    def keep(self, cache: RuleCache) -> None:
        """Put what was compiled since it was loaded into the cache."""
        if self._parsed is not None and self.databases.fresh:
            cache.save(self.key, Compiled(self._parsed.ruleset, self._parsed.problems, self.databases.known))
            self.databases.fresh = False


def load(
    places: Sequence[str] = (),
    placeholders: Mapping[str, Sequence[str]] | None = None,
    cache: RuleCache | None = None,
    progress: Progress = lambda items, _: items,
) -> Rulebook:
    """Return the rules in `places`: files, folders, or the word `shipped`; the shipped ones where none is given.

    `placeholders` are the policy's. A rule in a folder that can't be used is a problem, and the others load. Raises
    NoRules where a place is missing, a file named by itself can't be used, or nothing at all loads.
    """
    found, unread = contents(places)
    key = key_of(found)
    compiled = cache.load(key) if cache else None
    if compiled is None:
        compiled = _compiled(progress(found, len(found)), frozenset(places))
        fresh = True
    else:
        fresh = False
    ruleset, problems = usable(compiled.ruleset, placeholders or {})
    left_out = [f"{path}: {problem}; check its owner and mode" for path, problem in unread]
    problems = [*left_out, *compiled.problems, *problems]
    if not ruleset.rules:
        raise NoRules("\n".join([f"no rule could be loaded from {', '.join(places) or SHIPPED}", *problems[:20]]))
    databases = Databases(compiled.databases)
    databases.fresh = fresh
    return Rulebook(ruleset, tuple(problems), databases, key, compiled)


def contents(places: Sequence[str] = ()) -> tuple[list[tuple[str, bytes]], list[tuple[str, str]]]:
    """Return the path and content of every rule file in `places`, and the path and problem of those that can't be read.

    Raises NoRules where a place is missing, or a file named by itself can't be read.
    """
    unread: list[tuple[str, str]] = []
    return [file for place in places or (SHIPPED,) for file in _files(place, unread)], unread


def shipped() -> Path:
    """Return the folder of the rules that Shield comes with."""
    with as_file(files("shield").joinpath("rules")) as folder:
        return folder


def _compiled(found: Iterable[tuple[str, bytes]], named: frozenset[str]) -> Compiled:
    """Return what the files hold; a file that was `named` by itself must be usable."""
    from shield.scorer.sigma.parse import parse_all  # noqa: PLC0415  pySigma takes long to import, a cached start not

    items: list[Rule | Correlation | Filter] = []
    problems: list[str] = []
    for path, content in found:
        try:
            items += parse_all(content, path)
        except DocumentError as error:
            if path in named:
                raise NoRules(str(error)) from None
            problems.append(str(error))
    ruleset, doubles = collected(items)
    return Compiled(ruleset, tuple(problems + doubles))


def _files(place: str, unread: list[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    """Yield the rule files of one place with their contents; tell of those in a folder that can't be read."""
    path = shipped() if place == SHIPPED else Path(place)
    if not path.exists():
        raise NoRules(f"{place}: there is no such file or folder; name a Sigma rule, a folder of them, or {SHIPPED}")
    if not path.is_dir():
        try:
            yield place, _content(path)
        except OSError as error:
            raise NoRules(f"{path}: {_unreadable(error)}; check its owner and mode") from None
        return
    for file in sorted(path.rglob("*")):
        if file.name.endswith(_SUFFIXES) and not file.name.endswith(_TESTS) and file.is_file():
            try:
                yield str(file), _content(file)
            except OSError as error:
                unread.append((str(file), _unreadable(error)))


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError(0, f"larger than {_LARGEST >> 20} MiB, which no rule file is")
    return content


def _unreadable(error: OSError) -> str:
    return f"can't be read: {error.strerror}"
