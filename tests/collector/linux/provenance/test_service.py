"""Where programs come from: real files and processes, and a small package database."""

import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shield.collector.linux.packages.packages import Packages
from shield.collector.linux.provenance.service import NOT_YET, TOO_MANY, Learnt, ProvenanceOptions, Provenances
from shield.event import Namespaces, Process, Provenance

WAIT = shutil.which("cat") or "/bin/cat"
OWN = Path("/proc/self/ns/mnt").stat().st_ino
NOBODY = 1 << 22  # no process has this id


class Host:
    """A system with one package, which has brought /usr/bin/tool, and a clock that only moves when told to."""

    def __init__(self, root: Path, options: ProvenanceOptions) -> None:
        self.now = 1000.0
        self.root = root
        self.folder = root / "usr/bin"
        self.folder.mkdir(parents=True, mode=0o755)
        self.tool = self.folder / "tool"
        shutil.copy(WAIT, self.tool)
        self.info = root / "var/lib/dpkg/info"
        self.info.mkdir(parents=True)
        (self.info.parent / "status").write_text("Package: tool\nVersion: 1-1\n")
        # The paths of the database are those that the processes here are seen with.
        (self.info / "tool.list").write_text(f"{self.tool}\n")
        self.sums(self.tool.read_bytes())
        self.packages = Packages(root)
        self.packages.load()
        self.provenances = Provenances(self.packages, options, lambda: self.now)

    def sums(self, content: bytes) -> None:
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        (self.info / "tool.md5sums").write_text(f"{digest}  {str(self.tool)[1:]}\n")

    def of(self, process: Process, started_ns: int = 0) -> Learnt:
        return self.provenances.of(process, started_ns or time.time_ns())

    def about(self, process: Process) -> Provenance:
        learnt = self.of(process)
        assert learnt.provenance is not None, learnt.gap
        return learnt.provenance

    def answers(self, number: int = 1) -> list[Learnt]:
        """Wait for answers from the background."""
        found: list[Learnt] = []
        while len(found) < number:
            found += [learnt for _, learnt in self.provenances.finished()]
            time.sleep(0.001)
        return found


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    made: list[Host] = []

    def make(**options: object) -> Host:
        made.append(Host(tmp_path / f"host{len(made)}", ProvenanceOptions(**options)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for host in made:
        host.provenances.close()


@pytest.fixture
def host(hosts: Callable[..., Host]) -> Host:
    return hosts()


def ended(path: Path, device: int | None = None) -> Process:
    """Return the process of a program that has ended already."""
    status = path.stat()
    if device is None:
        device = os.major(status.st_dev) << 20 | os.minor(status.st_dev)
    return Process(
        pid=NOBODY,
        ppid=NOBODY,
        exe=str(path),
        exe_inode=status.st_ino,
        exe_device=device,
        namespaces=Namespaces(mnt=OWN),
    )


@contextmanager
def running(path: Path, **changes: object) -> Iterator[Process]:
    child = subprocess.Popen([path], stdin=subprocess.PIPE)
    try:
        yield Process(
            **{**{name: getattr(ended(path), name) for name in Process.__struct_fields__}, "pid": child.pid, **changes}
        )
    finally:
        child.communicate()


def test_a_packaged_program_is_what_its_package_brought(host: Host) -> None:
    learnt = host.of(ended(host.tool))
    assert learnt.hashes["sha256"] == hashlib.sha256(host.tool.read_bytes()).hexdigest()
    found = learnt.provenance
    assert found is not None
    assert (found.package, found.package_version, found.package_state) == ("tool", "1-1", "unchanged")
    assert (found.format, found.static, found.packer) == ("elf", False, "")
    assert len(found.build_id) == 40


def test_a_packaged_program_with_other_content_is_modified(host: Host) -> None:
    host.tool.write_bytes(host.tool.read_bytes() + b"\0")
    found = host.about(ended(host.tool))
    assert (found.package, found.package_state) == ("tool", "modified")


def test_a_program_of_no_package_is_unowned(host: Host) -> None:
    other = Path(shutil.copy(host.tool, host.folder / "other"))
    found = host.about(ended(other))
    assert (found.package, found.package_state) == ("", "unowned")


def test_a_program_that_was_met_is_not_read_again_but_a_changed_one_is(host: Host) -> None:
    process = ended(host.tool)
    first = host.of(process)
    assert host.of(process) is first
    host.now += 5
    assert host.of(process) is first
    content = bytearray(host.tool.read_bytes())
    content[-1] ^= 1
    with host.tool.open("r+b") as file:  # in place: the same inode, the same size
        file.write(content)
    host.now += 5
    assert host.about(process).package_state == "modified"


def test_a_program_of_no_package_is_looked_at_at_every_start(host: Host) -> None:
    other = Path(shutil.copy(host.tool, host.folder / "other"))
    process = ended(other)
    before = host.of(process)
    other.write_bytes(other.read_bytes() + b"\0")
    assert host.of(process).hashes["sha256"] != before.hashes["sha256"]


def test_a_program_that_was_written_to_after_its_start_is_not_taken_for_what_ran(host: Host) -> None:
    learnt = host.of(ended(host.tool), 7_000_000_000)
    assert learnt.provenance is None
    assert "gone" in learnt.gap


def test_a_program_replaced_after_it_ended_is_not_taken_for_the_new_file(host: Host) -> None:
    process = ended(host.tool)
    other = Path(shutil.copy(host.tool, host.folder / "other"))
    other.replace(host.tool)
    learnt = host.of(process)
    assert learnt.provenance is None
    assert "gone" in learnt.gap


def test_a_deleted_program_is_read_through_its_process(host: Host) -> None:
    other = Path(shutil.copy(host.tool, host.folder / "other"))
    sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
    with running(other, exe_deleted=True) as process:
        other.unlink()
        learnt = host.of(process)
    assert learnt.hashes["sha256"] == sha256
    assert learnt.provenance is not None
    assert learnt.provenance.package_state == "unowned"


def test_a_packaged_program_that_was_replaced_while_it_runs_is_unverified(host: Host) -> None:
    with running(host.tool) as process:
        other = Path(shutil.copy(WAIT, host.folder / "new"))
        other.write_bytes(other.read_bytes() + b"\0")
        other.replace(host.tool)
        found = host.about(process)
    assert (found.package, found.package_state) == ("tool", "unverified")


def test_a_memfd_program_is_read_through_its_process(host: Host) -> None:
    descriptor = os.memfd_create("hidden")
    os.write(descriptor, host.tool.read_bytes())
    child = subprocess.Popen([f"/proc/self/fd/{descriptor}"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    status = os.fstat(descriptor)
    process = Process(
        pid=child.pid,
        exe="/memfd:hidden",
        exe_memfd=True,
        exe_inode=status.st_ino,
        exe_device=status.st_dev,
        namespaces=Namespaces(mnt=OWN),
    )
    learnt = host.of(process)
    child.communicate()
    os.close(descriptor)
    assert learnt.hashes["sha256"] == hashlib.sha256(host.tool.read_bytes()).hexdigest()
    assert learnt.provenance is not None
    assert learnt.provenance.package_state == "unowned"


def test_the_process_id_of_another_program_leads_nowhere(host: Host) -> None:
    other = Path(shutil.copy(host.tool, host.folder / "other"))
    with running(other) as process:
        reused = Process(pid=process.pid, exe=str(host.folder / "gone"), exe_inode=12345, namespaces=process.namespaces)
        assert host.of(reused).provenance is None


def test_the_time_of_the_first_meeting_is_kept_by_path_and_content(host: Host) -> None:
    process, first = ended(host.tool), time.time_ns()
    assert host.of(process, first).provenance.first_seen_ns == first  # type: ignore[union-attr]
    host.tool.touch()
    host.now += 5
    again = host.of(process, first + 99)
    assert again.provenance is None or again.provenance.first_seen_ns == first
    host.tool.write_bytes(host.tool.read_bytes() + b"\0")
    host.now += 5
    later = time.time_ns()
    assert host.of(process, later).provenance.first_seen_ns == later  # type: ignore[union-attr]


def test_what_was_learnt_is_kept_for_the_next_run(hosts: Callable[..., Host]) -> None:
    one = hosts()
    process, first = ended(one.tool), time.time_ns()
    one.of(process, first)
    kept = one.provenances.state()
    next_run = Provenances(one.packages, clock=lambda: 0.0)
    next_run.restore(kept)
    learnt = next_run.of(process, time.time_ns())
    next_run.close()
    assert learnt.provenance is not None
    assert learnt.provenance.first_seen_ns == first


@pytest.mark.parametrize("kept", [b"", b"\xc1", b"\x93\x63\x90\x90", b"{}", b"\x93\x01\x91\x01\x90"])
def test_damaged_state_is_refused(host: Host, kept: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        host.provenances.restore(kept)


def test_a_large_program_is_read_in_the_background(hosts: Callable[..., Host]) -> None:
    host = hosts(at_once_bytes=100)
    learnt = host.of(ended(host.tool))
    assert learnt == Learnt(None, {}, NOT_YET)
    assert host.of(ended(host.tool)).gap == NOT_YET
    one, two = host.answers(2)
    assert one == two
    assert one.provenance is not None
    assert one.provenance.package_state == "unchanged"
    assert host.of(ended(host.tool)) is one
    ledger = host.provenances.ledger()
    assert (ledger.seen, ledger.kept, ledger.pending) == (3, 3, 0)


def test_a_program_on_a_file_system_that_may_not_answer_is_read_in_the_background_and_known_for_a_minute(
    host: Host,
) -> None:
    process = ended(host.tool, device=0xFFFFE)  # nothing with this number is mounted here
    assert host.of(process).gap == NOT_YET
    (learnt,) = host.answers()
    host.now += 50
    assert host.of(process) is learnt
    host.now += 50
    assert host.of(process).gap == NOT_YET
    host.answers()


def test_what_takes_more_than_its_share_of_the_time_waits(hosts: Callable[..., Host]) -> None:
    host = hosts(at_once_s=0.0)
    assert host.of(ended(host.tool)).gap == NOT_YET
    assert host.answers()[0].provenance is not None


def test_a_program_too_large_to_be_hashed_is_still_described(hosts: Callable[..., Host]) -> None:
    host = hosts(max_bytes=100)
    learnt = host.of(ended(host.tool))
    assert learnt.hashes == {}
    assert learnt.provenance is not None
    assert (learnt.provenance.format, learnt.provenance.package_state) == ("elf", "unverified")


def test_when_too_many_wait_the_rest_is_counted_and_told(hosts: Callable[..., Host]) -> None:
    host = hosts(queue=2, at_once_s=0.0, bytes_per_s=1 << 40)
    copies = [Path(shutil.copy(host.tool, host.folder / str(number))) for number in range(4)]
    gaps = [host.of(ended(copy)).gap for copy in copies]
    assert gaps == [NOT_YET, NOT_YET, TOO_MANY, TOO_MANY]
    host.answers(2)
    ledger = host.provenances.ledger()
    assert ledger.dropped == {"queue_full": 2}
    assert ledger.balanced


def test_nothing_is_called_unowned_before_a_changed_database_was_read(host: Host) -> None:
    new = Path(shutil.copy(host.tool, host.folder / "new"))
    (host.info / "new.list").write_text(f"{new}\n")
    assert host.of(ended(new)).gap == NOT_YET
    assert not host.provenances.finished()
    (found,) = _answered(host)
    assert found.provenance is not None
    assert (found.provenance.package, found.provenance.package_state) == ("new", "unverified")
    assert host.provenances.ledger().balanced


def test_a_new_version_of_a_package_makes_known_programs_be_judged_anew(host: Host) -> None:
    process = ended(host.tool)
    assert host.about(process).package_state == "unchanged"
    host.sums(b"other")
    (host.info.parent / "status").write_text("Package: tool\nVersion: 2-1\n")
    host.packages.load()
    found = host.about(process)
    assert (found.package_version, found.package_state) == ("2-1", "modified")


def test_known_programs_stay_within_their_bound(hosts: Callable[..., Host]) -> None:
    host = hosts(remembered=4, first_seen=4, at_once_s=1e9)
    for number in range(20):
        copy = Path(shutil.copy(host.tool, host.folder / str(number)))
        assert host.about(ended(copy)).package_state == "unowned"
    again = Provenances(host.packages, ProvenanceOptions(remembered=2))
    again.restore(host.provenances.state())
    assert len(host.provenances.state()) < 4000
    assert len(again.state()) < len(host.provenances.state())
    again.close()


def test_a_file_system_that_never_answers_holds_up_nobody(
    hosts: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file on a device that isn't mounted here waits in a thread of its own; here it hangs for ever."""
    host = hosts(at_once_s=0.0)
    hangs = threading.Event()
    from shield.collector.linux.provenance import examination  # noqa: PLC0415

    opened = examination.open_program

    def open_program(process: Process, *rest: int) -> object:
        if process.exe == "/elsewhere":
            hangs.wait()
        return opened(process, *rest)

    monkeypatch.setattr(examination, "open_program", open_program)
    assert host.of(Process(pid=NOBODY, exe="/elsewhere", exe_inode=1, exe_device=0xFFFFE)).gap == NOT_YET
    assert host.of(ended(host.tool)).gap == NOT_YET
    assert host.answers()[0].provenance is not None
    hangs.set()


def _answered(host: Host) -> list[Learnt]:
    """Let time pass until what waits for the database is answered."""
    while True:
        host.now += 6
        found = host.provenances.finished()
        if found:
            return [learnt for _, learnt in found]
        time.sleep(0.005)
