"""Which file systems answer by themselves."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shield.collector.linux.provenance.filesystems import LocalFilesystems


@pytest.fixture
def filesystems() -> Iterator[LocalFilesystems]:
    opened = LocalFilesystems()
    yield opened
    opened.close()


def device(path: Path) -> int:
    number = path.stat().st_dev
    return os.major(number) << 20 | os.minor(number)


def test_the_system_and_memory_are_local_and_the_kernels_own_folders_are_not(filesystems: LocalFilesystems) -> None:
    assert filesystems.local(8 << 20 | 1, "/usr/bin/true")
    assert filesystems.local(device(Path("/dev/shm")), "/dev/shm/x")
    assert not filesystems.local(device(Path("/proc")), "/proc/1/exe")


def test_a_device_that_is_not_mounted_here_may_be_anything(filesystems: LocalFilesystems) -> None:
    assert not filesystems.local(0xFFFFF, "/usr/bin/true")


def test_a_path_below_another_file_system_is_not_walked(filesystems: LocalFilesystems) -> None:
    assert filesystems.local(0, "/usr/bin/true")
    assert not filesystems.local(0, "/proc/1/root/usr/bin/true")
