"""From a policy file's bytes to the policy in force, with its version and digest."""

import hashlib
from importlib.resources import files

import msgspec

from shield.policy.document import read
from shield.policy.schema import Policy

DEFAULT_NAME = "the built-in policy"


class PolicyInForce(msgspec.Struct, frozen=True):
    """A policy, and how events name it: `VERSION+sha256:` and 12 digits of the digest of its content."""

    policy: Policy
    label: str


def load(text: bytes, name: str) -> PolicyInForce:
    """Return the policy in `text`; `name` is the file's, for errors. Raises shield.policy.document.DocumentError.

    The digest is of what the policy says, defaults filled in, not of its comments or layout.
    """
    policy = read(text, Policy, name)
    digest = hashlib.sha256(msgspec.json.encode(policy, order="sorted")).hexdigest()
    return PolicyInForce(policy, f"{policy.version}+sha256:{digest[:12]}")


def built_in() -> PolicyInForce:
    """Return the policy that Shield comes with."""
    return load(files("shield.policy").joinpath("default.yml").read_bytes(), DEFAULT_NAME)
