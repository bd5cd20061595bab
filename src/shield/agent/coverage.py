"""What is observed live, by platform and by what the host is watched for: what rules have to go by."""

from collections.abc import Collection

from shield.collector.source import Kind
from shield.event import Category, Platform
from shield.scorer.sigma.coverage import Live

_CATEGORIES: dict[Kind, tuple[Category, ...]] = {
    "process": ("process_start", "process_exit"),
    "network": ("network_connection", "network_flow", "network_listen"),
    "dns": ("dns_query",),
    "file": ("file_create", "file_write", "file_rename", "file_delete", "file_attribute"),
    "identity": ("auth_success", "auth_failure"),
    "account": ("account_change",),
    "persistence": ("persistence_change",),
    "privilege": ("privilege_change",),
    "kernel": ("module_load", "system_change"),
}
_SERVICES = ("sshd", "sudo", "su", "login", "auth")
_NEVER_FILLED = ("process.pe", "process.integrity", "process.logon_id", "registry")
KINDS: dict[Platform, frozenset[Kind]] = {"linux": frozenset(_CATEGORIES), "windows": frozenset()}
"""What a host of a platform can be watched for at best."""


def live(os: Platform, kinds: Collection[Kind] | None = None) -> Live:
    """Return what the live sources of a platform give where it is watched for `kinds`, None for all it can be."""
    watched = KINDS[os] if kinds is None else kinds
    return Live(
        os=os,
        categories=frozenset(category for kind in watched for category in _CATEGORIES[kind]),
        services=frozenset(_SERVICES) if "identity" in watched else frozenset(),
        unfilled=frozenset(_NEVER_FILLED if "identity" in watched else (*_NEVER_FILLED, "log")),
    )
