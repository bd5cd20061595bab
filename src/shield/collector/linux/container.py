"""The container a control group belongs to, and the Kubernetes pod that the container is part of.

Container runtimes name a container's cgroup after its id: 64 hexadecimal digits, bare (cgroupfs driver) or wrapped
as `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope` (systemd driver); LXC uses
`lxc.payload.NAME`, systemd-nspawn `machine-NAME.scope`. Kubernetes puts a pod's uid into a cgroup above. What the path
doesn't tell stands in files that the runtimes and the kubelet leave on the host; they are only read.
"""

import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from shield.event import Container
from shield.text import decode

_RUNTIME_ID = re.compile(r"(?:^|[-:/])([0-9a-f]{64})(?:\.scope)?$")
_NAMED = re.compile(r"(?:^|/)(lxc\.payload[./]|machine-)([^/]+?)(?:\.scope)?$")
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:[/:]|$)")
_RUNTIMES = (
    (re.compile(r"(?:^|/)docker[-/][0-9a-f]{64}"), "docker"),
    (re.compile(r"(?:^|/)libpod-(?:payload-)?"), "podman"),
    (re.compile(r"cri-containerd[-:]"), "containerd"),
    (re.compile(r"(?:^|[/:])crio[-:]"), "cri-o"),
)
# Where a runtime keeps what it was told to run (OCI runtime specification, config.json), by its state folder.
_BUNDLES = (
    ("run/containerd/io.containerd.runtime.v2.task/k8s.io/{}", "containerd"),
    ("run/containerd/io.containerd.runtime.v2.task/moby/{}", "docker"),
    ("run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/{}", "containerd"),
    ("run/containers/storage/overlay-containers/{}/userdata", ""),
)
_PREFIXES = ("io.kubernetes.cri.sandbox-{}", "io.kubernetes.pod.{}")
_POD_LOGS = "var/log/pods"
_CONFIG_BYTES = 1 << 20
_KNOWN_MOST = 1024
_PODS_MOST = 4096
_DEPTH_MOST = 64
_RETRY_S = 5.0


class _Config(Struct, frozen=True):
    annotations: dict[str, str] = field(default_factory=dict[str, str])


class _Pod(NamedTuple):
    id: str = ""
    name: str = ""
    namespace: str = ""


_config = msgspec.json.Decoder(_Config)


class Containers:
    """Looks containers up below `root`, and remembers the latest thousand; `now` is any clock in seconds."""

    def __init__(self, root: Path = Path("/"), now: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._now = now
        self._pods = PodLogs(root / _POD_LOGS)
        self._known: OrderedDict[str, tuple[Container | None, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, cgroup: str) -> Container | None:
        """Return the container of a cgroup path or of its last component; None outside a container."""
        known = self._known.get(cgroup)
        if known is not None and (known[1] == 0 or self._now() < known[1]):
            return known[0]
        found = named_by(cgroup)
        if found is not None:
            found = self._completed(found)
        # A pod's names may be written a moment after its first process starts.
        again = self._now() + _RETRY_S if found is not None and found.pod_id and not found.pod else 0
        self._known[cgroup] = found, again
        if len(self._known) > _KNOWN_MOST:
            self._known.popitem(last=False)
        return found

    def _completed(self, found: Container) -> Container:
        """Add what files on the host say of a container."""
        if found.runtime in ("lxc", "systemd-nspawn"):
            return found
        runtime, pod = found.runtime, _Pod(found.pod_id)
        if not runtime or (runtime != "docker" and not pod.name):
            runtime, pod = self._from_bundle(found)
        if pod.id and not pod.name:
            pod = self._pods.find(pod.id) or pod
        return Container(found.id, found.cgroup, runtime, pod.id, pod.name, pod.namespace)

    def _from_bundle(self, found: Container) -> tuple[str, _Pod]:
        """Return runtime and pod by what the runtime was told to run, or else by the cgroup."""
        for folder, runtime in _BUNDLES:
            try:
                with open(self._root / folder.format(found.id) / "config.json", "rb") as file:
                    annotations = _config.decode(file.read(_CONFIG_BYTES)).annotations
            except (OSError, msgspec.MsgspecError):
                continue
            for prefix in _PREFIXES:
                parts = (annotations.get(prefix.format(part), "") for part in ("uid", "name", "namespace"))
                pod = _Pod(*parts)
                if pod.id:
                    return found.runtime or runtime or "cri-o", pod
            return found.runtime or runtime, _Pod(found.pod_id)
        return found.runtime, _Pod(found.pod_id)


class PodLogs:
    """The pods of this host by the kubelet's folder of logs, where each has one: NAMESPACE_NAME_UID."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp = 0
        self._pods: dict[str, _Pod] = {}

    def find(self, identity: str) -> _Pod | None:
        """Return the pod with a uid, None where the folder shows none."""
        if identity not in self._pods:
            self._refresh()
        return self._pods.get(identity)

    def _refresh(self) -> None:
        try:
            stamp = self._folder.stat().st_mtime_ns
            if stamp == self._stamp:
                return
            names = os.listdir(os.fsencode(self._folder))
        except OSError:
            return
        self._stamp = stamp
        # No part can hold the separator: the names are DNS labels and the uid is hexadecimal.
        parts = (decode(name).split("_") for name in names[:_PODS_MOST])
        self._pods = {part[2]: _Pod(part[2], part[1], part[0]) for part in parts if len(part) == 3}


def named_by(cgroup: str) -> Container | None:
    """Return what a cgroup's path alone says: the innermost container in it; None where it names none."""
    path = cgroup.rstrip("/")
    leaf = path
    for _ in range(_DEPTH_MOST):  # a container may make cgroups of its own below the one it was given
        identity, named = _RUNTIME_ID.search(leaf), _NAMED.search(leaf)
        if identity is not None:
            pod = _POD.search(leaf)
            return Container(identity[1], path, _runtime(leaf), _uid(pod[1]) if pod else "")
        if named is not None:
            return Container(named[2], path, "systemd-nspawn" if named[1] == "machine-" else "lxc")
        leaf, separator, _ = leaf.rpartition("/")
        if not separator:
            break
    return None


def _runtime(path: str) -> str:
    return next((name for pattern, name in _RUNTIMES if pattern.search(path)), "")


def _uid(text: str) -> str:
    """Return a pod's uid as Kubernetes writes it; systemd has another meaning for the dash, so a slice has `_`."""
    return text.replace("_", "-")


container_of = Containers().of
