"""Kernel modules, from recorded copies of /proc/modules: the kernel of a test host may know none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.kernel.modules import KernelModules, LoadedModule, parse_modules
from shield.event import Module

BEFORE = b"""nf_tables 364544 13 - Live 0x0000000000000000
xfs 2084864 2 - Live 0xffffffffc0a1c000
"""
ROOTKIT = b"diamorphine 16384 0 - Live 0xffffffffc0b3d000 (OE)\n"


class Kernel:
    def __init__(self, root: Path) -> None:
        self._root = root
        (root / "sys/kernel").mkdir(parents=True)
        self.has(BEFORE, 0)

    def has(self, modules: bytes, taints: int) -> None:
        (self._root / "modules").write_bytes(modules)
        (self._root / "sys/kernel/tainted").write_text(f"{taints}\n")


def test_a_copy_of_the_list_is_read() -> None:
    assert parse_modules(BEFORE + ROOTKIT + b"loading 4096 1 xfs, Loading 0x0 (PO+)\n\nbroken\n") == [
        LoadedModule("nf_tables", 364544, ""),
        LoadedModule("xfs", 2084864, ""),
        LoadedModule("diamorphine", 16384, "OE"),
        LoadedModule("loading", 4096, "PO"),
    ]


@given(st.binary(max_size=200))
def test_garbage_never_raises(garbage: bytes) -> None:
    parse_modules(garbage)


def test_a_loaded_module_is_told_once_with_its_taints(tmp_path: Path) -> None:
    kernel, modules = Kernel(tmp_path), KernelModules(tmp_path)
    modules.open()
    kernel.has(BEFORE + ROOTKIT, 1 << 12 | 1 << 13)
    (told,) = modules.look()
    assert told.category == "module_load"
    assert told.module == Module("kernel_module", "diamorphine", size=16384, taints="OE")
    assert list(modules.look()) == []
    kernel.has(BEFORE, 1 << 12 | 1 << 13)
    assert list(modules.look()) == []
    kernel.has(BEFORE + ROOTKIT, 1 << 12 | 1 << 13)
    assert len(list(modules.look())) == 1


def test_a_module_that_hides_itself_is_known_by_the_taint_it_left(tmp_path: Path) -> None:
    kernel, modules = Kernel(tmp_path), KernelModules(tmp_path)
    modules.open()
    kernel.has(BEFORE, 1 << 12)
    (told,) = modules.look()
    assert told.module == Module("kernel_module", "", taints="O")
    assert told.gaps
    assert list(modules.look()) == []


def test_taints_that_no_module_leaves_are_another_matter(tmp_path: Path) -> None:
    kernel, modules = Kernel(tmp_path), KernelModules(tmp_path)
    modules.open()
    kernel.has(BEFORE, 1 << 9)  # a warning of the kernel
    assert list(modules.look()) == []


def test_a_kernel_without_modules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KernelModules(tmp_path).open()
