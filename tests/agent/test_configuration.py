"""The configuration file: what it may say, and what is said of one that is wrong."""

import pytest

from shield.agent.configuration import Configuration, example, load
from shield.policy.document import DocumentError


def test_an_empty_file_and_the_example_are_the_defaults() -> None:
    assert load(b"", "shield.yml") == Configuration() == load(example().encode(), "shield.yml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("heartbeat_seconds: 0", ":1: heartbeat_seconds: "),
        ("heartbeat_seconds: soon", ":1: heartbeat_seconds: "),
        ("\nhartbeat_seconds: 1", ":2: hartbeat_seconds: there is no such key"),
        ("output:\n  fsync: sometimes", ":2: output.fsync: "),
        ("output:\n  fsync_seconds: .inf", ":2: output.fsync_seconds: "),
        ("output:\n  fsync_seconds: .nan", ":2: output.fsync_seconds: "),
        ("output:\n  rotate_bytes: 1", ":2: output.rotate_bytes: "),
        ('output:\n  path: ""', ":2: output.path: "),
        ("source:\n  use: magic", ":2: source.use: "),
        ("source:\n  poll_seconds: .nan", ":2: source.poll_seconds: "),
        ("source:\n  ring_bytes: 5000", "power of two"),
        ('policy: ""', ":1: policy: "),
        ('policy: "a\\0b"', ":1: policy: "),
        ('rules: [shipped, "a\\0b"]', ":1: rules[1]: "),
        ("[]", ":1: "),
        ("source: {]}", ":1: not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_line_key_and_remedy(text: str, told: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        load(text.encode(), "shield.yml")
    assert str(refusal.value).startswith("shield.yml:")
    assert told in str(refusal.value)
    assert "; " in str(refusal.value)
