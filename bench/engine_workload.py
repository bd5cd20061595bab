"""What the contestants work on: folders of rules, streams of events, event logs; made once, the same for both."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import msgspec
import yaml
from msgspec import Struct

from bench import evtx_file, windows_events
from bench.engine_task import Convert, Load, Loaded
from bench.engine_turn import ask
from bench.evtx_file import Recorded, Written
from bench.report import progress
from shield.agent.rulebook import shipped
from shield.record import LogRecord

SEED = 20_261_124
_DATA = Path(__file__).parents[2] / "shared" / "data"
PUBLIC_RULES, RECORDED = _DATA / "sigmahq", _DATA / "regression"
_SUFFIXES = (".yml", ".yaml")
_WARM_UP = 2_000


class NoWork(Exception):
    """There is nothing to measure with; the text says what is missing and what to do."""


class Rules(Struct, frozen=True):
    """A folder of rules, compiled by each contestant: Shield's cache, and the peer's queries.

    `converted` is how the peer fared with that.
    """

    count: int
    folder: str
    cache: str
    queries: str
    converted: Loaded


class Stream(Struct, frozen=True):
    """Events as JSON lines. `kinds` are channel and code of each, `repeated` the shares of values seen before."""

    path: str
    kinds: list[tuple[str, str]]
    repeated: dict[str, float]


class Log(Struct, frozen=True):
    """An event log, and what is in it."""

    path: str
    contents: Written


def rule_files(place: Path | None) -> tuple[Path, list[Path]]:
    """Return the folder of rules and the files in it that are about Windows. Raises NoWork where there are none."""
    folder = place or (PUBLIC_RULES if PUBLIC_RULES.is_dir() else shipped())
    if not folder.is_dir():
        raise NoWork(f"{folder}: there is no such folder; name one with Sigma rules (--rules DIR)")
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in _SUFFIXES and _is_about_windows(path)]
    if not found:
        raise NoWork(f"{folder}: no Sigma rule in it is about Windows; name a folder that has some (--rules DIR)")
    return folder, found


def rules(folder: Path, files: Sequence[Path], count: int | None = None) -> Rules:
    """Put `count` of the rules, drawn at random but always the same, or all of them, into a folder; compile them."""
    drawn = sorted(Random(SEED).sample(files, count)) if count and count < len(files) else files
    progress(f"compiling {len(drawn):,} rules")
    cache, queries = f"{folder}.cache", f"{folder}.json"
    folder.mkdir()
    for number, path in enumerate(drawn):
        shutil.copyfile(path, folder / f"{number:05}-{path.name}")
    ask(Load(str(folder), cache), Loaded)
    return Rules(len(drawn), str(folder), cache, queries, ask(Convert(str(folder), queries), Loaded))


def recorded_files() -> list[Recorded]:
    """Return the recorded event logs whose events can be varied; none where there are no recorded ones."""
    return evtx_file.read_folder(RECORDED) if RECORDED.is_dir() else []


def stream(path: Path, count: int, recorded: Iterable[LogRecord], distinct: bool = False, seed: int = SEED) -> Stream:
    """Write a stream of events."""
    progress(f"making {count:,} events{' without a repeated path or command line' if distinct else ''}")
    made = list(windows_events.stream(seed, count, list(recorded), distinct))
    encode = msgspec.json.encode
    path.write_bytes(b"".join(encode(windows_events.document(record)) + b"\n" for record in made))
    return Stream(str(path), [(one.channel, one.code) for one in made], windows_events.repeated(made))


def warm_up(path: Path, recorded: Iterable[LogRecord]) -> Stream:
    """Write events of the same kinds that aren't in any stream that is measured."""
    return stream(path, _WARM_UP, recorded, seed=SEED + 1)


def log(path: Path, sources: Sequence[Recorded], count: int) -> Log:
    """Write an event log of `count` records; raises ValueError if it can't be read back to the last of them."""
    progress(f"making an event log of {count:,} records")
    known = [one for one in sources if (one.channel, one.code) in windows_events.KINDS]
    source = windows_events.Source(SEED)
    contents = evtx_file.write(path, known, count, source.record)
    if sum(1 for _ in evtx_file.records(path)) != count:
        raise ValueError(f"{path}: what was written can't be read back")
    return Log(str(path), contents)


def recorded_events() -> list[LogRecord]:
    """Return the recorded events; none where there are no recorded logs."""
    return [record for path in sorted(RECORDED.rglob("*.evtx")) for record in evtx_file.records(path)]


def _is_about_windows(path: Path) -> bool:
    try:
        documents = list(yaml.load_all(path.read_bytes(), yaml.CSafeLoader))
    except (OSError, yaml.YAMLError):
        return False
    sources = [one.get("logsource") for one in documents if isinstance(one, dict)]
    return any(isinstance(source, dict) and source.get("product") == "windows" for source in sources)
