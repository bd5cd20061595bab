"""The index finds exactly what was put in, and knows when it is not whole."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.scorer.indicators.index import Builder, DamagedIndex, Index, block
from shield.scorer.indicators.indicator import Indicator, Kind
from shield.scorer.indicators.value import Refused, guess, normal

SALT = b"0123456789abcdef"


def index(*indicators: Indicator) -> Index:
    builder = Builder(SALT)
    for one in indicators:
        builder.add(one)
    return Index(block(builder))


def one(kind: Kind, value: str, expires_ns: int = 0) -> Indicator:
    return Indicator(kind, value, "feed", expires_ns, "high", "note")


hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)


@settings(max_examples=100, deadline=None)
@given(st.sets(hashes, max_size=60), st.sets(hashes, max_size=20))
def test_membership_equals_that_of_a_set(inside: set[str], asked: set[str]) -> None:
    found = index(*(one("sha256", value) for value in inside))
    for value in inside | asked:
        assert [hit.value for hit in found.hash("sha256", value)] == ([value] if value in inside else [])


labels = st.sampled_from(["a", "b", "evil", "x-1"])
names = st.lists(labels, min_size=1, max_size=4).map(lambda parts: ".".join([*parts, "example"]))


@settings(max_examples=200, deadline=None)
@given(st.sets(names, max_size=8), names)
def test_a_domain_is_found_for_itself_and_what_is_below_it(inside: set[str], asked: str) -> None:
    found = index(*(one("domain", name) for name in inside))
    expected = {name for name in inside if asked == name or asked.endswith(f".{name}")}
    assert {hit.value for hit in found.domain(asked)} == expected


addresses = st.integers(0, 2**32 - 1).map(lambda number: str(ipaddress.IPv4Address(number)))
six = st.integers(0, 2**128 - 1).map(lambda number: str(ipaddress.IPv6Address(number)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.one_of(addresses, six), st.integers(8, 32)), max_size=8), st.one_of(addresses, six))
def test_an_address_is_found_in_every_network_that_holds_it(nets: list[tuple[str, int]], asked: str) -> None:
    networks = {ipaddress.ip_network(net, strict=False) for net in (f"{address}/{length}" for address, length in nets)}
    found = index(*(one("cidr", str(net)) for net in networks), one("ip", asked))
    own = ipaddress.ip_address(asked)
    expected = {str(net) for net in networks if own in net} | {asked}
    assert {hit.value for hit in found.ip(asked)} == expected


def test_a_hit_says_who_says_so_and_until_when() -> None:
    (hit,) = index(one("url", "http://evil.example/", 5)).url("http://evil.example/")
    assert hit == Indicator("url", "http://evil.example/", "feed", 5, "high", "note")


def test_a_url_without_a_scheme_is_found_with_any() -> None:
    assert index(one("url", "evil.example/x")).url("https://evil.example/x")


def test_file_names_have_no_case_where_the_platform_has_none() -> None:
    found = index(one("file_name", "Evil.exe"), one("path", "C:\\Temp\\Drop.DLL"))
    assert found.file("C:\\users\\EVIL.EXE", caseless=True)
    assert found.file("c:\\temp\\drop.dll", caseless=True)
    assert not found.file("/tmp/evil.exe", caseless=False)
    assert found.file("/tmp/Evil.exe", caseless=False)


def test_of_a_value_that_comes_twice_the_one_that_lasts_longer_stays() -> None:
    for order in ((5, 9), (9, 5)):
        (hit,) = index(*(one("domain", "a.example", expires) for expires in order)).domain("a.example")
        assert hit.expires_ns == 9
    (hit,) = index(one("domain", "a.example", 9), one("domain", "a.example")).domain("a.example")
    assert hit.expires_ns == 0


def test_an_empty_index_finds_nothing() -> None:
    empty = index()
    assert len(empty) == 0
    assert not empty.hash("md5", "ab" * 16)
    assert not empty.domain("a.b.c")
    assert not empty.ip("1.2.3.4")


def test_an_index_cut_short_anywhere_is_refused() -> None:
    builder = Builder(SALT)
    builder.add(one("domain", "a.example"))
    whole = block(builder)
    Index(whole)
    for cut in range(len(whole)):
        with pytest.raises(DamagedIndex):
            Index(whole[:cut])


urls = st.builds(
    lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
    st.sampled_from(["http", "HTTPS", "hxxp", "ftp"]),
    st.sampled_from(
        ["Evil.example", "evil[.]example", "münchen.example", "1.2.3.4", "[2001:db8::1]", "u:p@evil.example"]
    ),
    st.sampled_from(["", ":80", ":443", ":8443"]),
    st.text(alphabet="/aB%2f?=#.[]()", max_size=12).map(lambda text: f"/{text}" if text else ""),
)
anything = st.one_of(urls, names, addresses, six, hashes, st.text(max_size=30), st.sampled_from(["A.EXE", "/tmp/x"]))


@settings(max_examples=500, deadline=None)
@given(anything)
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    try:
        kind, value = guess(text)
    except Refused:
        return
    assert normal(kind, value) == value


@settings(max_examples=200, deadline=None)
@given(st.lists(anything, max_size=20))
def test_whatever_is_accepted_is_found_again(texts: list[str]) -> None:
    accepted: list[Indicator] = []
    for text in texts:
        try:
            accepted.append(one(*guess(text)))
        except Refused:
            continue
    found = index(*accepted)
    for indicator in accepted:
        value = indicator.value
        look = {
            "md5": lambda value=value: found.hash("md5", value),
            "sha1": lambda value=value: found.hash("sha1", value),
            "sha256": lambda value=value: found.hash("sha256", value),
            "ip": lambda value=value: found.ip(value),
            "cidr": lambda value=value: found.ip(value.partition("/")[0]),
            "domain": lambda value=value: found.domain(value),
            "url": lambda value=value: found.url(value),
            "file_name": lambda value=value: found.file(f"/x/{value}", caseless=True),
            "path": lambda value=value: found.file(value, caseless=True),
        }[indicator.kind]
        assert indicator.kind in {hit.kind for hit in look()}
