"""The provenance of programs that really start, as the kernel tells of them."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shield.collector.linux.packages.packages import Packages
from shield.collector.linux.process.exec import EbpfSource
from shield.collector.linux.provenance.service import NOT_YET, Learnt, ProvenanceOptions, Provenances
from shield.event import Provenance
from shield.record import ProcessExec

CAT, TRUE = (os.path.realpath(shutil.which(name) or f"/bin/{name}") for name in ("cat", "true"))
needs_dpkg = pytest.mark.skipif(not Path("/var/lib/dpkg/info/coreutils.list").exists(), reason="no Debian")
needs_unshare = pytest.mark.skipif(not shutil.which("unshare"), reason="no unshare")


@pytest.fixture(scope="module")
def packages() -> Packages:
    packages = Packages()
    packages.load()
    return packages


@pytest.fixture
def source() -> Iterator[EbpfSource]:
    opened = EbpfSource()
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def provenances(packages: Packages) -> Iterator[Provenances]:
    made = Provenances(packages, ProvenanceOptions(at_once_s=1e9))
    yield made
    made.close()


def start_of(source: EbpfSource, mark: str, name: str) -> ProcessExec:
    """Return the start of the program `name` whose arguments have `mark`."""
    for _ in range(500):
        for record in source.read():
            if isinstance(record, ProcessExec) and mark in record.process.args and record.process.name == name:
                return record
        time.sleep(0.01)
    raise AssertionError(f"{mark} was not seen")


def learnt(provenances: Provenances, record: ProcessExec) -> Learnt:
    """Return what is known of a program, at once or later."""
    found = provenances.of(record.process, record.ts_ns)
    while found.gap == NOT_YET:
        time.sleep(0.001)
        for _, found in provenances.finished():  # noqa: B007  the last one counts
            pass
    return found


def provenance(found: Learnt) -> Provenance:
    assert found.provenance is not None, found.gap
    return found.provenance


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@needs_dpkg
def test_a_packaged_program_that_has_ended_is_known(source: EbpfSource, provenances: Provenances) -> None:
    subprocess.run(["/bin/true", "packaged"], check=True)
    found = learnt(provenances, start_of(source, "packaged", "true"))
    assert found.hashes["sha256"] == sha256(TRUE)
    about = provenance(found)
    assert (about.package, about.package_state, about.format) == ("coreutils", "unchanged", "elf")


@needs_dpkg
def test_a_copy_of_it_belongs_to_nobody(source: EbpfSource, provenances: Provenances, tmp_path: Path) -> None:
    subprocess.run([shutil.copy(TRUE, tmp_path / "copy"), "copied"], check=True)
    found = learnt(provenances, start_of(source, "copied", "copy"))
    assert found.hashes["sha256"] == sha256(TRUE)
    assert (provenance(found).package, provenance(found).package_state) == ("", "unowned")


def test_a_program_without_a_file_is_hashed(source: EbpfSource, provenances: Provenances) -> None:
    descriptor = os.memfd_create("fileless")
    os.write(descriptor, Path(CAT).read_bytes())
    path = f"/proc/self/fd/{descriptor}"
    child = subprocess.Popen([path, "-", "-"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    record = start_of(source, "-", str(descriptor))
    found = learnt(provenances, record)
    child.communicate()
    os.close(descriptor)
    assert record.process.exe_memfd
    assert found.hashes["sha256"] == sha256(CAT)


@needs_unshare
@pytest.mark.parametrize("ends", [False, True])
def test_packages_of_this_system_say_nothing_about_the_programs_of_a_container(
    source: EbpfSource, provenances: Provenances, tmp_path: Path, ends: bool
) -> None:
    """In a mount namespace of its own another file stands at the path, which this agent can't see."""
    program = tmp_path / "hidden"
    # The program is run, and has ended or still runs, while the shell that started it waits.
    script = f'mount -t tmpfs none {tmp_path} && cp {CAT} {program} && "$@"; exec 2>&1; {CAT}; true'
    arguments = [program, "/dev/null" if ends else "-", "inside"]
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script, "sh", *arguments], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ):
        record = start_of(source, "inside", "hidden")
        if ends:
            while Path("/proc", str(record.process.pid)).exists():
                time.sleep(0.001)
        found = learnt(provenances, record)
    assert found.hashes["sha256"] == sha256(CAT)
    assert (provenance(found).package, provenance(found).package_state) == ("", "")
    assert not program.exists()


@needs_dpkg
@needs_unshare
def test_a_service_with_a_mount_namespace_of_its_own_runs_this_systems_packages(
    source: EbpfSource, provenances: Provenances
) -> None:
    with subprocess.Popen(["unshare", "-m", CAT, "-", "private"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL):
        record = start_of(source, "private", "cat")
        found = learnt(provenances, record)
    assert record.process.namespaces is not None
    assert record.process.namespaces.mnt != Path("/proc/self/ns/mnt").stat().st_ino
    assert (provenance(found).package, provenance(found).package_state) == ("coreutils", "unchanged")
