"""What README and documentation say is so: commands parse, links lead somewhere, examples load, no key is left out."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import msgspec
import pytest
import typer.main
import yaml

from shield.agent import configuration, rulebook
from shield.agent.configuration import Configuration
from shield.agent.sources import HostSources
from shield.cli.main import app
from shield.collector.source import Source
from shield.event import Data, Event, decode, json_schema
from shield.policy import load as policies
from shield.policy.schema import Policy
from shield.scorer.sigma.fields import getter
from shield.scorer.sigma.matcher import Matcher
from shield.scorer.sigma.parse import parse
from shield.scorer.sigma.rule import Rule

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")]
GENERATED = DOCS / "reference"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"(?:^|[\s(])(?:\.venv/bin/)?shield ([^|>&;)#\n]*)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of `language` on a page."""
    return [text for kind, text in _BLOCK.findall(page.read_text()) if kind == language]


def only_block(name: str, language: str, holding: str) -> str:
    """The one block of a page of the documentation that holds a text."""
    (found,) = (text for text in blocks(DOCS / name, language) if holding in text)
    return found


def first_column(name: str, head: str) -> list[str]:
    """The names in backticks that stand in the first column of the table whose first title is `head`."""
    rows = re.search(rf"^\| {re.escape(head)} \|.*\n\| ---.*\n((?:\|.*\n?)+)", (DOCS / name).read_text(), re.MULTILINE)
    assert rows, f"{name} has no table that begins with {head}"
    return [found for row in rows[1].splitlines() for found in re.findall(r"`([^`]+)`", row.split("|")[1])]


def commands(lines: Iterable[str]) -> Iterator[list[str]]:
    """The words after `shield` of every command in lines of code."""
    for line in lines:
        for words in _COMMAND.findall(line):
            yield shlex.split(words)


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` call, and its own arguments."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    assert not rest or not hasattr(command, "commands"), f"there is no command {' '.join(words)}"
    return command, rest


def loaded(path: Path) -> ModuleType:
    """The module in a file that belongs to no package."""
    spec = spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated reference."""
    folder = tmp_path_factory.mktemp("reference")
    loaded(ROOT / "scripts" / "reference.py").write(folder)
    return folder


def keys(kind: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys that a file of this kind may hold; those of a mapping as its own name."""
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}{field.encode_name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from keys(field.type, f"{name}.")
        else:
            yield name


@every_page
def test_every_command_in_running_text_has_the_options_it_is_shown_with(page: Path) -> None:
    for words in commands(re.findall(r"`([^`\n]*)`", _BLOCK.sub("", page.read_text()))):
        command, rest = resolved(words)
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("-")} <= options, words


@every_page
def test_every_command_in_a_code_block_parses(page: Path) -> None:
    lines = "\n".join(blocks(page, "sh")).splitlines()
    for words in commands(line.partition(" #")[0] for line in lines):
        command, rest = resolved(words)
        with command.make_context("shield", rest):  # raises what a user would be told
            pass


@every_page
def test_every_make_target_and_benchmark_on_the_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(blocks(page, "sh"))
    assert set(re.findall(r"^make ([a-z]+)", code, re.MULTILINE)) <= targets
    for name in re.findall(r"\bbench\.(\w+)", code):
        assert (ROOT / "bench" / f"{name}.py").exists()


@every_page
def test_every_link_to_a_file_leads_to_one(page: Path, reference: Path) -> None:
    for target in _LINK.findall(_BLOCK.sub("", page.read_text())):
        if "://" in target:
            continue
        path = (page.parent / target).resolve()
        assert path.exists() or (path.parent == GENERATED and (reference / path.name).exists()), target


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    assert sorted(re.findall(r": ([\w-]+\.md)$", navigation, re.MULTILINE)) == sorted(p.name for p in DOCS.glob("*.md"))


def test_every_configuration_key_is_documented_with_its_default() -> None:
    assert first_column("configuration.md", "key") == list(keys(Configuration))
    shown = only_block("configuration.md", "yaml", "source:")
    assert yaml.safe_load(shown) == yaml.safe_load(configuration.example())
    assert configuration.load(shown.encode(), "configuration.md") == Configuration()


def test_every_policy_key_is_documented() -> None:
    assert {re.sub(r"\.[A-Z]+$", "", name) for name in first_column("policy.md", "key")} == set(keys(Policy))


def test_the_policy_in_the_documentation_loads_and_names_rules_that_exist() -> None:
    policy = policies.load(only_block("policy.md", "yaml", "thresholds:").encode(), "policy.md").policy
    rules = rulebook.load().rules
    assert set(policy.weights) <= {rule.id for rule in rules} | {rule.name for rule in rules}


@pytest.fixture
def documented_rule() -> Rule:
    """The rule that the page about rules writes."""
    (rule,) = parse(only_block("rules.md", "yaml", "logsource:").encode(), "rules.md")
    return rule


def test_the_rule_in_the_documentation_does_what_its_test_events_say(documented_rule: Rule) -> None:
    matcher = Matcher([documented_rule], {documented_rule.id: 60})
    tests = yaml.safe_load(only_block("rules.md", "yaml", "matches:"))
    found = {kind: [bool(matcher.match(event_about(each["data"]))) for each in tests[kind]] for kind in tests}
    assert found == {"matches": [True], "passes": [False]}


def test_the_events_in_the_documentation_of_rules_are_judged_as_shown(documented_rule: Rule) -> None:
    matcher = Matcher([documented_rule], {documented_rule.id: 60})
    lines = only_block("rules.md", "json", "process_start").splitlines()
    assert [bool(matcher.match(event_about(json.loads(line)["data"]))) for line in lines] == [True, False]


def event_about(data: dict[str, Any]) -> Event:
    """A process_start event about `data`."""
    return Event(0, "web-1", "process_start", "ALLOW", 0, "low_signal", msgspec.convert(data, Data), "", "", "")


def test_every_sigma_name_in_the_documentation_means_the_field_beside_it() -> None:
    event = decode(only_block("events.md", "json", '"ALERT"'))
    rows = re.findall(
        r"^\| `(\w+)` \| `([\w.]+)`(?:, else `[\w.]+`)? \|$", (DOCS / "rules.md").read_text(), re.MULTILINE
    )
    assert len(rows) == 12
    for sigma, path in rows:
        assert getter(sigma)(event) is not None, sigma
        assert getter(sigma)(event) == getter(path)(event), sigma


def test_every_field_of_an_event_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", (DOCS / "events.md").read_text()))
    schema = json_schema()["$defs"]
    assert {name for record in schema.values() for name in record["properties"]} <= explained


def test_the_events_in_the_documentation_are_events() -> None:
    examples = [decode(text) for text in blocks(DOCS / "events.md", "json")]
    assert [event.category for event in examples] == [
        *("process_start", "process_exit"),
        *("network_connection", "file_write", "auth_failure"),
        *("account_change", "persistence_change", "privilege_change"),
        *("heartbeat", "loss"),
    ]


def test_the_snippet_that_restores_bytes_runs() -> None:
    exec(only_block("events.md", "python", "kernel_bytes"), {})


def candidates() -> Iterator[Source]:
    return (source for group in HostSources(Configuration()).groups for source in group.candidates)


def test_what_the_sources_can_not_see_is_quoted_as_they_say_it() -> None:
    quoted = (DOCS / "sources.md").read_text()
    for source in candidates():
        for blind_spot in source.blind_spots:
            assert f"not seen {blind_spot}" in quoted, source.name


def test_every_reason_of_a_loss_has_its_remedy_in_troubleshooting() -> None:
    reasons = set(first_column("troubleshooting.md", "reason"))
    assert {reason for source in candidates() for reason in source.remedies} <= reasons


def test_the_generated_reference_is_complete(reference: Path) -> None:
    schema = json.loads((reference / "event.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json.loads(json.dumps(json_schema()))
    fields = (reference / "event.md").read_text()
    assert all(f"## {name} " in fields for name in schema["$defs"])
    told = (reference / "cli.md").read_text()
    assert "Traceback" not in told
    assert {"shield run", "shield rules check", "shield show schema"} <= set(
        re.findall(r"^## (.*)$", told, re.MULTILINE)
    )
    listed = (reference / "rules.md").read_text()
    assert all(f"## {rule.name} " in listed and rule.id in listed for rule in rulebook.load().rules)
