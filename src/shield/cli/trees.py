"""What commands about rules share: finding the one that is meant, and drawing its condition."""

import sys
from collections.abc import Iterator
from difflib import get_close_matches
from typing import NoReturn

from shield.agent.rulebook import Rulebook
from shield.cli.errors import fail
from shield.exporter.wording import printed
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.explain import Explanation, Node, lines
from shield.scorer.sigma.rule import Rule

_SIMILAR = 5


def one_rule(book: Rulebook, name: str) -> Rule | Correlation:
    """Return the rule that `name`, its id, name or title, means; where there is none, or several, the command ends."""
    found = book.called(name)
    if not found:
        _refuse(book, name)
    if len(found) > 1:
        listed = [f"{rule.id}  {rule.title}  {rule.source}" for rule in found]
        fail(f"{len(found)} rules are called {name}; name one by its id", 2, listed)
    return found[0]


def _refuse(book: Rulebook, name: str) -> NoReturn:
    every = (*book.rules, *book.correlations)
    known = {one.lower(): one for rule in every for one in (rule.name, rule.title)}
    similar = [known[each] for each in get_close_matches(name.lower(), known, _SIMILAR, 0.6)]
    fail(f"{name}: there is no such rule; `shield rules list` names all", 2, [f"similar: {one}" for one in similar])


def tree(explained: Explanation | Node | None, marked: bool = True) -> Iterator[str]:
    """Yield a condition as lines to print, each with a mark of whether it holds if `marked`."""
    node = explained.tree if isinstance(explained, Explanation) else explained
    if node is None:
        return
    yes, no = _marks()
    for line in lines(node):
        mark = f"{yes if line.holds else no} " if marked else ""
        yield f"{'  ' * line.depth}{mark}{printed(line.text)}"


def _marks() -> tuple[str, str]:
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "[x]", "[ ]"
    return "✓", "✗"
