"""The container a control group belongs to.

Container runtimes name a container's cgroup after its id: 64 hexadecimal digits, bare (cgroupfs driver) or wrapped
as `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope` (systemd driver); LXC uses
`lxc.payload.NAME`, systemd-nspawn `machine-NAME.scope`.
"""

import re
from functools import lru_cache

from shield.event import Container

_RUNTIME_ID = re.compile(r"(?:^|[-:/])([0-9a-f]{64})(?:\.scope)?$")
_NAMED = re.compile(r"(?:^|/)(?:lxc\.payload[./]|machine-)([^/]+?)(?:\.scope)?$")


@lru_cache(maxsize=1024)
def container_of(cgroup: str) -> Container | None:
    """Return the container of a cgroup path or of its last component; None outside a container."""
    leaf = cgroup.rstrip("/")
    match = _RUNTIME_ID.search(leaf) or _NAMED.search(leaf)
    return Container(id=match[1], cgroup=leaf) if match else None
