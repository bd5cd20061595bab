"""The policy in force: what the built-in one says, and how a digest names the content of one."""

import itertools
import re

import pytest

from shield.policy.load import built_in, load
from shield.policy.schema import LEVEL_POINTS, Policy

FULL = {
    "version": "3",
    "stage": "observe",
    "thresholds": "{watch: 30, alert: 60}",
    "story": "{window_seconds: 5}",
    "levels": "{low: 1, high: 2}",
    "weights": "{a: 1, b: 2}",
}


def text(parts: dict[str, str]) -> bytes:
    return "".join(f"{key}: {value}\n" for key, value in parts.items()).encode()


def test_the_built_in_policy_writes_out_the_defaults() -> None:
    assert built_in().policy == Policy(version=1, levels=LEVEL_POINTS)


def test_a_label_holds_the_version_and_the_digest() -> None:
    assert re.fullmatch(r"3\+sha256:[0-9a-f]{12}", load(text(FULL), "x").label)


@pytest.mark.parametrize("order", list(itertools.islice(itertools.permutations(FULL), 0, 720, 90)))
def test_the_order_of_keys_does_not_change_the_digest(order: tuple[str, ...]) -> None:
    assert load(text({key: FULL[key] for key in order}), "x") == load(text(FULL), "x")


@pytest.mark.parametrize(
    "layout",
    [
        b"# a comment\n" + text(FULL) + b"\n\n# another",
        text(FULL).replace(b"\n", b"\r\n"),
        text(FULL | {"weights": "\n  b: 2 # two\n  'a': 0x1"}),
        text(FULL | {"thresholds": "{alert: 60, watch: 30}", "levels": "{high: 2, low: 1}"}),
        b"---\n" + text(FULL) + b"...\n",
        b"\xef\xbb\xbf" + text(FULL),
    ],
)
def test_comments_and_layout_do_not_change_the_digest(layout: bytes) -> None:
    assert load(layout, "another name") == load(text(FULL), "x")


def test_a_default_written_out_is_no_other_policy() -> None:
    assert load(b"version: 1\nstory: {window_seconds: 600}\nweights: {}\n", "x") == load(b"version: 1\n", "x")


@pytest.mark.parametrize(
    "change",
    [
        {"version": "4"},
        {"thresholds": "{watch: 30, alert: 61}"},
        {"story": "{window_seconds: 6}"},
        {"levels": "{low: 1}"},
        {"weights": "{a: 2, b: 1}"},
    ],
)
def test_other_content_has_another_digest(change: dict[str, str]) -> None:
    assert load(text(FULL | change), "x").label.partition("+")[2] != load(text(FULL), "x").label.partition("+")[2]
