"""Containers by the names runtimes give their control groups."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.container import Containers, container_of
from shield.event import Container

ID = "3f1a" * 16


@pytest.mark.parametrize(
    "cgroup",
    [
        f"/docker/{ID}",
        f"/system.slice/docker-{ID}.scope",
        f"/kubepods/burstable/pod6c4a8b54-3e0c-4f5c-9c0b-7f6cbb2f8f11/{ID}",
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod6c4a8b54.slice/cri-containerd-{ID}.scope",
        f"/kubepods.slice/kubepods-pod6c4a8b54.slice/crio-{ID}.scope",
        f"/system.slice/containerd.service/kubepods-burstable-pod6c4a8b54.slice:cri-containerd:{ID}",
        f"/machine.slice/libpod-{ID}.scope",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
        f"/ecs/0123456789abcdef/{ID}",
        f"docker-{ID}.scope",
        ID,
        f"/docker/{ID}/",
    ],
)
def test_a_container_is_known_by_its_runtimes_id(cgroup: str) -> None:
    found = container_of(cgroup)
    assert found is not None
    assert found.id == ID


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        ("/lxc.payload.web", "web"),
        ("/lxc.payload/web", "web"),
        ("/machine.slice/machine-debian.scope", "debian"),
    ],
)
def test_system_containers_are_known_by_name(cgroup: str, name: str) -> None:
    found = container_of(cgroup)
    assert found is not None
    assert found.id == name


@pytest.mark.parametrize(
    "cgroup",
    [
        "",
        "/",
        "/init.scope",
        "/system.slice/ssh.service",
        "/user.slice/user-1000.slice/session-3.scope",
        "/system.slice/docker.service",
        f"/system.slice/{ID[:-1]}",
        f"/system.slice/x{ID}",
        f"/docker/{ID.upper()}",
    ],
)
def test_everything_else_is_the_host(cgroup: str) -> None:
    assert container_of(cgroup) is None


@given(st.text(max_size=200))
def test_any_text_is_a_container_or_none(cgroup: str) -> None:
    found = container_of(cgroup)
    assert found is None or found.id in cgroup


@given(
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz-._", max_size=40).map(lambda folder: f"/{folder}"),
    st.text(alphabet="0123456789abcdef", min_size=64, max_size=64),
    st.sampled_from(
        ["/{}", "/docker-{}.scope", "/libpod-{}.scope", "/cri-containerd-{}.scope", "/x.slice:cri-containerd:{}"]
    ),
)
def test_wherever_a_runtime_puts_it_the_id_is_found(folder: str, identity: str, shape: str) -> None:
    found = container_of(folder + shape.format(identity))
    assert found is not None
    assert found.id == identity


POD = "6c4a8b54-3e0c-4f5c-9c0b-7f6cbb2f8f11"
SLICE = POD.replace("-", "_")


@pytest.mark.parametrize(
    ("cgroup", "runtime", "pod"),
    [
        (f"/docker/{ID}", "docker", ""),
        (f"/system.slice/docker-{ID}.scope", "docker", ""),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman", ""),
        (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE}.slice/cri-containerd-{ID}.scope",
         "containerd", POD),
        (f"/kubepods.slice/kubepods-pod{SLICE}.slice/crio-{ID}.scope", "cri-o", POD),
        (f"/system.slice/containerd.service/kubepods-pod{SLICE}.slice:cri-containerd:{ID}", "containerd", POD),
        (f"/kubepods/burstable/pod{POD}/{ID}", "", POD),
        (f"/kubepods/pod{'0a' * 16}/{ID}", "", "0a" * 16),
        ("/lxc.payload.web", "lxc", ""),
        ("/lxc.payload.web/system.slice/ssh.service", "lxc", ""),
        ("/machine.slice/machine-debian.scope/payload/init.scope", "systemd-nspawn", ""),
        (f"/docker/{ID}/init.scope/deeper", "docker", ""),
    ],
)  # fmt: skip
def test_runtime_and_pod_are_told_by_the_path(cgroup: str, runtime: str, pod: str) -> None:
    found = container_of(cgroup)
    assert found is not None
    assert (found.runtime, found.pod_id, found.cgroup) == (runtime, pod, cgroup)


def test_the_innermost_of_nested_containers_counts() -> None:
    inner = "4e2b" * 16
    found = container_of(f"/docker/{ID}/docker/{inner}")
    assert found is not None
    assert found.id == inner


def test_a_pods_names_come_from_the_kubelets_logs_also_when_they_are_written_later(tmp_path: Path) -> None:
    now = [0.0]
    containers = Containers(tmp_path, lambda: now[0])
    cgroup = f"/kubepods/burstable/pod{POD}/{ID}"
    before = containers.of(cgroup)
    assert before is not None
    assert (before.pod_id, before.pod) == (POD, "")
    (tmp_path / "var/log/pods" / f"shop_web-7d9c_{POD}").mkdir(parents=True)
    (tmp_path / "var/log/pods" / "not a pod").mkdir()
    assert containers.of(cgroup) == before
    now[0] = 60
    after = containers.of(cgroup)
    assert after is not None
    assert (after.pod_namespace, after.pod, after.pod_id) == ("shop", "web-7d9c", POD)


@pytest.mark.parametrize(
    ("bundle", "prefix", "leaf", "runtime"),
    [
        ("run/containerd/io.containerd.runtime.v2.task/k8s.io/{}", "io.kubernetes.cri.sandbox-",
         "cri-containerd-{}.scope", "containerd"),
        ("run/containerd/io.containerd.runtime.v2.task/k8s.io/{}", "io.kubernetes.cri.sandbox-", "{}", "containerd"),
        ("run/containers/storage/overlay-containers/{}/userdata", "io.kubernetes.pod.", "crio-{}.scope", "cri-o"),
    ],
)  # fmt: skip
def test_the_last_component_alone_leads_to_the_pod_by_the_runtimes_files(
    tmp_path: Path, bundle: str, prefix: str, leaf: str, runtime: str
) -> None:
    folder = tmp_path / bundle.format(ID)
    folder.mkdir(parents=True)
    annotations = {f"{prefix}uid": POD, f"{prefix}name": "web-0", f"{prefix}namespace": "shop", "other": "x"}
    (folder / "config.json").write_text(json.dumps({"ociVersion": "1.1.0", "annotations": annotations, "root": {}}))
    found = Containers(tmp_path).of(leaf.format(ID))
    assert found == Container(ID, leaf.format(ID), runtime, POD, "web-0", "shop")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"annotations": {"io.kubernetes.pod.uid": 7}}', '{"annotations": 1}']
)
def test_a_broken_file_of_a_runtime_is_ignored(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "run/containerd/io.containerd.runtime.v2.task/moby" / ID
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(content)
    found = Containers(tmp_path).of(f"/system.slice/{ID}")
    assert found is not None
    assert found.id == ID


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    containers = Containers(tmp_path)
    for number in range(3000):
        assert containers.of(f"/docker/{number:064x}") is not None
    assert len(containers) <= 1024
