"""Reading what a command is told to use: configuration, policy and rules. Bad input ends the command with code 2."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from shield.agent import configuration, rulebook
from shield.agent.configuration import Configuration, YaraSettings
from shield.agent.indicator_renewal import RenewedIndicators
from shield.agent.indicators import NoIndicators
from shield.agent.rulebook import NoRules, Rulebook
from shield.agent.rulecache import RuleCache, default_folder
from shield.agent.yara import YaraScanner
from shield.agent.yara_rules import BadYaraRules
from shield.cli.errors import fail
from shield.policy import load as policies
from shield.policy.document import DocumentError
from shield.policy.load import PolicyInForce
from shield.text import printable

DEFAULT_CONFIGURATION = Path("/etc/shield/shield.yml")
_PROBLEMS_SHOWN = 5
_MANY = 200
_LARGEST = 16 << 20


def load_configuration(path: Path | None) -> Configuration:
    """Return the configuration in `path`; without one that of /etc/shield/shield.yml, or the defaults."""
    if path is None:
        if not _may_be_there(DEFAULT_CONFIGURATION):
            return Configuration()
        path = DEFAULT_CONFIGURATION
    try:
        return configuration.load(_bytes(path), str(path))
    except DocumentError as error:
        fail(str(error))


def load_policy(path: Path | None) -> PolicyInForce:
    """Return the policy in `path`, the built-in one without."""
    if path is None:
        return policies.built_in()
    try:
        return policies.load(_bytes(path), str(path))
    except DocumentError as error:
        fail(str(error))


def load_rules(places: Sequence[str], policy: PolicyInForce) -> Rulebook:
    """Return the rules in `places`, with `policy`'s placeholders, and tell on stderr of those that can't be used."""
    try:
        book = rulebook.load(places, policy.policy.placeholders, RuleCache(default_folder()), with_bar)
    except NoRules as error:
        first, *rest = str(error).splitlines()
        fail(first, details=rest)
    for problem in book.problems[:_PROBLEMS_SHOWN]:
        print(printable(f"shield: rule left out: {problem}"), file=sys.stderr)
    more = len(book.problems) - _PROBLEMS_SHOWN
    if more > 0:
        print(f"shield: {more} more rules left out; `shield rules check` tells of each", file=sys.stderr)
    return book


def load_indicators(places: Sequence[str], policy: PolicyInForce) -> RenewedIndicators | None:
    """Return the indicators in `places`, None without any, and tell on stderr of files that can't be used."""
    if not places:
        return None
    try:
        indicators = RenewedIndicators(places, policy.policy)
    except NoIndicators as error:
        first, *rest = str(error).splitlines()
        fail(first, details=rest)
    report = indicators.report
    for line in report.unusable[:_PROBLEMS_SHOWN]:
        print(printable(f"shield: indicators left out: {line}"), file=sys.stderr)
    if report.problems or len(report.unusable) > _PROBLEMS_SHOWN:
        print(
            f"shield: {report.problems} indicators left out; `shield indicators check` tells of each", file=sys.stderr
        )
    return indicators


def load_scanner(settings: YaraSettings, policy: PolicyInForce) -> YaraScanner | None:
    """Return a scanner with the YARA rules of `settings`, None without any; tell on stderr of files left out."""
    if not settings.rules:
        return None
    try:
        scanner = YaraScanner(settings, policy.policy)
    except BadYaraRules as error:
        first, *rest = str(error).splitlines()
        fail(first, details=rest)
    except OSError as error:
        fail(f"yara.rules: the scanner can't be started: {error.strerror}; the agent needs room for one more process")
    for problem in scanner.problems[:_PROBLEMS_SHOWN]:
        print(printable(f"shield: YARA rules left out: {problem}"), file=sys.stderr)
    return scanner


def with_bar(
    files: Iterable[tuple[str, bytes]], number: int, doing: str = "Compiling rules"
) -> Iterator[tuple[str, bytes]]:
    """Pass rule files through, with a progress bar where there are many and somebody looks."""
    hidden = number < _MANY or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=hidden) as bar:
        yield from bar.track(files, total=number, description=doing)


def _may_be_there(path: Path) -> bool:
    """Return whether there is a file, also where nobody lets us see: reading it says so then."""
    try:
        return path.exists()
    except OSError:
        return True


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        fail(f"{path}: can't be read: {error.strerror}; check the path, its owner and its mode")
    if len(text) > _LARGEST:
        fail(f"{path}: larger than {_LARGEST >> 20} MiB; this is not such a file")
    return text
