"""Browser extensions, policies that install some, and programs that extensions may start (native messaging)."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct, field

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, places

_PROFILES = (
    *("~/.config/google-chrome/*", "~/.config/google-chrome-beta/*", "~/.config/chromium/*"),
    *("~/.config/BraveSoftware/Brave-Browser/*", "~/.config/microsoft-edge/*", "~/.config/vivaldi/*"),
    *("~/.config/opera", "~/snap/chromium/common/chromium/*"),
)
_FIREFOX = ("~/.mozilla/firefox/*", "~/snap/firefox/common/.mozilla/firefox/*")
_NATIVE = (
    *("/etc/chromium/native-messaging-hosts/*.json", "/etc/opt/chrome/native-messaging-hosts/*.json"),
    *("/usr/lib/mozilla/native-messaging-hosts/*.json", "/usr/lib64/mozilla/native-messaging-hosts/*.json"),
    *("~/.mozilla/native-messaging-hosts/*.json", "~/.config/google-chrome/NativeMessagingHosts/*.json"),
    *("~/.config/chromium/NativeMessagingHosts/*.json", "~/.config/microsoft-edge/NativeMessagingHosts/*.json"),
)
_POLICIES = (
    *("/etc/chromium/policies/managed/*.json", "/etc/opt/chrome/policies/managed/*.json"),
    *("/etc/opt/edge/policies/managed/*.json", "/etc/brave/policies/managed/*.json"),
    *("/etc/firefox/policies/policies.json", "/usr/lib/firefox/distribution/policies.json"),
    *("/usr/lib/firefox-esr/distribution/policies.json", "/usr/lib64/firefox/distribution/policies.json"),
)
_BROUGHT = (
    *("/usr/share/chromium/extensions/*.json", "/opt/google/chrome/extensions/*.json"),
    "/usr/share/google-chrome/extensions/*.json",
)


class _Manifest(Struct):
    name: str = ""
    version: str = ""
    permissions: list[Any] = field(default_factory=list[Any])


class _Host(Struct):
    path: str
    name: str = ""


def chromium_extension(found: Found) -> Iterator[Entry]:
    """Read a manifest below Extensions/ID/VERSION."""
    extension = found.path.split("/")[-3]
    try:
        manifest = msgspec.json.decode(found.content, type=_Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        yield entry(extension, found.path, "browser start", found.user)
        return
    allowed = ", ".join(one for one in manifest.permissions if isinstance(one, str))
    name = f"{extension} {manifest.name} {manifest.version}"
    yield entry(name, found.path, f"browser start; may use: {allowed or 'nothing special'}", found.user)


def native_host(found: Found) -> Iterator[Entry]:
    """Read which program extensions may start."""
    try:
        host = msgspec.json.decode(found.content, type=_Host)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    yield entry(host.name or found.name, host.path, "asked for by an extension", found.user or "every user")


def whole(found: Found) -> Iterator[Entry]:
    """Take a file as it is: an archive, or a policy."""
    yield entry(found.name, found.target or found.path, "browser start", found.user or "every user")


PLACES = (
    *places("browser_extension", chromium_extension, *(f"{one}/Extensions/*/*/manifest.json" for one in _PROFILES)),
    *places("browser_extension", whole, *(f"{one}/extensions/*.xpi" for one in _FIREFOX)),
    *places("browser_extension", whole, "/usr/share/mozilla/extensions/*/*.xpi", *_BROUGHT),
    *places("browser_native_host", native_host, *_NATIVE),
    *places("browser_policy", whole, *_POLICIES),
)
