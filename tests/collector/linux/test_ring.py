"""Reading a ring buffer that is laid out, and written to, as the kernel does it."""

import mmap
import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.ring import RingBuffer

SIZE = 4096
PAGE = mmap.PAGESIZE
BUSY, DISCARDED = 1 << 31, 1 << 30


class Kernel:
    """The producer's end: reserves room, and says in a record's header when it is complete or given up."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + SIZE)
        self._pages = mmap.mmap(self.fd, 2 * PAGE + SIZE)
        self._produced = 0

    def output(self, data: bytes, flags: int = 0) -> bool:
        """Write a record where there is room, else return False."""
        room = (len(data) + 8 + 7) // 8 * 8
        if self._produced + room - self.consumed > SIZE - 1:
            return False
        framed = struct.pack("=II", len(data) | flags, 0) + data
        for index, byte in enumerate(framed):
            self._pages[2 * PAGE + (self._produced + index) % SIZE] = byte
        self._produced += room
        struct.pack_into("=Q", self._pages, PAGE, self._produced)
        return True

    def complete(self, at: int) -> None:
        """Take the busy flag from the record whose header stands at position `at`."""
        self._pages[2 * PAGE + at % SIZE + 3] &= 0x7F

    @property
    def consumed(self) -> int:
        (position,) = struct.unpack_from("=Q", self._pages, 0)
        return position

    def close(self) -> None:
        self._pages.close()
        os.close(self.fd)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture
def ring(kernel: Kernel) -> Iterator[RingBuffer]:
    ring = RingBuffer(kernel.fd, SIZE)
    yield ring
    ring.close()


@given(st.lists(st.tuples(st.binary(max_size=1500), st.booleans()), max_size=40), st.integers(1, 9))
def test_records_come_out_as_they_went_in_also_over_the_end_of_the_ring(
    written: list[tuple[bytes, bool]], most: int
) -> None:
    kernel = Kernel()
    ring = RingBuffer(kernel.fd, SIZE)
    read: list[bytes] = []
    for data, discarded in written:
        while not kernel.output(data, DISCARDED if discarded else 0):
            batch = ring.read(most)
            assert len(batch) <= most
            read += batch
    expected = [data for data, discarded in written if not discarded]
    assert ring.waiting() == len(expected) - len(read)
    while batch := ring.read(most):
        read += batch
    assert read == expected
    assert ring.waiting() == 0
    ring.close()
    kernel.close()


def test_a_record_still_being_written_holds_back_those_behind_it(kernel: Kernel, ring: RingBuffer) -> None:
    kernel.output(b"first")
    kernel.output(b"second", BUSY)
    kernel.output(b"third")
    assert ring.read(10) == [b"first"]
    assert ring.read(10) == []
    kernel.complete(16)
    assert ring.read(10) == [b"second", b"third"]


def test_reading_gives_the_room_back(kernel: Kernel, ring: RingBuffer) -> None:
    while kernel.output(b"x" * 500):
        pass
    assert not kernel.output(b"x" * 500)
    before = kernel.consumed
    ring.read(2)
    assert kernel.consumed == before + 2 * 512
    assert kernel.output(b"x" * 500)


def test_discarded_records_alone_are_passed_over(kernel: Kernel, ring: RingBuffer) -> None:
    kernel.output(b"given up", DISCARDED)
    assert ring.read(10) == []
    assert kernel.consumed == 16


def test_what_is_no_ring_is_refused() -> None:
    descriptor = os.open(os.devnull, os.O_RDWR)
    with pytest.raises(OSError, match=r"\[Errno"):
        RingBuffer(descriptor, SIZE)
    os.close(descriptor)
