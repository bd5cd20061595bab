"""What rules cover of ATT&CK, and which of them can see nothing on a host, and why.

ATT&CK: https://attack.mitre.org. The layer's format: version 4.5, which ATT&CK Navigator 4.9 and later read,
https://github.com/mitre-attack/attack-navigator/blob/master/layers/LAYERFORMATv4_5.md.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

from msgspec import Struct

from shield.event import Category, Platform
from shield.scorer.sigma import logsource, taxonomy
from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation, comparisons
from shield.scorer.sigma.correlation.chain import chain
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.fields import NAMES
from shield.scorer.sigma.rule import Rule
from shield.scorer.sigma.ruleset import Ruleset
from shield.scorer.sigma.value import Exists, Null, Text

NO_TACTIC = ""
_WHITE, _FULL = "#ffffff", "#1f6feb"
_EVENTS = {
    "process_creation": "starts of processes",
    "process_termination": "ends of processes",
    "file_event": "file events",
    "file_change": "file events",
    "file_delete": "file events",
    "file_rename": "file events",
    "network_connection": "network events",
    "network_flow": "network events",
    "network_listen": "network events",
    "dns_query": "DNS events",
    "registry_set": "registry events",
    "image_load": "module events",
}
"""What people call the events of a category, where it isn't the category's name."""


class Live(Struct, frozen=True):
    """What a host's live sources give: categories of events, logs, and the parts of `data` that they never fill."""

    os: Platform
    categories: frozenset[Category] = frozenset()
    services: frozenset[str] = frozenset()
    unfilled: frozenset[str] = frozenset()

    @property
    def covered(self) -> frozenset[str]:
        """Sigma's categories of what is observed."""
        return frozenset(logsource.OBSERVED.get(category, "") for category in self.categories)


class Idle(Struct, frozen=True):
    """A rule that can see nothing on a host, and why: `kind` is the same for all that lack the same."""

    rule: str
    title: str
    kind: str


def techniques(ruleset: Ruleset) -> dict[str, dict[str, int]]:
    """Return by tactic, in ATT&CK's order, how many rules name each technique along with it.

    A rule that names several tactics counts under each; one that names none is under NO_TACTIC.
    """
    counts: dict[str, Counter[str]] = {tactic: Counter() for tactic in (*taxonomy.TACTICS, NO_TACTIC)}
    for rule in (*ruleset.rules, *ruleset.correlations):
        tactics = [name for name in rule.tactics if name in counts]
        for tactic in tactics or (NO_TACTIC,):
            counts[tactic].update(rule.attack)
    return {tactic: dict(sorted(found.items())) for tactic, found in counts.items() if found}


def layer(ruleset: Ruleset, name: str) -> dict[str, Any]:
    """Return a layer for ATT&CK Navigator, called `name`: the score of a technique is the number of its rules."""
    rules: dict[str, list[str]] = {}
    for rule in (*ruleset.rules, *ruleset.correlations):
        for technique in dict.fromkeys(rule.attack):
            rules.setdefault(technique, []).append(rule.title)
    return {
        "name": name,
        "versions": {"layer": "4.5", "navigator": "4.9.0"},
        "domain": "enterprise-attack",
        "description": f"{len(ruleset)} rules; the score is the number of rules that name a technique",
        "sorting": 3,
        "techniques": [
            {"techniqueID": technique, "score": len(titles), "comment": "\n".join(sorted(titles)), "enabled": True}
            for technique, titles in sorted(rules.items())
        ],
        "gradient": {
            "colors": [_WHITE, _FULL],
            "minValue": 0,
            "maxValue": max(map(len, rules.values()), default=1),
        },
        "showTacticRowBackground": False,
        "selectTechniquesAcrossTactics": True,
        "selectSubtechniquesWithParent": False,
    }


def idle(ruleset: Ruleset, live: Live) -> tuple[Idle, ...]:
    """Return the rules that can see nothing on a host with `live` sources, in the order they were loaded."""
    found = {rule.id: Idle(rule.name, rule.title, why) for rule in ruleset.rules if (why := lacks(rule, live))}
    targets = chain(ruleset.correlations, ruleset.rules).targets
    for one in ruleset.correlations:
        if _can_not_fire(one, targets, found.keys()):
            found[one.id] = Idle(one.name, one.title, "refers to rules that can see nothing here")
    return tuple(found.values())


def lacks(rule: Rule, live: Live) -> str:
    """Return what a rule needs and doesn't get from `live` sources, `""` where it gets all."""
    if rule.product in taxonomy.SERVICES and rule.product != live.os:
        return f"about {rule.product}; this host is {live.os}"
    unread = taxonomy.unread(rule.product, rule.service, rule.category)
    if unread:
        return f"Shield reads no log of {unread}"
    if rule.service and rule.service not in live.services:
        return f"needs the log {rule.service}: only read by `shield replay`, not collected here"
    if rule.category and rule.category not in live.covered:
        needed = _EVENTS.get(rule.category, f"events of {rule.category}")
        return f"needs {needed}: only read by `shield replay`, not collected here"
    if rule.service:
        return ""  # its fields are the log's own
    missing = dict.fromkeys(one.field for one in comparisons(rule.condition) if _is_unfilled(one.field, live))
    if missing and _held(rule.condition, missing.keys()) is False:
        return f"needs the field {' or '.join(missing)}: no live source fills it"
    return ""


def _is_unfilled(field: str, live: Live) -> bool:
    path = NAMES.get(field, field)
    if field in ("", "User"):
        return False
    if field == "Hashes":
        path = "process.hashes"
    return not taxonomy.leads_somewhere(path) or any(path == one or path.startswith(f"{one}.") for one in live.unfilled)


def _held(clause: Clause, absent: Set[str]) -> bool | None:
    """Return whether a condition holds where the fields `absent` are; None where that depends on others."""
    match clause:
        case Comparison(field, value):
            return isinstance(value, Null) or value in (Exists(False), Text(())) if field in absent else None
        case Negation(part):
            held = _held(part, absent)
            return None if held is None else not held
        case AllOf(parts):
            return _joined([_held(part, absent) for part in parts], False)
        case AnyOf(parts):
            return _joined([_held(part, absent) for part in parts], True)


def _joined(parts: list[bool | None], decides: bool) -> bool | None:
    if decides in parts:
        return decides
    return None if None in parts else not decides


def _can_not_fire(one: Correlation, targets: Mapping[str, Sequence[str]], idle_ids: Set[str]) -> bool:
    """Return whether a correlation lacks so many of its rules that it can't fire; where it may, it is not idle."""
    own = targets.get(one.id, ())
    lost = [target in idle_ids for target in own]
    return bool(own) and (any(lost) if one.kind == "temporal_ordered" else all(lost))
