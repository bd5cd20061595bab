"""A detection rule, as plain data: what `shield.scorer.sigma.parse` reads from a Sigma file."""

from msgspec import Struct

from shield.event import Severity
from shield.scorer.sigma.condition import Clause


class Rule(Struct, frozen=True, tag="rule"):
    """One Sigma rule. `category`, `product` and `service` are None where the rule leaves them open.

    `condition` holds if any of the file's conditions does. A rule without an id is known by its title. `reference` is
    what other rules may call it (`name` in the file); `name` is what rationales show.
    """

    id: str
    name: str
    title: str
    level: Severity
    category: str | None
    product: str | None
    service: str | None
    condition: Clause
    reference: str = ""
    attack: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()
    points: int | None = None
    next: str = ""
    description: str = ""
    definition: str = ""
    falsepositives: tuple[str, ...] = ()
    status: str = ""
    source: str = ""
