"""What no indicator may be: values that every host meets, which one mistaken feed would turn into alerts everywhere."""

import re
from ipaddress import IPv4Network, IPv6Network


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EMPTY_FILE = _words(
    """
    d41d8cd98f00b204e9800998ecf8427e
    da39a3ee5e6b4b0d3255bfef95601890afd80709
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    """
)

EVERYWHERE = _words(
    """
    akamai.net amazonaws.com apple.com azure.com azureedge.net bing.com cloudflare.com cloudfront.net debian.org
    facebook.com fastly.net fbcdn.net github.com github.io githubusercontent.com google.com googleapis.com
    googleusercontent.com gstatic.com live.com microsoft.com microsoftonline.com mozilla.org office.com office365.com
    pypi.org ubuntu.com windows.com windows.net windowsupdate.com wikipedia.org youtube.com
    """
)
"""Domains that hosts of every kind use all day."""

SHARED_SUFFIX = re.compile(r"(?:ac|co|com|edu|gob|gov|mil|ne|net|or|org)\.[a-z]{2}")
"""What registries sell names under: the likes of co.uk, com.br, ac.jp."""

RESOLVERS = _words("1.0.0.1 1.1.1.1 8.8.4.4 8.8.8.8 9.9.9.9 149.112.112.112 208.67.220.220 208.67.222.222")
"""Public name servers."""

ORDINARY_FILES = _words(
    """
    bash cat chrome.exe cmd.exe conhost.exe cp cron csrss.exe curl curl.exe dash dllhost.exe excel.exe explorer.exe
    firefox.exe git grep init java java.exe kernel32.dll ls lsass.exe msedge.exe mshta.exe msiexec.exe mv node node.exe
    notepad.exe ntdll.dll outlook.exe perl powershell.exe python python.exe python3 regsvr32.exe rm rundll32.exe sed
    services.exe sh smss.exe ssh sshd sudo svchost.exe systemd taskhostw.exe user32.dll wget wininit.exe winlogon.exe
    winword.exe wmiprvse.exe
    """
)
"""Programs that every host has; malicious ones borrow their names."""

SYSTEM_FOLDERS = _words("/bin /sbin /usr/bin /usr/sbin /lib/systemd /usr/lib/systemd c:/windows c:/windows/system32")

# IANA's special-purpose addresses (RFC 6890), less those for documentation: nothing real has one.
RESERVED_V4 = tuple(
    IPv4Network(text)
    for text in _words(
        """
        0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16
        198.18.0.0/15 224.0.0.0/4 240.0.0.0/4
        """
    )
)
RESERVED_V6 = tuple(IPv6Network(text) for text in _words("::/127 64:ff9b:1::/48 100::/64 fc00::/7 fe80::/10 ff00::/8"))
MAYBE_RESERVED = _words("0 10 100 127 169 172 192 198") | {str(octet) for octet in range(224, 256)}
"""The first octets of addresses that are worth comparing with RESERVED_V4."""

SHORTEST_PREFIX = {4: 8, 6: 16}
"""By IP version; a network with a shorter prefix holds a great part of the net."""
