"""What is expected weighs little: changes that a package manager made are told with what was found, but never loudly.

An upgrade rewrites half of the places that attackers write to. Each such change keeps its signals, at a tenth of their
points; what the package manager itself was made to do (which program started it, what it runs) is judged in full.
"""

from msgspec.structs import replace

from shield.event import Event, Signal

_PART = 10


def quietened(event: Event, signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
    """Return the signals of `event` at the points they deserve."""
    file = event.data.file
    if file is None or not file.package_manager:
        return signals
    return tuple(replace(one, points=one.points // _PART, full_points=one.points) for one in signals)
