"""The engine's benchmark: what it works on is what it says it is, and its result has what it promises."""

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import pytest

evtx_file = pytest.importorskip("bench.evtx_file")
windows_events = pytest.importorskip("bench.windows_events")
engine_hits = pytest.importorskip("bench.engine_hits")
engine_workload = pytest.importorskip("bench.engine_workload", reason="the benchmarks run on Linux only")

ROOT = Path(__file__).parents[2]
RECORDED = engine_workload.RECORDED
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason=f"there are no recorded event logs in {RECORDED}")
CHUNK = 65536

RULE = """
title: Renderer started
id: 6a7a5f0e-3c58-4a4e-9a39-0a7b3c1d2e4f
logsource: {product: windows, category: process_creation}
detection:
    selection: {CommandLine|contains: --type=renderer}
    condition: selection
"""
WIDE = """
title: Anything in the registry
id: 0b1b3c8e-0f0f-4b43-8f55-7c0a0c9f4a11
logsource: {product: windows, category: registry_set}
detection:
    selection: {TargetObject|contains: Software}
    condition: selection
"""


def test_the_same_seed_gives_the_same_events_and_another_one_others() -> None:
    first, again, other = (list(windows_events.stream(seed, 500)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_all_kinds_come_in_the_order_of_their_times() -> None:
    events = list(windows_events.stream(3, 4_000))
    assert {(one.channel, one.code) for one in events} == set(windows_events.KINDS)
    assert [one.ts_ns for one in events] == sorted(one.ts_ns for one in events)


def test_no_path_and_no_command_line_comes_twice_where_none_may() -> None:
    shares = windows_events.repeated(windows_events.stream(4, 3_000, distinct=True))
    assert set(shares.values()) == {0.0}
    assert windows_events.repeated(windows_events.stream(4, 3_000))["Image"] > 0.5


def synthesised(folder: Path, count: int) -> tuple[Path, dict[int, object], int]:
    """Write a log and return where, what it should hold by record number, and how many of it are recorded ones."""
    sources = [one for one in engine_workload.recorded_files() if (one.channel, one.code) in windows_events.KINDS]
    source, wanted = windows_events.Source(5), {}

    def supply(channel: str, code: str, number: int) -> object:
        wanted[number] = source.record(channel, code, number)
        return wanted[number]

    path = folder / "made.evtx"
    written = evtx_file.write(path, sources, count, supply)
    assert written.records == count
    assert written.size == path.stat().st_size
    return path, wanted, written.recorded


@recorded
def test_a_made_event_log_reads_back_with_every_value(tmp_path: Path) -> None:
    path, wanted, kept = synthesised(tmp_path, 1_500)
    found = list(evtx_file.records(path))
    assert len(found) == 1_500
    made = [(one, wanted[one.record_id]) for one in found if one.host and one.ts_ns == moment(wanted, one.record_id)]
    assert len(made) == 1_500 - kept > 1_000
    for one, expected in made:
        assert (one.channel, one.code) == (expected.channel, expected.code)
        both = one.fields.keys() & expected.fields.keys()  # recorded ones may be of an older version, with fewer
        assert len(both) >= len(one.fields) - 1
        assert {name: one.fields[name] for name in both} == {name: expected.fields[name] for name in both}


def moment(wanted: dict[int, object], number: int) -> int | None:
    """Return the time that the record of that number should have, if one was made."""
    return getattr(wanted.get(number), "ts_ns", None)


@recorded
def test_headers_and_checksums_of_a_made_event_log_are_right(tmp_path: Path) -> None:
    data = synthesised(tmp_path, 400)[0].read_bytes()
    assert struct.unpack_from("<I", data, 124)[0] == zlib.crc32(data[:120])
    chunks, number = struct.unpack_from("<H", data, 42)[0], 0
    assert len(data) == 4096 + CHUNK * chunks
    for chunk in (data[at : at + CHUNK] for at in range(4096, len(data), CHUNK)):
        first, last, _, _, _, last_at, free, summed = struct.unpack_from("<QQQQIIII", chunk, 8)
        assert first == number + 1
        assert summed == zlib.crc32(chunk[512:free])
        assert struct.unpack_from("<I", chunk, 124)[0] == zlib.crc32(chunk[:120] + chunk[128:512])
        assert struct.unpack_from("<Q", chunk, last_at + 8)[0] == last
        number = last
    assert number == 400


@recorded
def test_a_value_that_the_format_has_no_room_for_is_refused(tmp_path: Path) -> None:
    source = next(one for one in engine_workload.recorded_files() if one.code == "1")
    record = windows_events.Source(6).record(source.channel, source.code, 2)
    wrong = msgspec.structs.replace(record, fields={**record.fields, "ProcessId": 1 << 40})
    with pytest.raises(ValueError, match="1099511627776"):
        evtx_file.write(tmp_path / "made.evtx", [source], 10, lambda channel, code, number: wrong)


def test_hits_that_only_one_has_are_told_with_the_reason() -> None:
    kinds = [("Security", "4688"), ("Log", "1")]
    reasons = engine_hits.Reasons({"a": ["Log"], "b": [], "c": []}, {"c": "Field"}, frozenset("abcd"))
    ours = {"a": [0, 1], "b": [1], "c": [1], "d": [0], "late": [7]}
    found = engine_hits.compare(ours, {"a": [1], "b": [0], "e": [0]}, kinds, reasons)
    assert (found.shield, found.peer, found.both, found.unexplained) == (5, 3, 1, 2)
    assert found.only_shield == {
        engine_hits.UNEXPLAINED: 1,
        engine_hits.OTHER_LOG: 1,
        engine_hits.NO_COLUMN: 1,
        engine_hits.NO_QUERY: 1,
    }
    assert found.only_peer == {engine_hits.UNEXPLAINED: 1, engine_hits.NOT_LOADED: 1}


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark."""
    command = [sys.executable, "-m", "bench.engine", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_benchmark_prints_one_json_object_with_ratios_to_its_peer(tmp_path: Path) -> None:
    pytest.importorskip("zargunlite")
    (tmp_path / "renderer.yml").write_text(RULE)
    (tmp_path / "registry.yml").write_text(WIDE)
    ran = run("--json", "--quick", "--rules", str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    same, hits = result["matching"]["same_events"], result["matching"]["hits"]
    assert same["cpu_ratio_to_peer"] > 0
    assert hits["both"] > 0
    assert hits["unexplained"] == 0
    assert set(result) >= {"host", "peer", "settings", "matching", "growth", "end_to_end", "start", "memory"}
    if RECORDED.is_dir():
        assert result["end_to_end"]["cpu_ratio_to_peer"] > 0
        assert result["end_to_end"]["shield"]["hits"] >= result["end_to_end"]["zargunlite"]["hits"] > 0
        assert set(result["stages_us_per_record"]) == {"read", "normalize", "match", "encode"}


def test_a_folder_that_is_missing_or_has_no_rule_about_windows_is_refused(tmp_path: Path) -> None:
    for place, why in ((tmp_path / "nothing", "no such folder"), (tmp_path, "about Windows")):
        ran = run("--quick", "--rules", str(place))
        assert ran.returncode == 2
        assert why in ran.stderr
        assert "Traceback" not in ran.stderr
