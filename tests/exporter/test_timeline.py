"""A story as a tree: processes below those they came from, bounded, safe from hostile text."""

import io
import re
import unicodedata

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from shield.event import Account, Ancestor, Data, Event, File, Network, Process, Signal, Tamper
from shield.exporter.timeline import Timeline, document, story

SECOND = 1_000_000_000
HOSTILE = "\x1b[2J\u202egpj\nALERT 0 forged" + 5000 * "A"


def event(pid: int, *above: int, at: float = 0, **changes: object) -> Event:
    ancestors = tuple(Ancestor(one, f"{one}-1", exe=f"/bin/p{one}", cmdline=f"p{one}") for one in above)
    process = Process(
        pid, ppid=above[0] if above else 0, entity_id=f"{pid}-1", exe=f"/bin/p{pid}", cmdline=f"p{pid} run"
    )
    made = Event(
        *(1, "web-1", "process_start", "ALLOW", 0, "low_signal"),
        Data(process=process, parent=ancestors[0] if ancestors else None, ancestors=ancestors),
        *("1", "", "aa11"),
        event_id=f"e{pid}-{at}",
        ts_ns=int((1000 + at) * SECOND),
    )
    return replace(made, **changes)


ALERT = {"action": "ALERT", "score": 70, "signals": (Signal("r", "web_shell", 70),), "alert_id": "e3-2"}
STORY = [
    event(2, 1, at=0),
    event(3, 2, 1, at=2, **ALERT),
    event(4, 3, 2, 1, at=200, **(ALERT | {"score": 90})),
    event(5, 2, 1, at=201, category="process_exit"),
]


def drawn(events: list[Event], *, terminal: bool = False, width: int = 100, everything: bool = False) -> list[str]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    console = Console(file=file, force_terminal=terminal, color_system="standard" if terminal else None, width=width)
    console.print(Timeline(story(events), everything=everything), soft_wrap=True, highlight=False)
    return re.sub(r"\x1b\[[\d;]*m", "", raw.getvalue().decode()).splitlines()


def test_a_story_is_drawn_by_ancestry_with_offsets_signals_and_alerts() -> None:
    assert drawn(STORY) == [
        "story aa11 on web-1",
        "1970-01-01T00:16:40Z  4 events in 3 min 21 s, 1 alert, highest score 90",
        "from p1",
        "    +0.000 s ALLOW 0   p2 run  (pid 2)",
        "    +2.000 s ALERT 70  |- p3 run  (pid 3)  [alert opened]  [+70 web_shell]",
        " +3 min 20 s ALERT 90  |  `- p4 run  (pid 4)  [alert updated]  [+70 web_shell]",
        "                       `- p5 run  (pid 5, ended)",
    ]


def wrote(pid: int, path: str, *above: int, at: float, **changes: object) -> Event:
    """A file that a process wrote."""
    made = event(pid, *above, at=at, category="file_write", event_id=f"w{at}", **changes)
    return replace(made, data=replace(made.data, file=File(path)))


def test_what_a_process_did_stands_below_it() -> None:
    connected = event(4, 3, 2, 1, at=3, category="network_connection", event_id="c")
    network = Network("tcp", destination_ip="192.0.2.9", destination_port=443, initiated=True)
    connected = replace(connected, data=replace(connected.data, network=network))
    added = event(9, at=4, category="account_change", data=Data(account=Account("user", "eve", "added", 0)))
    assert drawn([*STORY[:2], wrote(3, "/etc/x", 2, 1, at=2.5, **ALERT), connected, added])[3:] == [
        "    +4.000 s ALLOW 0   user eve added, uid 0",
        "    +0.000 s ALLOW 0   p2 run  (pid 2)",
        "    +2.000 s ALERT 70  `- p3 run  (pid 3)  [alert opened]  [+70 web_shell]",
        "    +2.500 s ALERT 70     |  p3 wrote /etc/x  [alert updated]  [+70 web_shell]",
        "                          `- p4 run  (pid 4)",
        "    +3.000 s ALLOW 0            p4 connected to 192.0.2.9:443 over tcp",
    ]


def test_of_much_that_one_process_did_without_findings_the_rest_is_counted() -> None:
    busy = [STORY[0], *(wrote(2, f"/tmp/{n}", 1, at=n + 1) for n in range(50)), wrote(2, "/etc/x", 1, at=99, **ALERT)]
    lines = drawn(busy)
    assert lines[-2].endswith("p2 wrote /etc/x  [alert updated]  [+70 web_shell]")
    assert lines[-1].endswith("... and 42 more events without findings")
    assert len(drawn(busy, everything=True)) == 3 + 52


def test_a_terminal_gets_lines_of_a_tree() -> None:
    assert any("└─ p4 run" in line for line in drawn(STORY, terminal=True))


def test_many_quiet_processes_are_counted_unless_all_are_asked_for() -> None:
    many = [STORY[0], *(event(100 + number, 2, 1, at=number) for number in range(50))]
    assert drawn(many)[-1].endswith("`- ... and 42 more without findings")
    assert len(drawn(many, everything=True)) == 3 + 51


def test_records_that_contradict_each_other_end_in_a_tree_all_the_same() -> None:
    told = story([event(2, 3), event(3, 2), event(2, 2), event(3, 3, 3)])
    assert sorted(branch.told.pid for branch in told.branches()) == [2, 3]


def test_a_very_deep_story_is_drawn() -> None:
    deep = [event(number, number - 1, at=number) for number in range(2, 3000)]
    lines = drawn(deep, terminal=True, width=80)
    assert len(lines) >= 2998
    assert max(map(cell_len, lines)) <= 80
    assert document(story(deep))["processes"][-1]["parent"] == "2998-1"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_hostile_text_stays_on_its_line(width: int) -> None:
    ancestor = Ancestor(7, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    data = Data(process=Process(1, exe=HOSTILE, cmdline=HOSTILE), parent=ancestor, ancestors=(ancestor,))
    signals = (Signal(HOSTILE, HOSTILE, 1),)
    bad = replace(STORY[0], data=data, correlation_id=HOSTILE, host=HOSTILE, signals=signals, alert_id=HOSTILE)
    other = replace(bad, category="tamper", data=Data(tamper=Tamper(HOSTILE, HOSTILE)))
    lines = drawn([bad, other], terminal=True, width=width)
    assert len(lines) == 5
    assert max(map(cell_len, lines)) <= width
    assert not [each for each in "".join(lines) if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co")]


def test_as_data_each_process_names_the_one_above() -> None:
    made = document(story(STORY))
    assert [(one["id"], one["parent"]) for one in made["processes"]] == [
        ("2-1", None),
        ("3-1", "2-1"),
        ("4-1", "3-1"),
        ("5-1", "2-1"),
    ]
    assert made["processes"][1]["events"][0]["offset_ns"] == 2 * SECOND
    assert made["origin"] == [{"pid": 1, "exe": "/bin/p1", "cmdline": "p1"}]
