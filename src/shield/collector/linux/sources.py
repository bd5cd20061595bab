"""The sources of Linux: of each kind of telemetry the best first."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.files.fanotify import FanotifySource
from shield.collector.linux.files.inotify import InotifySource
from shield.collector.linux.files.sensitive import FileOptions
from shield.collector.linux.identity.accounts_change import AccountSource
from shield.collector.linux.identity.auth_log import LOGS
from shield.collector.linux.identity.source import IdentityOptions, IdentitySource
from shield.collector.linux.kernel.state import KernelSource
from shield.collector.linux.network.sockets import SocketSource
from shield.collector.linux.packages.packages import Packages
from shield.collector.linux.persistence.drift import PersistenceSource
from shield.collector.linux.privilege.credentials import CredentialsSource
from shield.collector.linux.process.audit import AuditSource
from shield.collector.linux.process.connector import ConnectorSource
from shield.collector.linux.process.exec import EbpfSource
from shield.collector.linux.procfs import ProcessGone, ProcfsReader
from shield.collector.linux.provenance.service import ProvenanceOptions, Provenances
from shield.collector.options import SourceOptions
from shield.collector.polling import PollingSource
from shield.collector.select import Group
from shield.collector.source import Kind, Source
from shield.record import ProcessSnapshot


class Sources:
    """All that a Linux host is watched with; what several sources share is made once."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options
        self._packages = Packages()

    def groups(self) -> list[Group]:
        """Return what the options ask for, none opened."""
        made = {
            "network": self._network,
            "file": self._files,
            "identity": self._identity,
            "account": lambda: [AccountSource()],
            "persistence": lambda: [PersistenceSource(owner_of=self._packages.owner_of)],
            "privilege": lambda: [CredentialsSource()],
            "kernel": lambda: [KernelSource()],
        }
        wanted: list[Kind] = [kind for kind in made if kind in self._options.kinds]
        return [Group("process", self._processes()), *(Group(kind, made[kind]()) for kind in wanted)]

    def provenances(self) -> Provenances:
        """Return what tells where programs come from."""
        return Provenances(self._packages, ProvenanceOptions(max_bytes=self._options.program_bytes))

    def snapshot(self) -> Iterator[ProcessSnapshot]:
        """Yield the processes that run now, those started first first, so that parents come before their children."""
        found = ProcfsReader(BootClock(), UserNames()).snapshot()
        return iter(sorted(found, key=lambda process: (process.start_ticks, process.process.pid)))

    def _processes(self) -> list[Source]:
        options = self._options
        return [
            EbpfSource(options.ring_bytes, options.args_limit, network="network" in options.kinds),
            AuditSource(args_limit=options.args_limit),
            ConnectorSource(args_limit=options.args_limit),
            PollingSource(options.poll_seconds, _exact_start_ticks()),
        ]

    def _network(self) -> list[Source]:
        return [SocketSource()]

    def _files(self) -> list[Source]:
        options = self._options
        watched = FileOptions(places=options.places, exclude=options.exclude, hash_limit=options.hash_bytes)
        return [FanotifySource(watched), InotifySource(watched)]

    def _identity(self) -> list[Source]:
        logs = tuple(map(Path, self._options.logs)) or LOGS
        return [IdentitySource(IdentityOptions(logs=logs, accounts_told="account" in self._options.kinds))]


def _exact_start_ticks() -> Callable[[int], int]:
    """Return a reader of start times as every other Linux source gives them, for a source that knows only psutil."""
    procfs = ProcfsReader(BootClock(), UserNames())

    def start_ticks(pid: int) -> int:
        try:
            return procfs.start_ticks(pid)
        except ProcessGone:
            raise psutil.NoSuchProcess(pid) from None

    return start_ticks
