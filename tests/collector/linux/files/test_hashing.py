"""Hashing files in the background."""

import hashlib
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shield.collector.linux.files.hashing import GONE, TOO_LARGE, UNREADABLE, FileHasher, HashJob

LIMIT = 1 << 20


@pytest.fixture
def hasher() -> Iterator[FileHasher]:
    made = FileHasher(LIMIT, rate=1 << 30)
    yield made
    made.close()


def done(hasher: FileHasher, path: Path) -> HashJob:
    found: list[str] = []
    job = hasher.submit(os.fsencode(path), found.append)
    while not job.done:
        select.select([hasher.fileno()], [], [], 10)
        hasher.acknowledge()
    assert found == [job.sha256] * bool(job.sha256)
    return job


def test_the_hash_of_a_file_is_told(hasher: FileHasher, tmp_path: Path) -> None:
    file = tmp_path / "a"
    for content in (b"", b"x", os.urandom(LIMIT)):
        file.write_bytes(content)
        assert done(hasher, file).sha256 == hashlib.sha256(content).hexdigest()


def test_what_is_too_large_gone_or_no_plain_file_is_not_hashed_and_says_why(hasher: FileHasher, tmp_path: Path) -> None:
    large, pipe, link = tmp_path / "large", tmp_path / "pipe", tmp_path / "link"
    large.write_bytes(b"x" * (LIMIT + 1))
    os.mkfifo(pipe)
    link.symlink_to(large)
    reasons = [done(hasher, path).why_not for path in (large, tmp_path / "none", pipe, link, tmp_path)]
    assert reasons == [TOO_LARGE, GONE, UNREADABLE, UNREADABLE, UNREADABLE]


def test_a_job_does_not_wait_for_idle_work(hasher: FileHasher, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    started, rested = threading.Event(), threading.Event()

    def idle() -> Iterator[float]:
        started.set()
        yield 3600.0
        rested.set()

    hasher.when_idle(idle())
    assert started.wait(10)
    assert done(hasher, file).sha256
    assert rested.wait(10)


def test_a_job_is_done_in_the_middle_of_a_file_that_idle_work_hashes_slowly(tmp_path: Path) -> None:
    slow, wanted = tmp_path / "slow", tmp_path / "wanted"
    slow.write_bytes(b"x" * LIMIT)
    wanted.write_bytes(b"x")
    hasher = FileHasher(LIMIT, rate=LIMIT // 4)
    hashed: list[tuple[str, str]] = []
    begun = threading.Event()

    def idle() -> Iterator[float]:
        begun.set()
        hashed.append(hasher.hash(os.fsencode(slow)))
        yield 0.0

    hasher.when_idle(idle())
    assert begun.wait(10)
    assert done(hasher, wanted).sha256
    assert not hashed
    hasher.close()
