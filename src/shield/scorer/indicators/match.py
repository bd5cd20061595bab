"""Which indicators an event shows: the one interface through which the rest of Shield sees them.

The time of the event decides what has expired, so that a replay says what the live run said.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from shield.event import Event, Evidence, Severity, Signal
from shield.policy.schema import LEVEL_POINTS, Policy
from shield.scorer.indicators.index import Index
from shield.scorer.indicators.indicator import Group, Indicator
from shield.scorer.indicators.value import domain_form, ip_form, url_form

VALUE_MOST = 240
_TEXT_MOST = 16384
_CANDIDATES_MOST = 64
_REMEMBERED = 8192
_SECOND_NS = 1_000_000_000

_TITLES: dict[Group, str] = {
    "hash": "A file that is known to be malicious",
    "ip": "An address that is known to be malicious",
    "domain": "A domain that is known to be malicious",
    "url": "A URL that is known to be malicious",
    "file": "A file name that malicious software is known to use",
}
_SEVERITIES: tuple[Severity, ...] = ("informational", "low", "medium", "high", "critical")

# Possessive, and begun only where no other can begin: each character of a hostile command line is looked at once.
_URLS = re.compile(r"(?<![a-z])(?:https?|ftps?)://[^\s\"'<>|^`\x00-\x1f]++", re.IGNORECASE)
_NAMES = re.compile(r"(?<![\w.-])[\w-]++(?:\.[\w-]++)++")
_V6 = re.compile(r"(?<![\w:.])[0-9a-f]{0,4}+:[0-9a-f:.]++", re.IGNORECASE)
_TRAILING = ".,;:!?)]}\"'"

Look = Callable[[str], tuple[Indicator, ...]]
Hit = tuple[Indicator, str, str]
"""An indicator, the event's field that shows it, and the field's value."""


class Indicators:
    """Matches events against an index, with the points of a policy."""

    def __init__(self, index: Index, policy: Policy) -> None:
        self.index = index
        self._weights = policy.weights
        self._levels = LEVEL_POINTS | policy.levels
        kinds = index.kinds.keys()
        self._has_hashes = not kinds.isdisjoint(("md5", "sha1", "sha256"))
        self._has_files = not kinds.isdisjoint(("file_name", "path"))
        self._has_ips = not kinds.isdisjoint(("ip", "cidr"))
        self._has_domains = "domain" in kinds
        self._has_urls = "url" in kinds
        self._has_hosts = self._has_ips or self._has_domains
        self._linux_file = _remembered(lambda path: index.file(path, caseless=False))
        self._windows_file = _remembered(lambda path: index.file(path, caseless=True))
        self._host = _remembered(lambda text: _host(index, text))
        self._url = _remembered(lambda text: _url(index, text))

    def __len__(self) -> int:
        return len(self.index)

    def signals(self, event: Event) -> tuple[Signal, ...]:
        """Return a signal for each group of indicators (hash, ip, domain, url, file) that `event` shows."""
        hits = self._hits(event)
        if not hits:
            return ()
        now_ns = event.ts_ns or event.ts * _SECOND_NS
        groups: dict[Group, list[Hit]] = {}
        for hit in hits:
            indicator = hit[0]
            if not indicator.expires_ns or indicator.expires_ns > now_ns:
                groups.setdefault(indicator.group, []).append(hit)
        signals = (self._signal(group, found) for group, found in groups.items())
        return tuple(sorted((one for one in signals if one.points), key=lambda one: (-one.points, one.name)))

    def _hits(self, event: Event) -> list[Hit]:
        hits: list[Hit] = []
        data = event.data
        process, file = data.process, data.file
        if process is not None:
            if self._has_files and process.exe:
                self._add(hits, self._file(event)(process.exe), "process.exe", process.exe)
            if self._has_hashes and process.hashes:
                self._hashes(hits, "process.hashes", process.hashes)
            if "." in process.cmdline or ":" in process.cmdline:
                self._text(hits, process.cmdline)
        if file is not None:
            if self._has_files:
                self._add(hits, self._file(event)(file.path), "file.path", file.path)
            if self._has_hashes and file.hashes:
                self._hashes(hits, "file.hashes", file.hashes)
        if self._has_hosts and (data.network is not None or data.dns is not None):
            for field, host in _hosts(event):
                self._add(hits, self._host(host), field, host)
        return hits

    def _file(self, event: Event) -> Look:
        return self._windows_file if event.os == "windows" else self._linux_file

    def _hashes(self, hits: list[Hit], field: str, hashes: dict[str, str]) -> None:
        for algorithm, value in hashes.items():
            self._add(hits, self.index.hash(algorithm.lower(), value), f"{field}.{algorithm}", value)

    def _text(self, hits: list[Hit], text: str) -> None:
        """Find URLs, domains and addresses in a command line; of a very long one in its two ends."""
        if len(text) > 2 * _TEXT_MOST:
            text = f"{text[:_TEXT_MOST]} {text[-_TEXT_MOST:]}"
        if self._has_urls and "://" in text:
            for url in _few(_URLS, text):
                self._add(hits, self._url(url), "process.cmdline", text)
        if self._has_hosts and "." in text:
            for name in _few(_NAMES, text):
                self._add(hits, self._host(name), "process.cmdline", text)
        if self._has_ips and text.count(":") > 1:
            for address in _few(_V6, text):
                self._add(hits, self._host(address), "process.cmdline", text)

    def _add(self, hits: list[Hit], found: tuple[Indicator, ...], field: str, value: str) -> None:
        if found:
            hits.extend((indicator, field, value) for indicator in found)

    def _signal(self, group: Group, hits: list[Hit]) -> Signal:
        hits = sorted(hits, key=lambda hit: -_SEVERITIES.index(hit[0].level))
        first = hits[0][0]
        evidence = tuple(
            dict.fromkeys(Evidence(field, _around(value, one), _pattern(one)) for one, field, value in hits)
        )
        rule_id = f"indicator:{group}"
        weight = self._weights.get(rule_id, self._weights.get(f"indicator_{group}"))
        return Signal(
            rule_id=rule_id,
            name=f"indicator_{group}({first.source.replace(';', ',')})",
            points=self._levels[first.level] if weight is None else weight,
            title=f"{_TITLES[group]}: {first.note}" if first.note else _TITLES[group],
            level=first.level,
            field=evidence[0].field,
            value=evidence[0].value,
            pattern=evidence[0].pattern,
            further=evidence[1:],
        )


def _hosts(event: Event) -> Iterator[tuple[str, str]]:
    network, dns = event.data.network, event.data.dns
    if network is not None:
        if network.destination_ip:
            yield "network.destination_ip", network.destination_ip
        if network.destination_host:
            yield "network.destination_host", network.destination_host
        if network.source_ip:
            yield "network.source_ip", network.source_ip
        if network.source_host:
            yield "network.source_host", network.source_host
    if dns is not None:
        if dns.query:
            yield "dns.query", dns.query
        for answer in dns.answers[:_CANDIDATES_MOST]:
            yield "dns.answers", answer


def _host(index: Index, text: str) -> tuple[Indicator, ...]:
    """Return the indicators about an address or a name; what Windows logs before it (`type: 5 name`) is cut off."""
    word = text.rpartition(" ")[2]
    address = ip_form(word)
    if address:
        return index.ip(address) if {"ip", "cidr"} & index.kinds.keys() else ()
    name = domain_form(word)
    return index.domain(name) if name else ()


def _url(index: Index, text: str) -> tuple[Indicator, ...]:
    """Return the indicators about a URL in running text, whose last marks may belong to the text."""
    for candidate in dict.fromkeys((text, text.rstrip(_TRAILING))):
        form = url_form(candidate)
        if form and (found := index.url(form)):
            return found
    return ()


def _few(pattern: re.Pattern[str], text: str) -> Iterable[str]:
    found = pattern.findall(text)
    return found if len(found) <= _CANDIDATES_MOST else dict.fromkeys(found[: 16 * _CANDIDATES_MOST])


def _remembered(look: Look) -> Look:
    """Return `look` with a memory: the same few programs and hosts come again and again."""
    known: dict[str, tuple[Indicator, ...]] = {}

    def found(text: str) -> tuple[Indicator, ...]:
        answer = known.get(text)
        if answer is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            answer = known[text] = look(text)
        return answer

    return found


def _pattern(indicator: Indicator) -> str:
    """Return what an analyst needs to know of an indicator, in one line."""
    until = ""
    if indicator.expires_ns:
        until = f", until {_date(indicator.expires_ns)}"
    return f"{indicator.kind} {_shortened(indicator.value)} of {indicator.source}{until}"


def _date(ns: int) -> str:
    try:
        return datetime.fromtimestamp(ns // _SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "the far future"


def _around(text: str, indicator: Indicator) -> str:
    """Return `text`, or where it is long the part of it around the indicator."""
    if len(text) <= VALUE_MOST:
        return text
    begin = max(0, text.lower().find(indicator.value.rpartition("://")[2].lower()) - VALUE_MOST // 3)
    end = begin + VALUE_MOST
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")


def _shortened(text: str) -> str:
    return text if len(text) <= VALUE_MOST else f"{text[:VALUE_MOST]}…"
