"""What a user downloads: the wheel, the source distribution and the locked requirements."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
BPF = "shield/collector/linux/bpf"
NOT_IN_A_CLONE = (".*", "*.bpf.o", "__pycache__", "build", "dist", "site", "var")

needs_clang = pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the tree without anything that was built or downloaded."""
    return shutil.copytree(ROOT, tmp_path / "clone", ignore=shutil.ignore_patterns(*NOT_IN_A_CLONE))


def package(clone: Path, kind: str, path: str) -> tuple[Path, str]:
    """Build a `wheel` or `sdist` with `path` as PATH; return its file and what the build printed."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", "dist"],
        cwd=clone,
        env={"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (built,) = (clone / "dist").iterdir()
    return built, done.stdout


@needs_clang
def test_a_wheel_holds_the_bpf_object_the_rules_and_the_licences(clone: Path) -> None:
    wheel, _ = package(clone, "wheel", os.environ["PATH"])
    names = ZipFile(wheel).namelist()
    assert names.count(f"{BPF}/process.bpf.o") == 1
    assert "shield/py.typed" in names
    assert [name for name in names if re.fullmatch(r"shield/rules/linux/process_creation/\w+\.yml", name)]
    for licence in ("LICENSE", "NOTICE", "LICENSES/GPL-2.0-only.txt", "LICENSES/BSD-2-Clause.txt"):
        assert any(name.endswith(f".dist-info/licenses/{licence}") for name in names)


def test_without_clang_a_wheel_is_built_and_says_what_it_lacks(clone: Path, tmp_path: Path) -> None:
    wheel, printed = package(clone, "wheel", str(tmp_path))
    assert "NO BPF PROGRAM" in printed
    assert "apt-get install clang" in printed
    assert f"{BPF}/process.bpf.o" not in ZipFile(wheel).namelist()


def test_a_source_distribution_holds_the_program_and_not_the_object(clone: Path) -> None:
    (clone / "src" / BPF / "process.bpf.o").touch()
    archive, _ = package(clone, "sdist", os.environ["PATH"])
    with tarfile.open(archive) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
    assert f"src/{BPF}/process.bpf.c" in names
    assert "hatch_build.py" in names
    assert not [name for name in names if name.endswith(".bpf.o")]


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt"])
def test_locked_requirements_are_pinned_hashed_and_name_no_place(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(-index|-extra|-find|-trusted|[ifc]\b)", text, re.MULTILINE)
    requirements = re.sub(r"\s*#.*", "", text).replace("\\\n", " ").split("\n")
    pinned = [line for line in requirements if line.strip()]
    assert pinned
    for line in pinned:
        assert re.match(r"[\w.-]+==\S+( ; \w+ == \S+)?( +--hash=sha256:[0-9a-f]{64})+\s*$", line), line


def test_the_development_lock_agrees_with_the_runtime_lock() -> None:
    runtime, development = (
        set(re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("runtime.txt", "dev.txt")
    )
    assert runtime <= development


def bpf_build(clone: Path) -> ModuleType:
    """The module that compiles the BPF program, as it lies in `clone`."""
    spec = spec_from_file_location("bpf_build_of_clone", clone / "src" / BPF / "build.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_clang
def test_the_object_is_compiled_again_only_after_its_source_changed(clone: Path) -> None:
    builder = bpf_build(clone)
    built = builder.build()
    assert built == builder.object_path()
    assert built.read_bytes().startswith(b"\x7fELF")
    first = built.stat().st_mtime_ns
    assert builder.build().stat().st_mtime_ns == first
    source = built.with_name("process.bpf.c")
    os.utime(source, ns=(first + 1, first + 1))
    assert builder.build().stat().st_mtime_ns > first


@needs_clang
def test_a_source_that_does_not_compile_leaves_the_old_object(clone: Path) -> None:
    builder = bpf_build(clone)
    old = builder.build().read_bytes()
    source = builder.object_path().with_name("process.bpf.c")
    source.write_text(source.read_text() + "\nint broken(void) { return nothing; }\n")
    with pytest.raises(builder.BuildFailed, match="undeclared identifier 'nothing'"):
        builder.build()
    assert builder.object_path().read_bytes() == old
    assert not list(source.parent.glob(".bpf-*"))


def test_without_clang_the_build_command_says_what_to_install(clone: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, clone / "src" / BPF / "build.py"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "clang is missing" in done.stderr
    assert "apt-get install clang" in done.stderr
    assert "Traceback" not in done.stderr
