"""What an event shows that can be normal or not on this host: observations, each of one kind about one subject."""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from shield.event import Ancestor, Category, Event, Process, User
from shield.scorer.baseline.steady import bounded, steady_path

Kind = Literal[
    "executable",
    "executable_hash",
    "parent_child",
    "user_executable",
    "destination",
    "listening_port",
    "logon_hour",
]
Subject = tuple[str, ...]

KINDS: tuple[Kind, ...] = get_args(Kind)
CROWDED: frozenset[Kind] = frozenset(("destination", "listening_port"))
"""The kinds in which one program can have subjects without end; the subject `(program,)` stands for all of them."""

_HOUR_NS = 3_600_000_000_000
_EPHEMERAL = 32_768  # from here on systems choose ports by themselves: ip(7), ip_local_port_range
_HASHES = ("sha256", "sha1", "md5")


class Observation(NamedTuple):
    """One thing seen. It is known if its subject is, or one of the `vouchers`, which stand for it."""

    kind: Kind
    subject: Subject
    vouchers: tuple[Subject, ...] = ()


def observations(event: Event) -> tuple[Observation, ...]:
    """Return what `event` shows; of a process start the executable comes first."""
    observe = _OBSERVERS.get(event.category)
    return observe(event) if observe else ()


def _process_start(event: Event) -> tuple[Observation, ...]:
    data = event.data
    process, parent = data.process, data.parent
    if process is None:
        return ()
    seen = _program(_named(process), _named(parent), user_name(data.user))
    return (*seen, *_content(process)) if process.hashes else seen


@lru_cache(maxsize=8192)
def _program(exe: str, parent_exe: str, user: str) -> tuple[Observation, ...]:
    if not exe:
        return ()
    program = steady_path(exe)
    seen = [Observation("executable", (program,))]
    if parent_exe:
        seen.append(Observation("parent_child", (steady_path(parent_exe), program)))
    if user:
        seen.append(Observation("user_executable", (bounded(user), program)))
    return tuple(seen)


def _content(process: Process) -> tuple[Observation, ...]:
    digest = next((f"{name}:{process.hashes[name]}" for name in _HASHES if process.hashes.get(name)), "")
    exe = _named(process)
    return (Observation("executable_hash", (steady_path(exe), bounded(digest.lower()))),) if exe and digest else ()


def _connection(event: Event) -> tuple[Observation, ...]:
    network, exe = event.data.network, _named(event.data.process)
    if network is None or network.initiated is False or not exe:
        return ()
    place = network.destination_host.lower() or network.destination_ip
    return _connected(exe, place, network.destination_port) if place else ()


@lru_cache(maxsize=8192)
def _connected(exe: str, place: str, port: int) -> tuple[Observation, ...]:
    program = steady_path(exe)
    return (Observation("destination", (program, bounded(place), _port(port)), ((program,),)),)


def _listen(event: Event) -> tuple[Observation, ...]:
    network, exe = event.data.network, _named(event.data.process)
    if network is None or not exe:
        return ()
    return _listening(exe, network.transport.lower(), listening_port(event))


@lru_cache(maxsize=8192)
def _listening(exe: str, transport: str, port: int) -> tuple[Observation, ...]:
    program = steady_path(exe)
    return (Observation("listening_port", (program, bounded(transport), _port(port)), ((program,),)),)


def _logon(event: Event) -> tuple[Observation, ...]:
    user = user_name(event.data.user)
    return _logged_on(user, utc_hour(event)) if user else ()


@lru_cache(maxsize=8192)
def _logged_on(user: str, hour: int) -> tuple[Observation, ...]:
    who = bounded(user)
    beside = tuple((who, f"{(hour + offset) % 24:02}") for offset in (-1, 1))
    return (Observation("logon_hour", (who, f"{hour:02}"), beside),)


def user_name(user: User | None) -> str:
    """Return what the baseline calls a user: the name in force, else the number, "" where neither is known."""
    if user is None:
        return ""
    return user.effective_name or user.name or ("" if user.id is None else str(user.id))


def listening_port(event: Event) -> int:
    """Return the port that a network_listen event is about."""
    network = event.data.network
    return (network.source_port or network.destination_port) if network else 0


def utc_hour(event: Event) -> int:
    """Return the hour of the day in which `event` happened, 0 to 23, UTC."""
    return event.ts_ns // _HOUR_NS % 24


def _named(process: Process | Ancestor | None) -> str:
    return (process.exe or process.name) if process else ""


def _port(port: int) -> str:
    return "*" if port >= _EPHEMERAL else str(port)


_OBSERVERS: dict[Category, Callable[[Event], tuple[Observation, ...]]] = {
    "process_start": _process_start,
    "network_connection": _connection,
    "network_listen": _listen,
    "auth_success": _logon,
}
