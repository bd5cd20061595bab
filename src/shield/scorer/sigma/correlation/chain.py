"""Which rules a correlation refers to, and in what order correlations that refer to each other are judged."""

from collections.abc import Mapping, Sequence, Set

from msgspec import Struct

from shield.scorer.sigma.correlation.rule import Correlation, normal_id
from shield.scorer.sigma.rule import Rule


class Chain(Struct, frozen=True):
    """The correlations that can be used, each after all that it refers to, and a line for each that can't.

    `targets` are the ids of what each correlation refers to, by its own id, in the order of its `rules`.
    """

    correlations: tuple[Correlation, ...]
    targets: dict[str, tuple[str, ...]]
    problems: tuple[str, ...]


def chain(correlations: Sequence[Correlation], rules: Sequence[Rule]) -> Chain:
    """Return how `correlations` are chained to each other and to `rules`."""
    names = Names([*rules, *correlations])
    problems: list[str] = []
    targets: dict[str, tuple[str, ...]] = {}
    for correlation in correlations:
        try:
            targets[correlation.id] = _targets(correlation, names)
        except LookupError as error:
            problems.append(f"{correlation.source}: correlation {correlation.title!r}: {error.args[0]}")
    titles = {one.id: one.title for one in correlations}
    ordered = _ordered([one for one in correlations if one.id in targets], targets, titles.keys())
    usable = {one.id for one in ordered}
    problems += [_left_out(one, targets, titles, usable) for one in correlations if one.id in targets.keys() - usable]
    return Chain(tuple(ordered), {one.id: targets[one.id] for one in ordered}, tuple(problems))


class Names:
    """Rules by all that they may be called: their ids, and the names that files give them."""

    def __init__(self, rules: Sequence[Rule | Correlation]) -> None:
        self._ids: dict[str, Rule | Correlation] = {}
        self._named: dict[str, list[Rule | Correlation]] = {}
        for rule in rules:
            self._ids.setdefault(rule.id, rule)
            if rule.reference:
                self._named.setdefault(rule.reference, []).append(rule)

    def id_of(self, reference: str) -> str:
        """Return the id of the rule that `reference` means. Raises LookupError with what is wrong and the remedy."""
        by_id = self._ids.get(normal_id(reference))
        if by_id is not None:
            return by_id.id
        match self._named.get(reference, []):
            case [rule]:
                return rule.id
            case []:
                remedy = "load the rule that is meant, or name it by its `id` or `name`"
                raise LookupError(f"there is no rule {reference!r}; {remedy}")
            case [first, second, *_]:
                places = f"{first.source or first.id} and {second.source or second.id}"
                raise LookupError(f"{reference!r} names rules in {places}; name the one that is meant by its id")
            case _:
                raise AssertionError("a list has no, one or several elements")


def _targets(correlation: Correlation, names: Names) -> tuple[str, ...]:
    targets = tuple(names.id_of(reference) for reference in correlation.rules)
    if len(set(targets)) < len(targets):
        raise LookupError("two of its rules are the same one; name each rule once")
    for alias, fields in correlation.aliases.items():
        for reference in fields:
            if names.id_of(reference) not in targets:
                problem = f"the alias {alias!r} is about {reference!r}, which is none of its rules"
                raise LookupError(f"{problem}; name one of {', '.join(correlation.rules)}")
    return targets


def alias_fields(correlation: Correlation, field: str, targets: Sequence[str], names: Names) -> list[str]:
    """Return which field `field` is in the events of each of the correlation's rules."""
    aliased = {names.id_of(reference): name for reference, name in correlation.aliases.get(field, {}).items()}
    return [aliased.get(target, field) for target in targets]


def _ordered(
    correlations: Sequence[Correlation], targets: Mapping[str, tuple[str, ...]], ids: Set[str]
) -> list[Correlation]:
    """Return the correlations of which all they refer to can be judged before them, in such an order."""
    ordered: dict[str, Correlation] = {}
    while True:
        ready = [
            one
            for one in correlations
            if one.id not in ordered and all(target in ordered or target not in ids for target in targets[one.id])
        ]
        if not ready:
            return list(ordered.values())
        ordered.update((one.id, one) for one in ready)


def _left_out(
    left: Correlation, targets: Mapping[str, tuple[str, ...]], titles: Mapping[str, str], usable: Set[str]
) -> str:
    """Return why a correlation whose references are all known can't be judged."""
    begin = f"{left.source}: correlation {left.title!r}: "
    unusable = [target for target in targets[left.id] if target in titles and target not in usable]
    if left.id in _reached(left.id, targets):
        names = ", ".join(repr(titles[target]) for target in unusable)
        return f"{begin}it refers back to itself through {names}; take one of the references out"
    return f"{begin}it refers to {titles[unusable[0]]!r}, which can't be used; mend that one first"


def _reached(begin: str, targets: Mapping[str, tuple[str, ...]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(targets[begin])
    while waiting:
        target = waiting.pop()
        if target not in reached:
            reached.add(target)
            waiting.extend(targets.get(target, ()))
    return reached
