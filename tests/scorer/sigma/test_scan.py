"""Scanning for many needles at once: both engines find what a plain look for each would find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.scorer.sigma.scan import ENGINE, Databases, Engine, Needle, scanner

ENGINES: tuple[Engine, ...] = ("hyperscan", "pure") if ENGINE == "hyperscan" else ("pure",)

texts = st.text(st.sampled_from("abß.\\ \0\n\ue0ffΣ-"), max_size=12)
needles = st.builds(Needle, texts.filter(bool).map(str.casefold), st.booleans(), st.booleans(), st.just(False)).filter(
    lambda needle: not (needle.at_start and needle.at_end)
)


@pytest.mark.parametrize("engine", ENGINES)
@given(st.lists(needles, max_size=8, unique=True), st.lists(texts, max_size=4))
def test_exactly_the_literals_that_are_in_a_text_are_found(
    engine: Engine, looked_for: list[Needle], seen: list[str]
) -> None:
    found = scanner(looked_for, Databases(), engine)
    for text in seen:
        folded = text.casefold()
        wanted = {at for at, needle in enumerate(looked_for) if needle.is_in(folded)}
        assert set(found(text, folded)) == wanted


@pytest.mark.parametrize("engine", ENGINES)
def test_only_the_telling_part_of_a_very_long_literal_is_looked_for(engine: Engine) -> None:
    long = "x" * 60 + "y" * 200_000
    found = scanner([Needle(long), Needle(long, at_start=True), Needle(long, at_end=True)], Databases(), engine)
    assert set(found(long, long)) == {0, 1, 2}
    assert found("short", "short") == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("expression", ["a+b", "(?i)É$", ".{0,300}x.{0,300}y", r"^\w{3}$", "a*"])
def test_an_expression_that_matches_is_always_among_what_is_found(engine: Engine, expression: str) -> None:
    found = scanner([Needle("zz"), Needle(expression, is_expression=True)], Databases(), engine)
    for text in ("aab", "é", "xy", "abc"):
        assert 1 in found(text, text.casefold()) or expression in ("a+b", "(?i)É$", ".{0,300}x.{0,300}y", r"^\w{3}$")
    matching = {"a+b": "aab", "(?i)É$": "caf\u00e9", ".{0,300}x.{0,300}y": "..x..y", r"^\w{3}$": "abc", "a*": ""}
    assert 1 in found(matching[expression], matching[expression].casefold())


@pytest.mark.skipif(ENGINE != "hyperscan", reason="Hyperscan isn't available on this machine")
def test_a_database_is_compiled_once_and_a_damaged_one_is_made_anew() -> None:
    looked_for = [Needle("abc"), Needle("x+", is_expression=True)]
    databases = Databases()
    scanner(looked_for, databases)
    assert databases.fresh
    kept = Databases(databases.known)
    scanner(looked_for, kept)
    assert not kept.fresh
    damaged = Databases({digest: content and content[:-8] for digest, content in databases.known.items()})
    assert set(scanner(looked_for, damaged)("abcx", "abcx")) == {0, 1}
    assert damaged.fresh
