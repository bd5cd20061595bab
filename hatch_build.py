"""The wheel's build hook: compile the BPF program and pack it, or say loudly what a wheel without it can't do.

The tag stays py3-none-any although the wheel holds a compiled object: it is bytecode for the kernel's own machine,
the program hooks only BTF-typed tracepoints, never an architecture's registers, and every CPU we support is little
endian. One wheel serves them all; where the kernel refuses it, the agent uses another source and says so.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = "shield/collector/linux/bpf/build.py"


class BpfObject(BuildHookInterface[BuilderConfig]):
    """Builds the BPF object in the source tree and adds it to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are collected; hatchling calls this with version `standard` or `editable`."""
        builder = _load(Path(self.root, "src", _BUILD))
        try:
            built: Path = builder.build()
        except builder.BuildError as error:
            self.app.display_warning(f"THIS WHEEL HAS NO BPF PROGRAM: {error}")
            self.app.display_warning("The agent installed from it uses slower sources; `shield doctor` tells which.")
            return
        if version == "standard":
            build_data["force_include"][str(built)] = str(Path(_BUILD).with_name(built.name))


def _load(path: Path) -> ModuleType:
    spec = spec_from_file_location("shield_bpf_build", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
