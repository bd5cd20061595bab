"""Which events show an indicator, and what is said of it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.event import Data, Dns, Event, File, Network, Process, encode
from shield.policy.schema import Policy
from shield.scorer.indicators.index import Builder, Index, block
from shield.scorer.indicators.indicator import Indicator, level
from shield.scorer.indicators.match import Indicators
from shield.scorer.indicators.value import guess

SHA256 = "ab" * 31 + "cd"
NOW_NS = 1_800_000_000 * 10**9
VALUES = (
    SHA256,
    "evil.example",
    "198.51.100.7",
    "203.0.113.0/24",
    "2001:db8::bad",
    "http://pages.example/kit?id=1",
    "dropper.exe",
    "/tmp/.x",
)


def indicators(*values: str, expires_ns: int = 0, policy: Policy | None = None, source: str = "CERT") -> Indicators:
    builder = Builder(bytes(16))
    for text in values:
        kind, value = guess(text)
        builder.add(Indicator(kind, value, source, expires_ns, level(kind, None), "Loader"))
    return Indicators(Index(block(builder)), policy or Policy(version=1))


def event(data: Data, os: str = "linux", ts_ns: int = NOW_NS) -> Event:
    made = Event(ts_ns // 10**9, "h", "log_record", "ALLOW", 0, "low_signal", data, "1", "", "", ts_ns=ts_ns)
    return msgspec.structs.replace(made, os=os)


def start(**fields: object) -> Data:
    return Data(process=Process(pid=1, **fields))  # pyright: ignore[reportArgumentType]


ALL = indicators(*VALUES)


@pytest.mark.parametrize(
    ("data", "rule_id", "field"),
    [
        (start(hashes={"sha256": SHA256.upper()}), "indicator:hash", "process.hashes.sha256"),
        (Data(file=File("/a", hashes={"SHA256": SHA256})), "indicator:hash", "file.hashes.SHA256"),
        (Data(network=Network(destination_ip="203.0.113.99")), "indicator:ip", "network.destination_ip"),
        (Data(network=Network(source_ip="::ffff:198.51.100.7")), "indicator:ip", "network.source_ip"),
        (Data(network=Network(destination_ip="2001:0db8::0bad")), "indicator:ip", "network.destination_ip"),
        (Data(network=Network(destination_host="C2.Evil.Example.")), "indicator:domain", "network.destination_host"),
        (Data(dns=Dns("a.b.evil.example")), "indicator:domain", "dns.query"),
        (Data(dns=Dns("x.example", answers=("type:  5 evil.example",))), "indicator:domain", "dns.answers"),
        (Data(dns=Dns("x.example", answers=("::ffff:203.0.113.1",))), "indicator:ip", "dns.answers"),
        (start(cmdline="curl -s HTTP://pages.example:80/kit?id=1 -o x"), "indicator:url", "process.cmdline"),
        (start(cmdline="sh -c 'wget (http://pages.example/kit?id=1).'"), "indicator:url", "process.cmdline"),
        (start(cmdline="ping -c1 c2.evil.example"), "indicator:domain", "process.cmdline"),
        (start(cmdline="scp x root@203.0.113.5:/tmp"), "indicator:ip", "process.cmdline"),
        (start(cmdline="curl http://[2001:db8::bad]/"), "indicator:ip", "process.cmdline"),
        (start(cmdline="ssh 2001:db8:0:0:0:0:0:bad"), "indicator:ip", "process.cmdline"),
        (start(exe="/tmp/.x"), "indicator:file", "process.exe"),
        (Data(file=File("/home/u/dropper.exe")), "indicator:file", "file.path"),
    ],
)
def test_an_event_that_shows_an_indicator_has_a_signal(data: Data, rule_id: str, field: str) -> None:
    (signal,) = ALL.signals(event(data))
    assert signal.rule_id == rule_id
    assert signal.field == field
    assert signal.name == f"{rule_id.replace(':', '_')}(CERT)"
    assert "CERT" in signal.pattern
    assert "Loader" in signal.title


@pytest.mark.parametrize(
    "data",
    [
        start(exe="/usr/bin/python3", cmdline="python3 setup.py evil.exampleX notevil.example"),
        start(cmdline="http://pages.example/kit?id=2"),
        start(hashes={"sha256": SHA256[:-2], "imphash": SHA256, "md5": "nonsense"}),
        Data(network=Network(destination_ip="203.0.114.1", source_ip="nonsense", destination_host="example")),
        Data(dns=Dns("notevil.example", answers=("", ":::", "..", "-"))),
        Data(file=File("/x/Dropper.EXE")),
        Data(),
    ],
)
def test_an_event_that_shows_none_has_no_signal(data: Data) -> None:
    assert ALL.signals(event(data)) == ()


def test_names_of_files_have_no_case_on_windows() -> None:
    data = Data(file=File("C:\\Users\\x\\DROPPER.exe"))
    assert ALL.signals(event(data, "windows"))
    assert not ALL.signals(event(data, "linux"))


def test_an_indicator_counts_until_it_expires_by_the_time_of_the_event_whatever_the_clock_does() -> None:
    some = indicators("evil.example", expires_ns=NOW_NS)
    data = Data(dns=Dns("evil.example"))
    assert some.signals(event(data, ts_ns=NOW_NS - 1))
    assert not some.signals(event(data, ts_ns=NOW_NS))
    assert some.signals(event(data, ts_ns=NOW_NS - 10**9))
    (signal,) = some.signals(event(data, ts_ns=1))
    assert signal.pattern.endswith("until 2027-01-15T08:00:00Z")


def test_evidence_of_one_kind_is_one_signal_and_different_kinds_are_several() -> None:
    data = start(cmdline="curl http://evil.example/ http://a.evil.example/ 198.51.100.7", hashes={"sha256": SHA256})
    found = ALL.signals(event(data))
    assert [signal.rule_id for signal in found] == ["indicator:hash", "indicator:domain", "indicator:ip"]
    assert [signal.points for signal in found] == [90, 70, 70]


def test_the_policy_weighs_and_switches_off() -> None:
    data = Data(dns=Dns("evil.example"))
    for weights, points in (({"indicator:domain": 33}, [33]), ({"indicator_domain": 0}, [])):
        some = indicators("evil.example", policy=Policy(version=1, weights=weights))
        assert [signal.points for signal in some.signals(event(data))] == points
    some = indicators("evil.example", policy=Policy(version=1, levels={"high": 11}))
    assert some.signals(event(data))[0].points == 11


def test_a_feeds_name_cannot_break_a_rationale() -> None:
    (signal,) = indicators("evil.example", source="a;b").signals(event(Data(dns=Dns("evil.example"))))
    assert ";" not in signal.name


def test_a_hundred_kilobytes_of_arguments_are_searched_at_both_ends() -> None:
    for text in ("evil.example " + "x." * 50_000, "x " * 50_000 + "evil.example"):
        (signal,) = ALL.signals(event(start(cmdline=text)))
        assert "evil.example" in signal.value
        assert len(signal.value) < 300


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from(["linux", "windows"]))
def test_hostile_telemetry_never_raises(text: str, other: str, os: str) -> None:
    data = Data(
        process=Process(pid=1, exe=text, cmdline=f"{other}://{text} {text}.{other} [::{text}", hashes={"md5": other}),
        file=File(text, hashes={other: text}),
        network=Network(source_ip=text, destination_ip=other, source_host=f"{text}.{other}", destination_host=text),
        dns=Dns(other, answers=(text, f"::{other}")),
    )
    for signal in ALL.signals(event(data, os)):
        encode(msgspec.structs.replace(event(data), signals=(signal,)))
