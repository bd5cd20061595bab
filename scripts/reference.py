"""Write the generated part of the documentation: `python scripts/reference.py FOLDER`.

What is written here is taken from the code, so that it can't say anything else than the code does: the event's schema
and its tables from `shield.event`, the help of every command from the command line, the rules from their files.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer.main
from msgspec import Struct, inspect
from typer.testing import CliRunner

from shield import event
from shield.agent import rulebook
from shield.cli.main import app
from shield.policy import load as policies
from shield.scorer.score import points
from shield.scorer.sigma.rule import Rule

_PLAIN = {
    inspect.BoolType: "true or false",
    inspect.FloatType: "number",
    inspect.IntType: "integer",
    inspect.NoneType: "null",
    inspect.StrType: "text",
}

_EVENT_INTRODUCTION = """
Every record an event is made of, generated from `shield.event`. What the fields mean for you, with examples, is told in
[Output and events](../events.md). The same as JSON Schema (2020-12): [event.schema.json](event.schema.json), or
`shield show schema`.

A field whose default is given is left out of the JSON where it has that value, except in `Event` and `Ledger`, which
are always written whole.
""".strip()

_EXIT_CODES = """
Exit codes: 0 done, 1 findings where a command checks something, 2 bad input or usage, 3 a missing privilege or platform
feature.
""".strip()

_RULE_INTRODUCTION = """
The points are those under the built-in policy. Rules about Windows are for [replays](../rules.md#try) of recorded
events: this version watches Linux hosts only. How rules work and how to write your own: [Rules](../rules.md).
""".strip()


def write(folder: Path) -> None:
    """Write every page into `folder`, which is made where it lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "event.schema.json": json.dumps(event.json_schema(), indent=2),
        "event.md": event_page(),
        "cli.md": command_page(),
        "rules.md": rule_page(),
    }
    for name, text in pages.items():
        (folder / name).write_text(text.rstrip() + "\n", encoding="utf-8")


def event_page() -> str:
    """Return a page with a table for each record an event is made of."""
    parts = [
        "# Event schema",
        _EVENT_INTRODUCTION,
    ]
    for kind in _records(event.Event):
        parts += [f"## {kind.__name__} {{ #{kind.__name__} }}", cleandoc(kind.__doc__ or ""), _fields(kind)]
    return "\n\n".join(parts)


def _records(kind: type[Struct]) -> list[type[Struct]]:
    """Return `kind` and all the records it is made of, each once, in the order they are met."""
    found = [kind]
    for record in found:
        for field in _described(record).fields:
            found += [each for each in _structs(field.type) if each not in found]
    return found


def _described(kind: type[Struct]) -> inspect.StructType:
    described = inspect.type_info(kind)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{kind.__name__} is no record")
    return described


def _structs(kind: inspect.Type) -> Iterator[type[Struct]]:
    match kind:
        case inspect.StructType():
            yield kind.cls
        case inspect.UnionType():
            for each in kind.types:
                yield from _structs(each)
        case inspect.VarTupleType():
            yield from _structs(kind.item_type)
        case _:
            return


def _fields(kind: type[Struct]) -> str:
    rows = ((f"`{field.encode_name}`", _type(field.type), _default(field)) for field in _described(kind).fields)
    return _table(("field", "type", "default"), rows)


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.StructType():
            return f"[{kind.cls.__name__}](#{kind.cls.__name__})"
        case inspect.UnionType():
            return " or ".join(_type(each) for each in kind.types)
        case inspect.VarTupleType():
            return f"list of {_type(kind.item_type)}"
        case inspect.DictType():
            return f"object: {_type(kind.key_type)} to {_type(kind.value_type)}"
        case inspect.LiteralType():
            return ", ".join(f"`{value}`" for value in kind.values)
        case _:
            return _PLAIN[type(kind)]


def _default(field: inspect.Field) -> str:
    if field.required:
        return "always there"
    value: Any = field.default_factory() if callable(field.default_factory) else field.default
    return f"`{json.dumps(value)}`"


def command_page() -> str:
    """Return a page with the help of every command."""
    parts = [
        "# Command line",
        "What each command says with `--help`.",
        _EXIT_CODES,
    ]
    runner = CliRunner()
    for words in _commands(typer.main.get_command(app), ()):
        done = runner.invoke(app, [*words, "--help"], prog_name="shield")
        parts += [f"## {' '.join(('shield', *words))}", f"```text\n{done.output.strip()}\n```"]
    return "\n\n".join(parts)


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*words, name))


def rule_page() -> str:
    """Return a page with a table of the shipped rules, and each rule's own words below."""
    rules = rulebook.load().rules
    weights = points(rules, policies.built_in().policy)
    ranked = sorted(rules, key=lambda rule: (-weights[rule.id], rule.name))
    rows = (
        (str(weights[rule.id]), rule.level, f"[`{rule.name}`](#{rule.name})", rule.title, ", ".join(rule.attack))
        for rule in ranked
    )
    parts = [
        "# Shipped rules",
        f"The {len(rules)} rules that come with this version.",
        _RULE_INTRODUCTION,
        _table(("points", "level", "name", "title", "ATT&CK"), rows),
    ]
    return "\n\n".join([*parts, *(_rule(rule, weights[rule.id]) for rule in ranked)])


def _rule(rule: Rule, weight: int) -> str:
    file = Path(rule.source).relative_to(rulebook.shipped())
    parts = [
        f"## {rule.name} {{ #{rule.name} }}",
        f"**{_escaped(rule.title)}.** {weight} points, level {rule.level}.",
        _escaped(rule.description.strip()),
    ]
    if rule.next:
        parts.append(f"What to do next: {_escaped(rule.next.strip())}")
    if rule.falsepositives:
        parts.append("Known to fire without an attack:")
        parts.append("\n".join(f"- {_escaped(each)}" for each in rule.falsepositives))
    parts.append(f"Rule `{rule.id}`, file `{file.as_posix()}`.")
    return "\n\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = tuple(head)
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Return `text` with nothing in it that Markdown takes for markup."""
    return "".join(f"\\{character}" if character in r"\`*_{}[]<>#|" else character for character in text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/reference.py FOLDER")
    write(Path(sys.argv[1]))
