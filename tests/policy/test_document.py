"""Bad YAML is refused with the file, the line, the key and what to do, whatever is wrong with it."""

import contextlib
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shield.policy.document import DocumentError, documents, read
from shield.policy.load import load
from shield.policy.schema import Policy
from shield.scorer.sigma import parse

NESTED_DEEPLY = b"version: " + b"[" * 5000 + b"]" * 5000
BOMB = b"a: &a [1,1,1,1,1,1,1,1,1]\n" + b"".join(
    f"{name}: &{name} [{','.join(9 * [f'*{before}'])}]\n".encode()
    for before, name in zip("abcdefghijklmnopqrs", "bcdefghijklmnopqrst", strict=True)
)
BILLION_KEYS = b"a: &a {x: 1}\n" + b"".join(
    f"{name}: &{name} {{<<: [{','.join(9 * [f'*{before}'])}]}}\n".encode()
    for before, name in zip("abcdefghijklmnopqrs", "bcdefghijklmnopqrst", strict=True)
)
LOOP = b"version: &loop [*loop]"


def refusal(text: bytes) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        read(text, Policy, "site.yml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "place", "key", "remedy"),
    [
        pytest.param(b"version: 1\n# \xff\n", "site.yml:2: ", "", "UTF-8", id="not UTF-8"),
        pytest.param(b"version: 1\nstory: [\n", "site.yml:3: ", "", "mend the line", id="not YAML"),
        pytest.param(b"version: 1\nstory:\n\t- x\n", "site.yml:3: ", "", "mend the line", id="a tab"),
        pytest.param(b"version: 1\nx: \x07\n", "site.yml", "", "mend the line", id="a control character"),
        pytest.param(b"version: 1\nversoin: 2\n", "site.yml:2: versoin: ", "versoin", "version", id="unknown key"),
        pytest.param(
            b"version: 1\nstory:\n  window: 5\n",
            "site.yml:3: story.window: ",
            "story.window",
            "window_seconds",
            id="unknown inner key",
        ),
        pytest.param(b"version: 1\nstory: {}\nversion: 2\n", "site.yml:3: version: ", "version", "keep one", id="x2"),
        pytest.param(b"version: one\n", "site.yml:1: version: ", "version", "correct the value", id="wrong type"),
        pytest.param(b"\nversion: '1'\n", "site.yml:2: version: ", "version", "correct the value", id="a text for 1"),
        pytest.param(b"version: 1.5\n", "site.yml:1: version: ", "version", "correct the value", id="a fraction"),
        pytest.param(b"version: 0\n", "site.yml:1: version: ", "version", "correct the value", id="too small"),
        pytest.param(
            b"version: 1\nweights:\n  a: 5\n  b: 101\n",
            "site.yml:4: weights.b: ",
            "weights.b",
            "correct",
            id="big",
        ),
        pytest.param(
            b"version: 1\nthresholds:\n  watch: 80\n  alert: 70\n",
            "site.yml:2: thresholds: ",
            "thresholds",
            "correct the value",
            id="thresholds crossed",
        ),
        pytest.param(b"version: 1\nstage: contain\n", "site.yml:2: stage: ", "stage", "'observe'", id="not a choice"),
        pytest.param(b"stage: observe\n", "site.yml:1: ", "", "", id="a key is missing"),
        pytest.param(b"", "site.yml", "", "", id="empty"),
        pytest.param(b"- 1\n", "site.yml:1: ", "", "correct the value", id="a list"),
        pytest.param(b"just text", "site.yml:1: ", "", "correct the value", id="a text"),
        pytest.param(b"version: 1\n---\nversion: 2\n", "site.yml:3: ", "", "one document", id="two documents"),
        pytest.param(NESTED_DEEPLY, "site.yml", "", "flatten", id="nested deeply"),
        pytest.param(b"version: !!python/object/apply:os.system [id]\n", "site.yml:1: ", "", "mend", id="an object"),
        pytest.param(b"version: .nan\n", "site.yml:1: version: ", "version", "correct the value", id="not a number"),
        pytest.param(b"version: .inf\n", "site.yml:1: version: ", "version", "correct the value", id="infinity"),
        pytest.param(b"version: 2026-11-24\n", "site.yml:1: version: ", "version", "correct the value", id="a date"),
        pytest.param(b"version: 2026-99-99\n", "site.yml:1: ", "", "correct the value", id="no date there is"),
        pytest.param(b"version: *nowhere\n", "site.yml:1: ", "", "mend the line", id="an alias of nothing"),
        pytest.param(LOOP, "site.yml:1: ", "", "without the alias", id="a loop"),
        pytest.param(b"? [a, b]\n: 1\n", "site.yml:1: ", "", "", id="a list for a key"),
        pytest.param(b"version: 1\n1: 2\n", "site.yml:1: ", "", "correct the value", id="a number for a key"),
        pytest.param(b"version: 1\nweights:\n  404: 7\n", "site.yml", "", "", id="a number for a key in a mapping"),
        pytest.param(BOMB, "site.yml:1: ", "", "use fewer aliases", id="a bomb of aliases"),
        pytest.param(BILLION_KEYS, "site.yml", "", "", id="a bomb of merged keys"),
    ],
)
@pytest.mark.timeout(10)
def test_bad_input_is_refused_with_place_and_remedy(text: bytes, place: str, key: str, remedy: str) -> None:
    error = refusal(text)
    assert str(error).startswith(place)
    assert error.name == "site.yml"
    assert remedy in str(error)
    if key:
        assert error.key == key


def test_an_error_is_one_line() -> None:
    assert "\n" not in str(refusal(b"version: 1\nstory: [\n: {"))


def test_an_error_tells_what_a_choice_may_be() -> None:
    kind: type = Literal["observe", "automate"]  # type: ignore[assignment]
    with pytest.raises(DocumentError, match="no such key"):
        read(b"other: 1", Policy, "site.yml")
    assert documents(b"observe", "x")[0].convert(kind) == "observe"


def test_documents_keep_their_own_lines() -> None:
    first, second = documents(b"a: 1\n---\n\nb: {c: 2}\n", "rules.yml")
    assert first.plain == {"a": 1}
    assert str(second.error(("b", "c"), "is odd", "even it")) == "rules.yml:4: b.c: is odd; even it"


def test_a_path_beyond_the_document_is_reported_at_its_last_part_that_is_there() -> None:
    (document,) = documents(b"a:\n  - b: 1\n", "rules.yml")
    assert document.error(("a", 0, "c"), "is missing", "add it").line == 2
    assert document.error(("a", 7), "is missing", "add it").line == 1


def test_an_alias_may_be_used_twice() -> None:
    text = b"version: &one 1\nthresholds: {watch: *one, alert: *one}\n"
    assert read(text, Policy, "site.yml").thresholds.alert == 1


YAML_WORDS = r"""
    version title detection shield a 1 : [ ] { } , &x *x !!set !!binary !!omap !!timestamp !!int !!float !!bool << > |
    ' " # ? - --- ... = ~ 0x 0b 0o7 -0 _ 1_ 1e999 .nan true 190:20:30 2026-11-24 2026-13-45 %YAML \x41 \u2028
"""
yaml_pieces = st.sampled_from([" ", "  ", "\n", "\t", "\0", "\ufeff", "\u2028", ": ", "- ", *YAML_WORDS.split()])
any_text = st.one_of(st.binary(max_size=40), st.lists(yaml_pieces, max_size=12).map("".join).map(str.encode))


@given(any_text)
@example(b"!!int a")
@example(b"!!timestamp x")
@example(b"!!int _")
@example(b"!!bool x")
@example(b"a: 0b")
@example(b"!!float x")
@example(b"{? {a: 1} : 2}")
@example(b"=")
@example(b"!!binary \xc3\xa9")
@example(b"&a [*a]")
@example(b"&a {*a: 1}")
@example(b"&a {shield: *a, title: *a}")
@example(b"shield: []")
@example(b"shield: 7")
@example(b"{1: 2, detection: 3}")
@example(b"{<<: {<<: 1}}")
@example(b"\xff\xfea\0")
def test_any_bytes_are_understood_or_refused_with_a_document_error(text: bytes) -> None:
    for attempt in (
        lambda: documents(text, "x.yml"),
        lambda: load(text, "x.yml"),
        lambda: parse.parse(text, "x.yml"),
    ):
        with contextlib.suppress(DocumentError):
            attempt()
