"""What must hold for a rule to match: never too much, whatever the condition."""

from hypothesis import given
from hypothesis import strategies as st

from shield.scorer.sigma.condition import AllOf, AnyOf, Clause, Comparison, Negation
from shield.scorer.sigma.requirement import GROUPS_MOST, requirements
from shield.scorer.sigma.value import Compare, Exists, Null, Number, Text, Truth, Wildcard

MANY = Wildcard.MANY
values = st.sampled_from(
    [
        Text(("whole",)),
        Text((MANY, "inside", MANY)),
        Text((MANY, "c:\\windows", MANY)),
        Text(()),
        Number(5),
        Truth(True),
        Null(),
        Exists(True),
        Compare(">", 3),
    ]
)
leaves = st.builds(Comparison, st.sampled_from(["A", "B", ""]), values)
clauses: st.SearchStrategy[Clause] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Negation, inner),
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=12,
)


def holds(clause: Clause, true: set[Comparison]) -> bool:
    match clause:
        case Comparison():
            return clause in true
        case Negation(part):
            return not holds(part, true)
        case AllOf(parts):
            return all(holds(part, true) for part in parts)
        case AnyOf(parts):
            return any(holds(part, true) for part in parts)


@given(clauses, st.sets(leaves, max_size=8))
def test_whenever_a_condition_holds_one_of_each_group_does(clause: Clause, true: set[Comparison]) -> None:
    groups = requirements(clause)
    assert len(groups) <= GROUPS_MOST
    if holds(clause, true):
        assert all(group & true for group in groups)


def test_what_is_in_every_value_is_not_looked_for_where_something_better_is() -> None:
    rare, usual = Comparison("A", Text((MANY, "mimikatz", MANY))), Comparison("A", Text((MANY, "c:\\windows", MANY)))
    assert requirements(AllOf((usual, rare))) == [frozenset((rare,))]
