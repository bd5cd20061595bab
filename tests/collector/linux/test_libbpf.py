"""What the binding says when libbpf, the object file or a name in it is not what it should be."""

from pathlib import Path

import pytest

from shield.collector.linux import libbpf
from shield.collector.linux.bpf.build import object_path
from shield.collector.linux.libbpf import BpfError, BpfObject

needs_object = pytest.mark.skipif(not object_path().exists(), reason="the BPF program was not compiled")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "_LIBRARY", "libbpf.so.none")
    with pytest.raises(BpfError, match=r"libbpf\.so\.none cannot be used"):
        BpfObject(object_path())


def test_what_is_no_bpf_object_is_refused_with_what_libbpf_says(tmp_path: Path) -> None:
    path = tmp_path / "noise.o"
    path.write_bytes(b"\x7fELF" + bytes(60))
    with pytest.raises(BpfError, match=r"opening noise\.o") as refusal:
        BpfObject(path)
    assert "libbpf:" in refusal.value.log


@needs_object
def test_a_wrong_name_or_size_is_refused() -> None:
    opened = BpfObject(object_path())
    with pytest.raises(BpfError, match="no map named nothing"):
        opened.set_max_entries("nothing", 1)
    with pytest.raises(BpfError, match="no program named nothing"):
        opened.leave_out("nothing")
    with pytest.raises(BpfError, match=r"\.rodata holds \d+ bytes, not 4096"):
        opened.set_constants(".rodata", bytes(4096))
    opened.close()
    opened.close()


@needs_object
def test_an_object_can_be_closed_after_another_one_is_gone() -> None:
    first = BpfObject(object_path())
    second = BpfObject(object_path())
    second.close()
    del second
    first.set_max_entries("ring", 4096)
    first.close()
