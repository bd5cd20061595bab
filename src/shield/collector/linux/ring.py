"""Reading a BPF ring buffer (BPF_MAP_TYPE_RINGBUF) through its memory mapping, without a call into C a record.

Layout (kernel Documentation/bpf/ringbuf.rst): a page with the consumer's position, which we write; a page with the
producer's, which the kernel writes; then the data. Each record stands behind an 8-byte header, whose first word holds
its length and two flags, and is padded to 8 bytes. A record may run over the end of the data and go on at its start.
"""

import ctypes
import mmap
import struct
import threading

_PAGE = mmap.PAGESIZE
_HEADER_BYTES = 8
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_LENGTH = _DISCARDED - 1
_WORD = struct.Struct("=I")
_POSITION = struct.Struct("=Q")


class RingBuffer:
    """The consumer's end of one ring buffer map of `size` bytes, a power of two."""

    def __init__(self, map_fd: int, size: int) -> None:
        """Map the ring. Raises OSError."""
        self.fd = map_fd
        self._size = size
        self._own_page = mmap.mmap(map_fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._ring = mmap.mmap(map_fd, _PAGE + size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        self._consumed = ctypes.c_uint64.from_buffer(self._own_page)
        self._fence = threading.Lock()

    def read(self, most: int) -> list[bytes]:
        """Return up to `most` records, oldest first, and give their room back to the kernel."""
        spans, position = self._committed(most)
        if position == self._consumed.value:
            return []
        # A processor may read data ahead of the header that announces it; taking a lock is a barrier between the two.
        with self._fence:
            records = [self._bytes(at, length) for at, length in spans]
        self._consumed.value = position
        return records

    def waiting(self) -> int:
        """Return how many records are there to be read."""
        return len(self._committed(self._size)[0])

    def close(self) -> None:
        """Unmap, once."""
        del self._consumed  # the mapping can't go while this looks into it
        self._own_page.close()
        self._ring.close()

    def _committed(self, most: int) -> tuple[list[tuple[int, int]], int]:
        """Return place and length of the records that are complete, and the position behind them."""
        ring, mask = self._ring, self._size - 1
        position = self._consumed.value
        (produced,) = _POSITION.unpack_from(ring, 0)
        spans: list[tuple[int, int]] = []
        while position < produced and len(spans) < most:
            at = position & mask
            (header,) = _WORD.unpack_from(ring, _PAGE + at)
            if header & _BUSY:
                break
            length = header & _LENGTH
            if not header & _DISCARDED:
                spans.append((at + _HEADER_BYTES, length))
            position += (length + 2 * _HEADER_BYTES - 1) & ~(_HEADER_BYTES - 1)
        return spans, position

    def _bytes(self, at: int, length: int) -> bytes:
        begin = _PAGE + (at & self._size - 1)
        over = begin + length - (_PAGE + self._size)
        if over <= 0:
            return self._ring[begin : begin + length]
        return self._ring[begin:] + self._ring[_PAGE : _PAGE + over]
