"""ssh: the keys that let somebody in, and what the server runs for them: sshd(8), sshd_config(5).

Of a key its fingerprint is told, as `ssh-keygen -lf` shows it. Private keys are never read.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, first_word, places, script

_KEY = re.compile(
    r"(?P<options>.*?)(?<!\S)(?P<type>(?:sk-)?(?:ssh|ecdsa)-[\w@.-]+)\s+(?P<key>[A-Za-z0-9+/]{16,}={0,3})(?:\s+(?P<comment>.*))?"
)
_COMMAND = re.compile(r'(?i)(?:^|,)command="((?:[^"\\]|\\.)*)"')
_SERVER = re.compile(
    r"(?i)(AuthorizedKeysCommand|AuthorizedKeysFile|AuthorizedPrincipalsCommand|ForceCommand|Subsystem|TrustedUserCAKeys"
    r"|PermitUserRC|PermitUserEnvironment|SetEnv)[\s=]+(.+)"
)
_MATCH = re.compile(r"(?i)match[\s=]+(.+)")


def keys(found: Found) -> Iterator[Entry]:
    """Read the keys of a user; in /etc/ssh the file or its folder is called like them."""
    for line in found.lines():
        key = _KEY.match(line)
        if key is None:
            continue
        options = key["options"].strip()
        forced = _COMMAND.search(options)
        rest = _COMMAND.sub("", options).strip(" ,")
        trigger = "; ".join(filter(None, ("ssh login", "forced command" if forced else "", rest)))
        name = f"{key['type']} {fingerprint(key['key'])} {key['comment'] or ''}".strip()
        yield entry(name, forced[1] if forced else "", trigger, found.user or found.name)


def fingerprint(key: str) -> str:
    """Return the SHA-256 fingerprint of a public key in base64, `""` where it is none."""
    try:
        raw = base64.b64decode(key + "=" * (-len(key) % 4), validate=True)
    except binascii.Error:
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode("ascii").rstrip("=")


def server(found: Found) -> Iterator[Entry]:
    """Read the settings of the server that run a program or move the keys, each with the `Match` it stands under."""
    under = "every login"
    for line in found.lines():
        match = _MATCH.match(line)
        if match:
            under = match[1]
        setting = _SERVER.match(line)
        if setting:
            yield entry(setting[1], setting[2], under, "root" if "Command" in setting[1] else "")


def client(found: Found) -> Iterator[Entry]:
    """Read the settings of the client that run a program: ssh_config(5)."""
    for line in found.lines():
        setting = re.match(r"(?i)(ProxyCommand|LocalCommand|KnownHostsCommand|PKCS11Provider)[\s=]+(.+)", line)
        if setting and setting[2] != "none":
            yield entry(f"{setting[1]} {first_word(setting[2])}", setting[2], "ssh", found.user or "every user")


PLACES = (
    *places("ssh_key", keys, "~/.ssh/authorized_keys", "~/.ssh/authorized_keys2"),
    *places("ssh_key", keys, "/etc/ssh/authorized_keys", "/etc/ssh/authorized_keys/*", "/etc/ssh/authorized_keys.d/*"),
    *places("ssh_key", keys, "/etc/ssh/keys/*"),
    *places("ssh_server", server, "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf"),
    *places("ssh_client", client, "/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d/*.conf", "~/.ssh/config"),
    *places("ssh_rc", script("ssh login", "every user"), "/etc/ssh/sshrc", "~/.ssh/rc"),
)
