"""The file of a program that a process runs."""

import os
import stat
from pathlib import Path

import pytest

from shield.collector.linux.provenance.program import (
    CHANGED,
    OpenProgram,
    Unseen,
    is_writable,
    open_program,
    read_content,
)
from shield.event import Process


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """A program at /usr/bin/tool in a tree of its own."""
    tool = tmp_path / "usr/bin/tool"
    tool.parent.mkdir(parents=True)
    tool.write_bytes(b"#!/bin/true\n" * 1000)
    return tool


def writable(tool: Path, group: int = 0) -> bool:
    os.chown(tool, os.getuid(), group)
    opened = OpenProgram(-1, tool.stat(), str(tool.parents[2]), True)
    return is_writable("/usr/bin/tool", opened)


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "expected"),
    [
        (0o755, 0o755, False),
        (0o757, 0o755, True),
        (0o755, 0o777, True),
        (0o755, 0o1777, True),
        (0o755, 0o775, False),
    ],
)
@pytest.mark.parametrize("above", [0, 1])
def test_a_program_that_anybody_may_replace_is_writable(
    tool: Path, file_mode: int, folder_mode: int, expected: bool, above: int
) -> None:
    tool.chmod(file_mode)
    tool.parents[above].chmod(folder_mode)
    assert writable(tool) is expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_group_may_change_a_program_unless_it_is_the_owners_own(tool: Path) -> None:
    tool.chmod(0o775)
    assert not writable(tool, group=os.getuid())
    assert writable(tool, group=12345)


def test_this_process_is_opened_through_the_kernels_link() -> None:
    process = Process(pid=os.getpid(), exe=os.readlink("/proc/self/exe"))  # noqa: PTH115  as the kernel says it
    opened = open_program(process, 0, 0)
    assert os.path.samestat(opened.status, Path("/proc/self/exe").stat())
    assert opened.here
    os.close(opened.descriptor)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_no_plain_file_is_never_waited_for(tool: Path, kind: int) -> None:
    tool.unlink()
    os.mknod(tool, kind | 0o755)
    with pytest.raises(Unseen):
        open_program(Process(pid=1 << 22, exe=str(tool)), 1 << 62, 0)


@pytest.mark.parametrize("path", ["", "/", "relative\0nul", "/no/such/program", "/" + "x" * 5000])
def test_a_path_that_leads_nowhere_is_said_to_be_gone_or_unreadable(path: str) -> None:
    with pytest.raises(Unseen):
        open_program(Process(pid=1 << 22, exe=path), 1 << 62, 0)


def test_a_link_put_in_a_programs_place_is_not_followed(tool: Path) -> None:
    tool.unlink()
    tool.symlink_to("/bin/true")
    with pytest.raises(Unseen):
        open_program(Process(pid=1 << 22, exe=str(tool)), 1 << 62, 0)


def test_a_file_that_changes_while_it_is_read_is_not_described(tool: Path) -> None:
    opened = open_program(Process(pid=1 << 22, exe=str(tool)), 1 << 62, 0)
    with pytest.raises(Unseen, match=CHANGED):
        read_content(opened, ["sha256"], 1 << 20, lambda _: tool.write_bytes(b"other"))
    os.close(opened.descriptor)
