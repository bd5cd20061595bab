"""The sources of process events on Linux, best first."""

from collections.abc import Callable, Iterator

import psutil
from msgspec import Struct

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.audit import AuditSource
from shield.collector.linux.clock import BootClock
from shield.collector.linux.connector import ConnectorSource
from shield.collector.linux.exec import EbpfSource
from shield.collector.linux.procfs import ARGS_LIMIT, ProcessGone, ProcfsReader
from shield.collector.polling import PollingSource
from shield.collector.select import Group
from shield.record import ProcessSnapshot


class SourceOptions(Struct, frozen=True):
    """Sizes of the sources: the BPF ring and the kept part of argv in bytes, the time between polls in seconds."""

    ring_bytes: int = 1 << 24
    args_limit: int = ARGS_LIMIT
    poll_seconds: float = 1.0


def groups(options: SourceOptions) -> list[Group]:
    """Return what this platform is watched for, and the sources in the order in which they are worth trying."""
    return [
        Group(
            "process",
            [
                EbpfSource(options.ring_bytes, options.args_limit),
                AuditSource(args_limit=options.args_limit),
                ConnectorSource(args_limit=options.args_limit),
                PollingSource(options.poll_seconds, _exact_start_ticks()),
            ],
        ),
    ]


def _exact_start_ticks() -> Callable[[int], int]:
    """Return a reader of start times as every other Linux source gives them, for a source that knows only psutil."""
    procfs = ProcfsReader(BootClock(), UserNames())

    def start_ticks(pid: int) -> int:
        try:
            return procfs.start_ticks(pid)
        except ProcessGone:
            raise psutil.NoSuchProcess(pid) from None

    return start_ticks


def snapshot() -> Iterator[ProcessSnapshot]:
    """Yield the processes that run now, those started first first, so that parents come before their children."""
    found = ProcfsReader(BootClock(), UserNames()).snapshot()
    return iter(sorted(found, key=lambda process: (process.start_ticks, process.process.pid)))
