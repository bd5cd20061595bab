"""The peer: zargunlite, a rewrite of Zircolite, which puts events into an SQLite table and runs each rule as a query.

It is used as its authors do: pySigma turns the rules into SQL once (backend `sqlite`, pipelines `sysmon` and
`windows-logsources`), the events go into a table in memory with an index on their id, and every query runs over all.
What was added only makes it faster: msgspec decodes the JSON, and the rules are turned into SQL beforehand.
"""

import time
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import yaml
from evtx import PyEvtxParser
from msgspec import Struct
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from bench.engine_task import Clock, Convert, Detect, Hits, Loaded, LoadQueries, MatchBySql, Matched, memory

Row = dict[str, Any]

NAME = "zargunlite"
NEEDED = (NAME, "pysigma-backend-sqlite", "pysigma-pipeline-sysmon", "pysigma-pipeline-windows")
_INDEXED = "EventID"


class Query(Struct, frozen=True):
    """A rule as the peer runs it; `required_fields` are the columns it asks for, `channel` the logs it is about."""

    title: str
    id: str
    rule: list[str]
    level: str
    tags: list[str]
    required_fields: list[str]
    channel: list[str]


_queries = msgspec.json.Decoder(list[Query])


def versions() -> dict[str, str | None]:
    """Return the version of each package that the peer is made of, None where it isn't installed."""
    return {name: _version(name) for name in NEEDED}


def read_queries(path: Path) -> list[Query]:
    """Return the queries that `convert` wrote."""
    return _queries.decode(path.read_bytes())


def convert(task: Convert) -> Loaded:
    """Turn rules into queries."""
    from sigma.backends.sqlite import sqliteBackend  # noqa: PLC0415  only here does it take part
    from sigma.pipelines.sysmon import sysmon_pipeline  # noqa: PLC0415
    from sigma.pipelines.windows import windows_logsource_pipeline  # noqa: PLC0415

    began = time.perf_counter()
    backend = sqliteBackend(sysmon_pipeline() + windows_logsource_pipeline())
    queries: list[Any] = []
    refused: dict[str, str] = {}
    for document in _documents(Path(task.rules)):
        try:
            queries += backend.convert_rule(SigmaRule.from_dict(document), "zircolite")
        except (SigmaError, NotImplementedError) as error:
            refused[str(document.get("id") or document.get("title"))] = str(error).split("\n", 1)[0]
    Path(task.queries).write_bytes(msgspec.json.encode(queries))
    return Loaded(len(queries), time.perf_counter() - began, {}, memory(), refused)


def load(task: LoadQueries) -> Loaded:
    """Load queries as the peer does when it starts."""
    began = time.perf_counter()
    rules = _rules(read_queries(Path(task.queries)))
    return Loaded(len(rules), time.perf_counter() - began, {}, memory())


def match(task: MatchBySql) -> Matched:
    """Put events into a table and run all queries over it; decoding them isn't counted."""
    from zargunlite.core import ZargunCore  # noqa: PLC0415

    queries = read_queries(Path(task.queries))
    with Path(task.events).open("rb") as lines:
        rows = [_row(msgspec.json.decode(line)) for line in islice(lines, task.count)]
    clock, hits = Clock(), Hits()
    with ZargunCore() as core:
        with clock.step("insert"):
            core.load_data(rows, strict_field_name=False)
            core.create_index(_INDEXED)
        for query, rule in zip(queries, _rules(queries), strict=True):
            with clock.step("query"):
                found = core.execute_zircolite_rule(rule).matches
            if found:
                hits.setdefault(query.id, []).extend(row["row_id"] - 1 for row in found)
    lacking = _lacking(queries, {name.lower() for row in rows for name in row})
    return Matched([query.id for query in queries], len(rows), clock.total, clock.steps, None, hits, memory(), lacking)


def detect(task: Detect) -> Matched:
    """Read a file, put its events into a table, run all queries, write what they found."""
    from zargunlite.core import ZargunCore  # noqa: PLC0415

    clock, hits = Clock(), Hits()
    queries = read_queries(Path(task.queries))
    with ZargunCore() as core, Path(task.output).open("wb") as output:
        with clock.step("read"):
            found = PyEvtxParser(task.evtx).records_json()
            documents = [msgspec.json.decode(one["data"]) for one in found if one]
        with clock.step("flatten"):
            rows = [_row(document) for document in documents]
        with clock.step("insert"):
            core.load_data(rows, strict_field_name=False)
            core.create_index(_INDEXED)
        for query, rule in zip(queries, _rules(queries), strict=True):
            with clock.step("query"):
                result = core.execute_zircolite_rule(rule)
            with clock.step("write"):
                if result.matches:
                    output.write(msgspec.json.encode(result) + b"\n")
            if result.matches:
                hits.setdefault(query.id, []).extend(row["row_id"] - 1 for row in result.matches)
    return Matched([query.id for query in queries], len(rows), clock.total, clock.steps, None, hits, memory())


def _documents(folder: Path) -> Iterator[Row]:
    for path in sorted(folder.rglob("*.yml")):
        for document in yaml.load_all(path.read_bytes(), yaml.CSafeLoader):
            if isinstance(document, dict) and "detection" in document:
                yield document


def _rules(queries: Iterable[Query]) -> list[Any]:
    from zargunlite.model import ZircoliteRule  # noqa: PLC0415

    return [ZircoliteRule(title=one.title, id=one.id, rule=one.rule, level=one.level, tags=one.tags) for one in queries]


def _row(document: Row) -> Row:
    """Return an event as a row, flattened and named by the peer's own configuration; it stores a Boolean as a text."""
    from zargunlite.preprocess import flatten_json, mapping_field  # noqa: PLC0415

    flat = flatten_json(document)
    assert isinstance(flat, dict)
    row = mapping_field(flat)
    row |= {name: str(value).lower() for name, value in row.items() if isinstance(value, bool)}
    return row


def _lacking(queries: Iterable[Query], columns: set[str]) -> dict[str, str]:
    """Return the rules that ask for a column that no event has, which the peer leaves out, each with that column."""
    lacking = {one.id: [name for name in one.required_fields if name.lower() not in columns] for one in queries}
    return {rule: names[0] for rule, names in lacking.items() if names}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
