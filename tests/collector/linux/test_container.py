"""Containers by the names runtimes give their control groups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.container import container_of

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
        f"/docker/{ID}/init.scope/deeper",
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
