"""The condition of a rule as a function of an event's fields."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from shield.event import Event
from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation, comparisons
from shield.scorer.sigma.fields import FieldValue, getter, texts
from shield.scorer.sigma.predicate import Test, any_of, element, folded, shown, test_of, text_test, text_tests
from shield.scorer.sigma.value import Expression, FieldReference, Text, Value, plain_parts
from shield.scorer.sigma.value import shown as shown_value

_EXPRESSION_COST = 20


class View(dict[str, str | tuple[str, ...] | None]):
    """The fields of one event by name, each worked out once: its text without regard to case, None where it is absent.

    A field that is a list has a tuple of texts; `""` stands for all texts of the event.
    """

    __slots__ = ("_event", "_logged")

    def __init__(self, event: Event) -> None:
        log = event.data.log
        self._event = event
        self._logged = log.fields if log is not None else _NOT_LOGGED

    def found(self, field: str) -> FieldValue:
        """Return the value of `field` as it is."""
        logged = self._logged.get(field)
        if logged is not None:
            return logged
        return getter(field)(self._event) if field else texts(self._event)

    def __missing__(self, field: str) -> str | tuple[str, ...] | None:
        """Return the value of `field` as it is compared, and keep it."""
        found = self.found(field)
        if type(found) is str:
            plain = found.casefold()
        elif isinstance(found, tuple):
            plain = tuple(map(folded, found))
        else:
            plain = None if found is None else folded(found)
        self[field] = plain
        return plain


_NOT_LOGGED: Mapping[str, FieldValue] = {}


Holds = Callable[[View], bool]


class Reason(NamedTuple):
    """A comparison that holds; `pattern` is how people read its value."""

    field: str
    value: Value
    pattern: str


Why = Callable[[View], tuple[Reason, ...] | None]


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
            plain = _plain(parts)
            return _any_text(plain) if plain else _joined(parts, stops_at=True)


def _joined(parts: tuple[Clause, ...], stops_at: bool) -> Holds:
    """Return the function that looks at `parts` until one is `stops_at`, and says that, else the opposite."""
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


def _plain(parts: tuple[Clause, ...]) -> list[Comparison]:
    """Return `parts` if all compare one field with texts without regard to case, else nothing."""
    plain = [part for part in parts if isinstance(part, Comparison) and _is_plain(part.value)]
    is_about_one = len(plain) == len(parts) and len({part.field for part in plain}) == 1
    return plain if is_about_one else []


def _is_plain(value: Value) -> bool:
    return isinstance(value, Text) and not value.cased


def _test(value: Value) -> Test:
    """Return the test that `value` is of a folded text where it is plain, else of a field's value as it is."""
    return text_test(plain_parts(value)) if isinstance(value, Text) and not value.cased else test_of(value)


def _any_text(plain: Sequence[Comparison]) -> Holds:
    """Return the function that says whether one of `plain` holds, which `_plain` found to be about one field."""
    field = plain[0].field
    tests = text_tests(plain_parts(part.value) for part in plain if isinstance(part.value, Text))
    if len(tests) == 1:
        (test,) = tests
        return lambda view: any_of(test, view[field])

    def holds(view: View) -> bool:
        found = view[field]
        for test in tests:  # noqa: SIM110  a generator takes longer than the tests
            if any_of(test, found):
                return True
        return False

    return holds


def reasons(clause: Clause) -> Why:
    """Return the function that names the comparisons that make `clause` hold, None where it doesn't.

    That something is absent is no reason.
    """
    match clause:
        case Comparison(field, value):
            test, reason = _comparison(field, value), (_reason(clause),)
            return lambda view: reason if test(view) else None
        case Negation(part):
            holds = compiled(part)
            return lambda view: None if holds(view) else ()
        case AllOf(parts):
            return _reasons_of_all([reasons(part) for part in parts])
        case AnyOf(parts):
            plain = _plain(parts)
            return _reasons_of_one_field(plain) if plain else _reasons_of_any([reasons(part) for part in parts])


def _reason(comparison: Comparison) -> Reason:
    return Reason(comparison.field, comparison.value, shown_value(comparison.value))


def _reasons_of_one_field(parts: list[Comparison]) -> Why:
    """Return the reasons of alternatives that `_plain` found to be about one field."""
    field, tests = parts[0].field, [(_test(part.value), _reason(part)) for part in parts]

    def why(view: View) -> tuple[Reason, ...] | None:
        found = view[field]
        if type(found) is tuple:
            holding = [reason for test, reason in tests if any_of(test, found)]
        else:
            holding = [reason for test, reason in tests if test(found)]
        return tuple(holding) or None

    return why


def _reasons_of_all(parts: list[Why]) -> Why:
    def why(view: View) -> tuple[Reason, ...] | None:
        found: list[Reason] = []
        for part in parts:
            reason = part(view)
            if reason is None:
                return None
            found += reason
        return tuple(found)

    return why


def _reasons_of_any(parts: list[Why]) -> Why:
    def why(view: View) -> tuple[Reason, ...] | None:
        found = [reason for part in parts if (reason := part(view)) is not None]
        return tuple([one for reason in found for one in reason]) if found else None

    return why


def matched(comparison: Comparison | Reason, view: View) -> str:
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
    if _is_plain(value):
        return _any_text([Comparison(field, value)])
    test = test_of(value)
    return lambda view: any_of(test, view.found(field))


def _reference(field: str, reference: FieldReference) -> Holds:
    relation = _RELATIONS[reference.starts, reference.ends]

    def holds(view: View) -> bool:
        ours, theirs = view[field], view[reference.field]
        if type(ours) is str and type(theirs) is str:
            return relation(ours, theirs)
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
