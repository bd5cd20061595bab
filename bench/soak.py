"""A day in twenty minutes: does Shield stay the same, with every source busy all the time?

A crowd of small workers does what a busy host does in 24 hours, about 72 times as fast: programs start, connect and
listen, write and remove files in a watched place, log in and fail to. Every ten seconds Shield's resident memory, its
open descriptors, and the size of its state are noted. `growth` is what the line of least squares through all samples
but those of the first quarter, in which caches fill, comes to over their time. At the end every ledger must balance.

Not included: the wall clock's own 24 hours (timers of a day do not come round), rotation of the events files by age.
"""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Any

from msgspec import Struct

from bench import report, usage
from bench.contestants import Shield
from bench.line_up import folder
from bench.report import Row, progress
from bench.spawning import TRUE

_SAMPLE_S = 10.0
_WARM_UP = 0.25
_MIB = 1 << 20
_ROTATE_BYTES = 16 * _MIB
_KEEP_FILES = 4


class Settings(Struct, frozen=True):
    """How long, in seconds, and how much a second each worker does."""

    seconds: float = 1200.0
    programs: int = 40
    connections: int = 40
    files: int = 20
    logins: int = 5


QUICK = Settings(seconds=60.0)


class Sample(Struct, frozen=True):
    """Shield at one moment, `at` seconds after the start."""

    at: float
    rss_mib: float
    descriptors: int
    state_bytes: int


class Growth(Struct, frozen=True):
    """How one figure moved: at the end of the warm-up, at the end, and the line through what lies between."""

    first: float
    last: float
    growth: float


def measure(settings: Settings) -> dict[str, Any]:
    """Let the workers work for so long beside Shield, and return what became of it."""
    with folder() as place:
        watched, log = place / "watched", place / "auth.log"
        watched.mkdir()
        log.touch()
        config = {
            "output": {"rotate_bytes": _ROTATE_BYTES, "keep_files": _KEEP_FILES},
            "files": {"places": {"soak": [f"{watched}/**"]}},
            "identity": {"logs": [str(log)]},
        }
        with Shield(place, config) as shield:
            stopped = threading.Event()
            workers = _workers(settings, watched, log)
            threads = [threading.Thread(target=_repeat, args=(work, rate, stopped)) for work, rate in workers]
            for thread in threads:
                thread.start()
            samples = _samples(shield, place / "state", settings.seconds)
            stopped.set()
            for thread in threads:
                thread.join()
            shield.finish()
            health = shield.health()
    return {
        "settings": settings,
        "skipped": {},
        "disturbed": [],
        "samples": samples,
        "growth": {name: _growth(samples, name) for name in ("rss_mib", "descriptors", "state_bytes")},
        "events": health["events"],
        "cpu_percent": round(100 * health["cpu_s"] / health["uptime_s"], 2),
        "lost": shield.lost,
        "unaccounted": {each["source"]: _unaccounted(each) for each in health["ledgers"]},
    }


def _workers(settings: Settings, watched: Path, log: Path) -> Sequence[tuple[Callable[[int], None], int]]:
    return (
        (_start, settings.programs),
        (_connect, settings.connections),
        (lambda number: _write(watched, number), settings.files),
        (lambda number: _log_in(log, number), settings.logins),
    )


def _repeat(work: Callable[[int], None], rate: int, stopped: threading.Event) -> None:
    number = 0
    while not stopped.wait(1 / rate):
        work(number)
        number += 1


def _start(number: int) -> None:
    subprocess.run([TRUE, str(number)], check=False)


def _connect(number: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"x" * (number % 4096 + 1))
        server.accept()[0].close()


def _write(watched: Path, number: int) -> None:
    file = watched / f"file{number % 500}"
    file.write_text(str(number))
    if number % 3 == 0:
        file.chmod(0o600 if number % 2 else 0o644)
    if number % 5 == 0:
        file.unlink()


def _log_in(log: Path, number: int) -> None:
    stamp = time.strftime("%b %d %H:%M:%S")
    outcome = "Accepted" if number % 3 == 0 else "Failed"
    address = f"198.51.100.{number % 250 + 1}"
    with log.open("a") as file:
        file.write(
            f"{stamp} host sshd[{number % 30_000 + 1000}]: {outcome} password for user{number % 97} from {address} "
            f"port {number % 60_000 + 1024} ssh2\n"
        )


def _samples(shield: Shield, state: Path, seconds: float) -> list[Sample]:
    pid = shield.processes()[0]
    began, samples = time.monotonic(), list[Sample]()
    while (at := time.monotonic() - began) < seconds:
        held = sum(file.stat().st_size for file in state.rglob("*") if file.is_file())
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        samples.append(Sample(round(at, 1), usage.memory([pid]).rss_mib, descriptors, held))
        progress(f"{at:.0f} s: {samples[-1].rss_mib:.1f} MiB, {descriptors} descriptors, {held:,} bytes of state")
        time.sleep(_SAMPLE_S)
    return samples


def _growth(samples: Sequence[Sample], name: str) -> Growth:
    settled = samples[int(len(samples) * _WARM_UP) :]
    times, values = [each.at for each in settled], [float(getattr(each, name)) for each in settled]
    slope = linear_regression(times, values).slope if len(settled) > 1 else 0.0
    return Growth(values[0], values[-1], round(slope * (times[-1] - times[0]), 3))


def _unaccounted(ledger: dict[str, Any]) -> int:
    fates = sum(sum(ledger[fate].values()) for fate in ("filtered", "folded", "dropped"))
    return ledger["seen"] - ledger["kept"] - ledger["pending"] - fates


def _table(result: dict[str, Any]) -> list[Row]:
    table: list[Row] = [["A day in twenty minutes"], ["", "after warm-up", "at the end", "growth"]]
    table += [[name, each["first"], each["last"], each["growth"]] for name, each in result["growth"].items()]
    table.append(["events", *(f"{name} {count:,}" for name, count in sorted(result["events"].items()))])
    table.append(["CPU", f"{result['cpu_percent']} % of a core"])
    table.append(["lost", str(result["lost"] or "nothing")])
    table.append(
        ["unaccounted", str({name: count for name, count in result["unaccounted"].items() if count} or "none")]
    )
    return table


def main() -> None:
    """Run from the command line."""
    asked = report.arguments(__doc__).parse_args()
    report.carry_out(asked, lambda: measure(QUICK if asked.quick else Settings()), _table)


if __name__ == "__main__":
    main()
