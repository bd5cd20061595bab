"""The condition of a rule as a function of an event's fields."""

from collections.abc import Callable
from typing import Any

from shield.event import Event
from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation, comparisons
from shield.scorer.sigma.fields import FieldValue, getter, texts
from shield.scorer.sigma.predicate import Test, any_of, element, folded, shown, test_of, text_test
from shield.scorer.sigma.value import Expression, FieldReference, Text, Value, plain_parts

_EXPRESSION_COST = 20


class View:
    """The fields of one event, each taken out of it, and case-folded, once."""

    __slots__ = ("_event", "_folded", "_found")

    def __init__(self, event: Event) -> None:
        self._event = event
        self._found: dict[str, FieldValue] = {}
        self._folded: dict[str, FieldValue] = {}

    def found(self, field: str) -> FieldValue:
        """Return the value of `field`, for `""` all texts of the event."""
        if field not in self._found:
            self._found[field] = getter(field)(self._event) if field else texts(self._event)
        return self._found[field]

    def folded(self, field: str) -> FieldValue:
        """Return the value of `field` as text without regard to case, None where it is absent."""
        if field not in self._folded:
            found = self.found(field)
            if isinstance(found, tuple):
                self._folded[field] = tuple(map(folded, found))
            else:
                self._folded[field] = None if found is None else folded(found)
        return self._folded[field]


Holds = Callable[[View], bool]
Why = Callable[[View], tuple[Comparison, ...] | None]


def compiled(clause: Clause) -> Holds:
    """Return the function that says whether `clause` holds for an event."""
    match clause:
        case Comparison(field, value):
            return _comparison(field, value)
        case Negation(part):
            holds = compiled(part)
            return lambda view: not holds(view)
        case AllOf(parts):
            return _joined(parts, stops_at=False)
        case AnyOf(parts):
            return _joined(parts, stops_at=True)


def _joined(parts: tuple[Clause, ...], stops_at: bool) -> Holds:
    """Return the function that looks at `parts` until one is `stops_at`, and says that, else the opposite."""
    plain = _plain(parts)
    if plain is not None:
        return _of_one_field(plain[0].field, [_test(part.value) for part in plain], stops_at)
    every = [compiled(part) for part in sorted(parts, key=_cost)]

    def holds(view: View) -> bool:
        for part in every:
            if part(view) is stops_at:
                return stops_at
        return not stops_at

    return holds


def _cost(clause: Clause) -> int:
    """Return about how long `clause` takes: the shorter ones are looked at first."""
    return sum(_EXPRESSION_COST if isinstance(one.value, Expression) else 1 for one in comparisons(clause))


def _plain(parts: tuple[Clause, ...]) -> list[Comparison] | None:
    """Return `parts` if all compare one field with texts without regard to case, else None."""
    plain = [part for part in parts if isinstance(part, Comparison) and _is_plain(part.value)]
    is_about_one = len(plain) == len(parts) and len({part.field for part in plain}) == 1
    return plain if is_about_one else None


def _is_plain(value: Value) -> bool:
    return isinstance(value, Text) and not value.cased


def _test(value: Value) -> Test:
    """Return the test that `value` is of a folded text where it is plain, else of a field's value as it is."""
    return text_test(plain_parts(value)) if isinstance(value, Text) and not value.cased else test_of(value)


def _of_one_field(field: str, tests: list[Test], stops_at: bool) -> Holds:
    def holds(view: View) -> bool:
        folded = view.folded(field)
        if isinstance(folded, tuple):
            return any(any_of(test, folded) is stops_at for test in tests) is stops_at
        for test in tests:
            if test(folded) is stops_at:
                return stops_at
        return not stops_at

    return holds


def reasons(clause: Clause) -> Why:
    """Return the function that names the comparisons that make `clause` hold, None where it doesn't.

    That something is absent is no reason.
    """
    match clause:
        case Comparison(field, value):
            test, reason = _comparison(field, value), (clause,)
            return lambda view: reason if test(view) else None
        case Negation(part):
            holds = compiled(part)
            return lambda view: None if holds(view) else ()
        case AllOf(parts):
            return _reasons_of_all([reasons(part) for part in parts])
        case AnyOf(parts):
            plain = _plain(parts)
            if plain is not None:
                return _reasons_of_one_field(plain)
            return _reasons_of_any([reasons(part) for part in parts])


def _reasons_of_one_field(parts: list[Comparison]) -> Why:
    """Return the reasons of alternatives that `_plain` found to be about one field."""
    field, tests = parts[0].field, [(_test(part.value), part) for part in parts]

    def why(view: View) -> tuple[Comparison, ...] | None:
        folded = view.folded(field)
        if isinstance(folded, tuple):
            found = tuple(part for test, part in tests if any_of(test, folded))
        else:
            found = tuple(part for test, part in tests if test(folded))
        return found or None

    return why


def _reasons_of_all(parts: list[Why]) -> Why:
    def why(view: View) -> tuple[Comparison, ...] | None:
        found: list[Comparison] = []
        for part in parts:
            reason = part(view)
            if reason is None:
                return None
            found += reason
        return tuple(found)

    return why


def _reasons_of_any(parts: list[Why]) -> Why:
    def why(view: View) -> tuple[Comparison, ...] | None:
        found = [reason for part in parts if (reason := part(view)) is not None]
        return tuple(one for reason in found for one in reason) if found else None

    return why


def matched(comparison: Comparison, view: View) -> str:
    """Return the text that makes `comparison`, which holds, hold."""
    found = view.found(comparison.field)
    if not isinstance(found, tuple):
        return shown(found)
    if isinstance(comparison.value, FieldReference):
        return element(lambda _: True, found)
    return element(test_of(comparison.value), found)


def _comparison(field: str, value: Value) -> Holds:
    if isinstance(value, FieldReference):
        return _reference(field, value)
    test = _test(value)
    if _is_plain(value):
        return lambda view: any_of(test, view.folded(field))
    return lambda view: any_of(test, view.found(field))


def _reference(field: str, reference: FieldReference) -> Holds:
    relation = _RELATIONS[reference.starts, reference.ends]

    def holds(view: View) -> bool:
        ours, theirs = view.folded(field), view.folded(reference.field)
        return any(relation(one, other) for one in _elements(ours) for other in _elements(theirs))

    return holds


_RELATIONS: dict[tuple[bool, bool], Callable[[str, str], bool]] = {
    (False, False): lambda one, other: one == other,
    (True, False): lambda one, other: one.startswith(other),
    (False, True): lambda one, other: one.endswith(other),
    (True, True): lambda one, other: other in one,
}


def _elements(found: FieldValue) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else () if found is None else (found,)
