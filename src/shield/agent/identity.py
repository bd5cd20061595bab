"""Who is watching: the host's name, this boot, and the agent's own id."""

import hashlib
import platform
import socket
import uuid
from pathlib import Path

from msgspec import Struct

from shield.event import Platform

_AGENTS = uuid.UUID("6f1c2a70-6f7f-5a0e-9a3b-5d0c6b1f4e21")
"""The namespace that agent ids are made in."""


class Identity(Struct, frozen=True):
    """`agent_id` is stable for a machine; `scope` names the machine and its boot."""

    host: str
    os: Platform
    agent_id: str
    scope: str


def identify() -> Identity:
    """Return the identity of this host."""
    host = socket.gethostname()
    machine = _line("/etc/machine-id") or f"{host}-{uuid.getnode():x}"
    boot = _line("/proc/sys/kernel/random/boot_id")
    # The machine id is confidential (machine-id(5)): only what is derived from it leaves the host.
    agent_id = str(uuid.uuid5(_AGENTS, machine))
    scope = hashlib.blake2b(f"{machine}:{boot}".encode(), digest_size=8).hexdigest()
    os: Platform = "windows" if platform.system() == "Windows" else "linux"
    return Identity(host, os, agent_id, scope)


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
