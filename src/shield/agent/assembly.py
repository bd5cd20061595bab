"""Puts a watch together from the configuration, what judges, where events come from and where they go."""

from pathlib import Path

from shield.agent import statefolder
from shield.agent.budget import Budget
from shield.agent.configuration import Configuration
from shield.agent.detection import Detection
from shield.agent.feeds import Feeds
from shield.agent.parts import Parts, View
from shield.agent.selftest import FOLDER, SelfTest
from shield.agent.sources import HostSources
from shield.agent.watch import Watch, id_bits, new_id
from shield.exporter.jsonl import JsonlWriter
from shield.normalizer.lineage import Lineage
from shield.normalizer.live import ENDED_MOST, LiveNormalizer
from shield.normalizer.origin import Origin

_HOUR_S, _SECOND_NS, _MIB = 3600.0, 1_000_000_000, 1 << 20


def state_folder(settings: Configuration) -> Path | None:
    """Return where the agent keeps what it remembers, None for nowhere."""
    return Path(settings.state) if settings.state else statefolder.default_folder()


def self_test(settings: Configuration, feeds: Feeds) -> SelfTest | None:
    """Return the self-test that the settings ask for; it needs a folder for its files."""
    folder = state_folder(settings)
    if settings.self_test_hours is None or folder is None:
        return None
    return SelfTest(folder / FOLDER, lambda: feeds.provided, settings.self_test_hours * _HOUR_S)


def host_sources(settings: Configuration) -> HostSources:
    """Return what the settings want this host to be watched with, the self-test's folder included.

    Raises ValueError for a source that isn't known here, or a place that can't be watched.
    """
    folder = state_folder(settings)
    return HostSources(settings, [f"{folder.absolute() / FOLDER}/**"] if folder is not None else [])


def assemble(
    settings: Configuration,
    detection: Detection,
    sources: HostSources,
    feeds: Feeds,
    writer: JsonlWriter,
    *,
    test: SelfTest | None,
    status_file: Path | None = None,
    view: View | None = None,
    show_all: bool = False,
) -> Watch:
    """Return a watch over `feeds`, which are open, that has not begun."""
    identity = detection.identity
    origin = Origin(identity.host, identity.os, new_id)
    fold_ns = settings.network.fold_seconds * _SECOND_NS
    return Watch(
        Parts(
            identity=identity,
            feeds=feeds,
            normalizer=LiveNormalizer(origin, Lineage(identity.scope, ended_most=ENDED_MOST), id_bits, fold_ns),
            pipeline=detection.pipeline,
            writer=writer,
            heartbeat_s=settings.heartbeat_seconds,
            view=view,
            show_all=show_all,
            baseline=detection.baseline,
            scanner=detection.scanner,
            enrichment=sources.enrichment,
            companions=detection.companions,
            budget=Budget(settings.budget.cpu_percent, settings.budget.memory_mib * _MIB),
            self_test=test,
            status_file=status_file,
        )
    )
