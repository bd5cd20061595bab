"""Several files at once: the same events as one after the other, numbered as one run."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from shield.agent.replay_workers import renumbered
from shield.cli.main import app
from shield.event import Data, Event, Log, Signal, decode, encode

AGENT = "agent-1"


def event(fields: dict[str, str], seq: int, value: str = "") -> Event:
    data = Data(log=Log(product="linux", fields=dict(fields)))
    signals = (Signal(rule_id="r", name=value, points=1, value=value),)
    return Event(1, "h", "log_record", "ALLOW", 0, "", data, "", "", "", agent_id=AGENT, seq=seq, signals=signals)


@given(
    st.dictionaries(st.sampled_from(["agent_id", "seq", "a"]), st.sampled_from([AGENT, "1", '"seq":7,'])),
    st.sampled_from(["", f'"agent_id":"{AGENT}","seq":5,', "x"]),
    st.integers(0, 10**12),
)
def test_only_the_number_changes_whatever_the_telemetry_says(fields: dict[str, str], value: str, seq: int) -> None:
    assert decode(renumbered(encode(event(fields, 3, value)), AGENT, seq)) == event(fields, seq, value)


def start(pid: int, exe: str, second: int) -> str:
    process = {"pid": pid, "ppid": 1, "exe": exe, "cmdline": exe, "args": [exe], "start_ns": second * 10**9}
    return json.dumps({"category": "process_start", "ts": second, "host": "h", "data": {"process": process}})


def test_workers_write_what_one_process_writes_for_each_file_alone(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.jsonl")]
    for number, name in enumerate(names):
        lines = [start(100 + at, "/tmp/x" if at % 2 else "/bin/true", 1000 + at) for at in range(4 + number)]
        Path(name).write_text("\n".join([*lines, "damaged"]) + "\n")
    alone: list[dict[str, object]] = []
    for name in names:
        CliRunner().invoke(app, ["replay", name, "--output", str(tmp_path / "one.jsonl")])
        alone += [json.loads(line) for line in (tmp_path / "one.jsonl").read_text().splitlines()]
    done = CliRunner().invoke(app, ["replay", *names, "--workers", "2", "--output", str(tmp_path / "all.jsonl")])
    assert done.exit_code == 2  # each file has a damaged line
    assert "seen 18 = kept 15 + dropped 3" in done.stderr
    together = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [found.pop("seq") for found in together] == list(range(1, 16))
    for found in alone:
        found.pop("seq")
    assert together == alone
