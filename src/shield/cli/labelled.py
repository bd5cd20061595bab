"""Lines of a report that begin with what they are about."""

from rich.console import Console
from rich.text import Text

from shield.agent.selftest import Outcome
from shield.text import printable

GOOD, BAD = "green", "yellow"


def line(console: Console, name: str, told: str, style: str = "") -> None:
    """Print `told` behind its name, safe for a terminal."""
    console.print(Text.assemble((f"{name:<13}", "bold"), (printable(told), style)))


def outcome(console: Console, one: Outcome, indent: str = "") -> None:
    """Print what became of one kind in a self-test."""
    told = f"{one.detail} after {one.delay_ms:g} ms" if one.arrived else one.detail
    line(console, f"{indent}{one.kind}", told, BAD if one.failed else GOOD if one.arrived else "")
