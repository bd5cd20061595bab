"""From an observation that is new or rare to the signal that says so."""

from collections.abc import Callable

from shield.event import Event, Evidence, Signal
from shield.scorer.baseline.observation import Kind, listening_port, user_name, utc_hour

_VALUE_MOST = 240

_TITLES: dict[Kind, str] = {
    "executable": "A program that this host does not usually run",
    "executable_hash": "A program whose content is not what it usually is on this host",
    "parent_child": "A program started by one that does not usually start it",
    "user_executable": "A program that this user does not usually run",
    "destination": "A destination that this program does not usually connect to",
    "listening_port": "A port that this program does not usually listen on",
    "logon_hour": "A logon at an hour at which this user does not usually log on",
}


def signal(kind: Kind, event: Event, seen: int, days: int, points: int) -> Signal:
    """Return the signal for what `event` shows of `kind`, seen on `seen` of `days` days."""
    rarity = f"{'rare' if seen else 'new'}_{kind}"
    (field, value), *rest = ((name, _short(text)) for name, text in _SHOWN[kind](event) if text)
    pattern = f"seen on {seen} of {days} days"
    return Signal(
        rule_id=f"baseline:{rarity}",
        name=f"{rarity}(seen {seen} of {days} days)",
        points=points,
        title=_TITLES[kind],
        level="low",
        field=field,
        value=value,
        pattern=pattern,
        further=tuple(Evidence(name, text, "") for name, text in rest),
    )


_Shown = tuple[tuple[str, str], ...]


def _program(event: Event) -> tuple[str, str]:
    process = event.data.process
    return (
        ("process.exe", process.exe) if process and process.exe else ("process.name", process.name if process else "")
    )


def _content(event: Event) -> _Shown:
    process = event.data.process
    hashes = process.hashes if process else {}
    return _program(event), ("process.hashes", " ".join(f"{name}:{digest}" for name, digest in hashes.items()))


def _pair(event: Event) -> _Shown:
    parent = event.data.parent
    field = "parent.exe" if parent and parent.exe else "parent.name"
    return _program(event), (field, (parent.exe or parent.name) if parent else "")


def _use(event: Event) -> _Shown:
    return _program(event), ("user.name", user_name(event.data.user))


def _destination(event: Event) -> _Shown:
    network = event.data.network
    if network is None:
        return (_program(event),)
    where = (
        ("network.destination_host", network.destination_host)
        if network.destination_host
        else (
            "network.destination_ip",
            network.destination_ip,
        )
    )
    return where, ("network.destination_port", str(network.destination_port)), _program(event)


def _port(event: Event) -> _Shown:
    return ("network.source_port", str(listening_port(event))), _program(event)


def _hour(event: Event) -> _Shown:
    return ("user.name", user_name(event.data.user)), ("ts", f"{utc_hour(event):02} h UTC")


_SHOWN: dict[Kind, Callable[[Event], _Shown]] = {
    "executable": lambda event: (_program(event),),
    "executable_hash": _content,
    "parent_child": _pair,
    "user_executable": _use,
    "destination": _destination,
    "listening_port": _port,
    "logon_hour": _hour,
}


def _short(text: str) -> str:
    return text if len(text) <= _VALUE_MOST else text[:_VALUE_MOST] + "…"
