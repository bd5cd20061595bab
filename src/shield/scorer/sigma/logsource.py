"""Log sources: which rules are about which events.

Sigma names what a rule is about by category (process_creation), product (linux) and service (sshd); each that a rule
names must be the event's. An event read from a log carries them (`data.log`), one that Shield observed itself has them
by its own category. An event is also of what its category and service are a kind of (`_KINDS`).
https://sigmahq.io/docs/basics/log-sources.html
"""

from collections.abc import Iterable
from typing import NamedTuple

from shield.event import Category, Event, Platform
from shield.scorer.sigma.rule import Rule


class LogSource(NamedTuple):
    """What an event is about, in Sigma's terms; `""` where Sigma has no name. `logged` says it was read from a log."""

    product: str
    service: str
    category: str
    logged: bool


OBSERVED: dict[Category, str] = {
    "process_start": "process_creation",
    "process_exit": "process_termination",
    "network_connection": "network_connection",
    "dns_query": "dns_query",
    "file_create": "file_event",
    "file_write": "file_event",
    "file_rename": "file_rename",
    "file_delete": "file_delete",
    "file_attribute": "file_change",
    "registry_change": "registry_set",
    "network_flow": "network_flow",
    "network_listen": "network_listen",
    "auth_success": "authentication",
    "auth_failure": "authentication",
    "privilege_change": "privilege_change",
    "account_change": "account_change",
    "persistence_change": "persistence_change",
    "module_load": "module_load",
    "system_change": "system_change",
}
"""Sigma's category of what Shield observes itself; where Sigma has none, the event's own."""

_KINDS: dict[str, tuple[str, ...]] = {
    "file_rename": ("file_event",),  # most programs that change a file put a new one in its place
    "registry_add": ("registry_event",),
    "registry_delete": ("registry_event",),
    "registry_rename": ("registry_event",),
    "registry_set": ("registry_event",),
    "file_delete_detected": ("file_delete",),
    "ldap": ("ldap_debug",),
    "microsoft-servicebus-client": ("servicebus-client",),
    "sshd": ("auth", "syslog"),
    "sudo": ("auth", "syslog"),
    "su": ("auth", "syslog"),
    "login": ("auth", "syslog"),
    "auth": ("syslog",),
    "cron": ("syslog",),
    "daemon": ("syslog",),
    "kernel": ("syslog",),
    "vsftpd": ("syslog",),
    "clamav": ("syslog",),
    "guacamole": ("syslog",),
}


def of(event: Event) -> LogSource:
    """Return the log source of `event`."""
    log = event.data.log
    if log is None:
        return observed(event.os, event.category)
    return LogSource(log.product, log.service, log.category, True)


def observed(os: Platform, category: Category) -> LogSource:
    """Return the log source of events of `category` that Shield observes itself."""
    return LogSource(os, "", OBSERVED.get(category, ""), False)


def named(rules: Iterable[Rule]) -> list[LogSource]:
    """Return the log sources that `rules` name, as those of logs."""
    sources = (LogSource(rule.product or "", rule.service or "", rule.category or "", True) for rule in rules)
    return list(dict.fromkeys(sources))


def covers(rule: Rule, source: LogSource) -> bool:
    """Return whether `rule` is about events of `source`."""
    return (
        _is(rule.product, source.product) and _is(rule.service, source.service) and _is(rule.category, source.category)
    )


def _is(wanted: str | None, name: str) -> bool:
    return wanted is None or wanted == name or wanted in _KINDS.get(name, ())
