"""Compile the BPF program into the object that ships beside it: `python -m shield.collector.linux.bpf.build`.

`make setup` and the wheel's build hook call `build`; a running agent only reads `object_path`. The hook loads this file
by its path before the package is installed, so it imports nothing but the standard library.
"""

import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
_SOURCE = _FOLDER / "process.bpf.c"
_PACKAGES = "on Debian and Ubuntu: apt-get install clang llvm libbpf-dev linux-libc-dev"
_ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64"}  # as libbpf's bpf_tracing.h names them


class BuildError(Exception):
    """The object could not be built; `remedy` says what would change that."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


class ToolMissing(BuildError):
    """A program that the build needs is not on PATH."""


class BuildFailed(BuildError):
    """The compiler refused the source, or the object could not be written."""


def object_path() -> Path:
    """Return where the compiled object belongs, whether it is there or not."""
    return _FOLDER / "process.bpf.o"


def build(output: Path | None = None) -> Path:
    """Compile the program to `output`, by default `object_path()`, and return that path.

    An object newer than its sources is left as it is. The new one replaces the old in one step, or not at all.
    Raises ToolMissing where clang is absent, BuildFailed where it refuses the source or `output` can't be written.
    """
    target = output or object_path()
    if _is_current(target):
        return target
    clang = shutil.which("clang")
    if clang is None:
        raise ToolMissing("clang is missing, the BPF program was not compiled", _PACKAGES)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".bpf-") as folder:
            fresh = Path(folder) / target.name
            _compile(clang, fresh)
            _strip_debug(fresh)
            fresh.replace(target)
    except OSError as error:
        raise BuildFailed(f"{target} can't be written: {error.strerror}", "build where you may write") from error
    return target


def _is_current(target: Path) -> bool:
    sources = [*_FOLDER.glob("*.c"), *_FOLDER.glob("*.h"), Path(__file__)]
    return target.exists() and target.stat().st_mtime > max(source.stat().st_mtime for source in sources)


def _compile(clang: str, target: Path) -> None:
    machine = platform.machine()
    command = [
        clang,
        *("-O2", "-g", "-target", "bpf", "-Wall", "-Werror"),
        f"-D__TARGET_ARCH_{_ARCHITECTURES.get(machine, machine)}",
        f"-I/usr/include/{machine}-linux-gnu",  # <asm/types.h>, which -target bpf no longer looks for there
        f"-ffile-prefix-map={_FOLDER}=.",
        *("-c", str(_SOURCE), "-o", str(target)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"clang could not compile {_SOURCE}\n{done.stderr.strip()}\n", _PACKAGES)


def _strip_debug(target: Path) -> None:
    """Drop DWARF, which nothing reads, where llvm-strip is there; BTF, which the loader needs, stays."""
    strip = shutil.which("llvm-strip")
    if strip is not None:
        subprocess.run([strip, "-g", str(target)], capture_output=True, check=False)


def main() -> int:
    """Build the object and return an exit code: 0 built or current, 3 with the reason on stderr."""
    try:
        print(build())
    except BuildError as error:
        print(f"shield: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
