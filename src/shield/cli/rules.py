"""`shield rules`: detection as code: list rules, show one, check them, and run their tests."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.table import Table
from rich.text import Text

from shield.agent import rulecheck, ruletest
from shield.agent.rulebook import NoRules, Rulebook, contents
from shield.cli.coverage import coverage
from shield.cli.errors import OutputConsole, fail, quiet_end
from shield.cli.loading import load_policy, load_rules, with_bar
from shield.cli.profile import profile
from shield.cli.trees import one_rule, tree
from shield.exporter.wording import as_json, printed, some
from shield.policy.load import PolicyInForce
from shield.policy.schema import Policy
from shield.scorer.score import points, points_from
from shield.scorer.sigma.condition import comparisons
from shield.scorer.sigma.correlation.match import duration
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.explain import readable
from shield.scorer.sigma.rule import Rule
from shield.text import printable

_UNCUT = 400
_LABEL = 16
_CONDITION_MOST = 200

app = typer.Typer(
    help="Detection as code: list, show, check, test and profile rules, and what they cover.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Places = Annotated[list[str] | None, typer.Argument(metavar="[PLACE]...", help="Files, folders, or `shipped`.")]
PolicyFile = Annotated[Path | None, typer.Option(help="Policy file; the built-in policy without.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_rules(places: Places = None) -> None:
    """List the rules in PLACE (the shipped ones without) with their points under the built-in policy."""
    policy = load_policy(None)
    book = load_rules(places or (), policy)
    every = (*book.rules, *book.correlations)
    weights = points(every, policy.policy)
    table = Table("points", "level", "name", "title", "ATT&CK", box=None, pad_edge=False)
    for rule in sorted(every, key=lambda rule: (-weights[rule.id], rule.name)):
        cells = (str(weights[rule.id]), rule.level, rule.name, rule.title, ", ".join(rule.attack))
        table.add_row(*(Text(printable(cell)) for cell in cells))
    with quiet_end():
        console = OutputConsole() if sys.stdout.isatty() else OutputConsole(width=_UNCUT)
        console.print(table)


@app.command()
def show(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id, name or title.")],
    rules: Annotated[
        list[str] | None, typer.Option(help="Where to look: a file, a folder, `shipped`; repeatable.")
    ] = None,
    policy: PolicyFile = None,
) -> None:
    """Show everything about one rule, as a person reads it."""
    in_force = load_policy(policy)
    book = load_rules(rules or (), in_force)
    found = one_rule(book, rule)
    with quiet_end():
        for line in _page(found, book, in_force):
            print(printed(line))


@app.command()
def check(
    places: Places = None,
    policy: PolicyFile = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for warnings, too.")] = False,
    to_json: AsJson = False,
) -> None:
    """Tell of every rule in PLACE that can't be used, and of what a reviewer would ask about, with file and line.

    Exit code 1 if there is an error.
    """
    placeholders = load_policy(policy).policy.placeholders
    try:
        found = rulecheck.check(places or (), placeholders, with_bar)
    except NoRules as error:
        _refuse(error)
    with quiet_end():
        if to_json:
            print(as_json({"rules": found.rules, "files": found.files, "findings": found.findings}))
        else:
            for finding in found.findings:
                print(printable(finding.text))
            print(f"{some(found.rules, 'rule')} in {some(found.files, 'file')}: {_totals(found)}")
    if found.errors or (strict and found.warnings):
        raise typer.Exit(1)


@app.command("test")
def run_tests(places: Places = None, policy: PolicyFile = None, to_json: AsJson = False) -> None:
    """Try every rule in PLACE on the events in the NAME.test.yml beside it. Exit code 1 if one does not what it says.

    Of a rule that failed, it is shown why.
    """
    book = load_rules(places or (), load_policy(policy))
    files, _ = contents(places or ())
    tried = (path for path, _ in with_bar(files, len(files), "Testing rules"))
    found = ruletest.outcome(book, tried)
    with quiet_end():
        if to_json:
            print(as_json({"tested": found.tested, "untested": found.untested}))
        else:
            _tell(found)
    if found.failed:
        raise typer.Exit(1)


app.command()(coverage)
app.command()(profile)


def _tell(found: ruletest.Outcome) -> None:
    for one in found.tested:
        if one.problem:
            print(printed(one.problem))
        for failure in one.failures:
            print(
                printed(f"{failure.file}: {failure.rule}: {failure.example!r} {_what_happened(failure)}: {failure.why}")
            )
            for line in tree(failure.explained) if failure.explained else ():
                print(f"    {line}")
    examples = sum(one.examples for one in found.tested)
    print(
        f"{some(examples, 'example')} of {some(len(found.tested), 'file')} tried, {found.failed:,} failed; "
        f"{some(len(found.untested), 'rule')} without tests"
    )


def _what_happened(failure: ruletest.Failure) -> str:
    return "should match and does not" if failure.wanted else "should pass and matches"


def _totals(found: rulecheck.Review) -> str:
    return f"{some(found.errors, 'error')}, {some(found.warnings, 'warning')}"


def _page(rule: Rule | Correlation, book: Rulebook, policy: PolicyInForce) -> Iterable[str]:
    """Yield the lines about one rule."""
    yield rule.title
    facts = {
        "name": rule.name,
        "id": rule.id,
        "level": rule.level,
        "status": rule.status,
        **(_about(rule) if isinstance(rule, Rule) else _asked(rule, book)),
        "points": _worth(rule, policy.policy),
        "ATT&CK": ", ".join((*rule.tactics, *rule.attack)),
        "description": rule.description,
        "next": rule.next,
        "false positives": "; ".join(rule.falsepositives),
        "file": rule.source,
        "tests": _tests(rule),
    }
    for label, value in facts.items():
        if value:
            yield f"  {label:<{_LABEL}}{' '.join(value.split())}"
    if isinstance(rule, Rule):
        yield "condition"
        shown = list(tree(readable(rule.condition), marked=False))
        yield from (f"  {line}" for line in shown[:_CONDITION_MOST])
        if len(shown) > _CONDITION_MOST:
            yield f"  and {len(shown) - _CONDITION_MOST:,} more lines: see the file"


def _about(rule: Rule) -> dict[str, str]:
    source = {"product": rule.product, "category": rule.category, "service": rule.service}
    fields = dict.fromkeys(one.field for one in comparisons(rule.condition) if one.field)
    return {
        "log source": ", ".join(f"{key} {name}" for key, name in source.items() if name) or "any",
        "needs": rule.definition,
        "fields": ", ".join(fields),
    }


def _asked(rule: Correlation, book: Rulebook) -> dict[str, str]:
    names = {one.id: one.name for one in (*book.rules, *book.correlations)}
    return {
        "correlates": f"{rule.kind} {rule.condition} within {duration(rule.timespan_ns)}",
        "rules": ", ".join(names.get(one, one) for one in rule.rules),
        "grouped by": ", ".join(rule.group_by),
        "counted field": ", ".join(rule.fields),
    }


def _worth(rule: Rule | Correlation, policy: Policy) -> str:
    worth = points((rule,), policy)[rule.id]
    return f"{worth} ({points_from(rule, policy)})" + (": the rule is off" if worth == 0 else "")


def _tests(rule: Rule | Correlation) -> str:
    path = ruletest.test_file(rule.source)
    return str(path) if path.exists() else f"none; write {path.name} beside it"


def _refuse(error: NoRules) -> NoReturn:
    first, *rest = str(error).splitlines()
    fail(first, details=rest)
