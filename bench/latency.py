"""How soon an event is there: from a spawn to a line that can be read, at a steady rate.

`spawn_to_line_ms` runs from just before posix_spawn until a reader in another process had read the log to the end of
the first line with that process's argument. The creation of the process and its exec are in it. `event_to_line_ms` runs
from the event's own time, which Shield's BPF program takes at the exec; its peers' times are too coarse for that.
The first 50 processes warm up and don't count; `first_ms` is the very first one's delay (auditd has seen one before).
`reader_ms` is the reader alone: from just before a write(2) to the time it noted; it is in all other figures.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from bench.contestants import Contestant, Shield
from bench.daemon import wait_until_quiet
from bench.line_up import AUDIT_PEERS, folder
from bench.quantiles import Tail, quotient, tail
from bench.report import Row, named, progress, ratio_rows
from bench.spawning import paced, series
from bench.tailing import Sight, own_delay, tailing

_NS_TO_MS = 1e-6
_WARM_UP = 50


class Latency(Struct, frozen=True):
    """Milliseconds until a line could be read; `missed` lines were never there."""

    spawn_to_line_ms: Tail | None
    event_to_line_ms: Tail | None
    first_ms: float | None
    missed: int


class _Stamped(Struct):
    ts_ns: int


def measure(contestants: Sequence[type[Contestant]], count: int, rate: float, notes: list[str]) -> dict[str, Any]:
    """Start `count` processes at `rate` a second under each contestant that writes as things happen."""
    with folder() as path:
        reader = tail(own_delay(path, count // 4, rate), _NS_TO_MS)
    delays: dict[str, Latency] = {}
    for contestant in contestants:
        if issubclass(contestant, Shield) or contestant.name in AUDIT_PEERS:
            progress(f"latency: {contestant.name}")
            with folder() as path, contestant(path) as running:
                delays[contestant.name] = _delays(running, count, rate)
                running.finish()
                notes += running.disturbed
    return {"processes": count, "per_s": rate, "reader_ms": reader} | delays | _ratios(delays)


def rows(figures: dict[str, Any]) -> list[Row]:
    """Return the figures as a table."""
    table: list[Row] = [
        [f"From spawn to a readable line, at {figures['per_s']} a second, ms"],
        ["", *_COLUMNS, "first", "missed"],
    ]
    for name, each in named(figures):
        times = each if name == "reader_ms" else each["spawn_to_line_ms"] or {}
        table.append([name, *(times.get(column) for column in _COLUMNS), each.get("first_ms"), each.get("missed")])
    return table + ratio_rows(figures)


_COLUMNS = ("p50", "p99", "max")


def _delays(running: Contestant, count: int, rate: float) -> Latency:
    assert running.log is not None
    work = series(_WARM_UP + count)
    with tailing(running.log) as watched:
        _, begun = paced(work, rate)
        wait_until_quiet(running.log)
    seen = watched.seen(work.mark)
    delays = {index: sight.monotonic_ns - begun[index] for index, (sight, _) in seen.items()}
    counted = [index for index in delays if index >= _WARM_UP]
    stamped = isinstance(running, Shield)
    return Latency(
        spawn_to_line_ms=tail([delays[index] for index in counted], _NS_TO_MS),
        event_to_line_ms=tail([_since_event_ns(*seen[index]) for index in counted if stamped], _NS_TO_MS),
        first_ms=round(delays[0] * _NS_TO_MS, 3) if 0 in delays else None,
        missed=count - len(counted),
    )


def _since_event_ns(sight: Sight, line: bytes) -> int:
    return sight.unix_ns - msgspec.json.decode(line, type=_Stamped).ts_ns


def _ratios(delays: dict[str, Latency]) -> dict[str, float | None]:
    ours = delays[Shield.name].spawn_to_line_ms
    ratios: dict[str, float | None] = {}
    for peer in (name for name in AUDIT_PEERS if name in delays):
        theirs = delays[peer].spawn_to_line_ms
        if ours and theirs:
            ratios[f"p50_ratio_to_{peer}"] = quotient(ours.p50, theirs.p50)
            ratios[f"p99_ratio_to_{peer}"] = quotient(ours.p99, theirs.p99)
    return ratios
