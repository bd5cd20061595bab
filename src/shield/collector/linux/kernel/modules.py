"""Kernel modules that were loaded, and a kernel that became tainted (proc(5), admin-guide/tainted-kernels).

A module that hides itself from /proc/modules can't take back the taint that loading it left.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from shield.event import Module
from shield.record import Observation
from shield.text import decode

# Taints that loading a module leaves, by bit: proprietary, forced, staging, out of tree, unsigned, live patch, test.
_BY_MODULE = {0: "P", 1: "F", 10: "C", 12: "O", 13: "E", 15: "K", 18: "N"}
_UNLISTED = ("a module left this taint, and /proc/modules lists none that did",)


class LoadedModule(NamedTuple):
    """One line of /proc/modules: `size` in bytes, `taints` as letters."""

    name: str
    size: int
    taints: str


class KernelModules:
    """The modules and taints that /proc below `root` shows."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._modules = root / "modules"
        self._tainted = root / "sys" / "kernel" / "tainted"
        self._known: set[str] = set()
        self._taints = 0

    def open(self) -> None:
        """Remember what is loaded. Raises OSError where the kernel can't load modules."""
        self._known = {module.name for module in parse_modules(self._modules.read_bytes())}
        self._taints = self._read_taints()

    def look(self) -> Iterator[Observation]:
        """Yield the modules loaded since the last look, and the taints that none of those listed explains."""
        loaded = parse_modules(self._modules.read_bytes())
        taints = self._read_taints()
        for module in loaded:
            if module.name not in self._known:
                shown = Module("kernel_module", module.name, size=module.size, taints=module.taints)
                yield Observation(time.time_ns(), "module_load", module=shown)
        explained = "".join(module.taints for module in loaded)
        fresh = taints & ~self._taints
        left = "".join(letter for bit, letter in _BY_MODULE.items() if fresh >> bit & 1 and letter not in explained)
        if left:
            shown = Module("kernel_module", "", taints=left)
            yield Observation(time.time_ns(), "module_load", module=shown, gaps=_UNLISTED)
        self._known = {module.name for module in loaded}
        self._taints = taints

    def _read_taints(self) -> int:
        try:
            return int(self._tainted.read_bytes())
        except (OSError, ValueError):
            return 0


def parse_modules(raw: bytes) -> list[LoadedModule]:
    """Return the modules in a copy of /proc/modules; lines in another form are left out."""
    return [module for module in map(_parse_line, raw.splitlines()) if module is not None]


def _parse_line(line: bytes) -> LoadedModule | None:
    fields = line.split()
    if len(fields) < 6 or not fields[1].isdigit():
        return None
    taints = decode(fields[6]).strip("()") if len(fields) > 6 else ""
    # A sign stands behind the taints while the module is being loaded or removed.
    return LoadedModule(decode(fields[0]), int(fields[1]), taints.rstrip("+-"))
