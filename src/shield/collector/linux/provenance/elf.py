"""What an ELF program says of itself: static, stripped, packed, its build id (elf(5), gABI chapters 4 and 5).

The files may be hostile: every read has a bound, and what makes no sense is left out. The kernel starts a program by
its program headers alone, so a program whose section headers are broken, as malware's often are, is still described.
(A general library refuses such a file as a whole.) Nothing here raises for what stands in a file.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

Read = Callable[[int, int], bytes]
"""Returns as many of `length` bytes at `offset` as there are."""

_IDENT = 16
_HEADERS_MOST = 64 << 10  # the kernel's own limit for program headers
_SECTIONS_MOST = 256 << 10
_NOTES_MOST, _NOTE_MOST = 16, 4096
_BUILD_ID_MOST = 64

_PT_LOAD, _PT_INTERP, _PT_NOTE = 1, 3, 4
_SHT_SYMTAB, _SHT_NOTE = 2, 7
_NT_GNU_BUILD_ID = 3
_UPX = b"UPX!"
_UPX_INFO = b"$Info: This file is packed with the UPX"
_UPX_HEAD, _UPX_TAIL = 256, 4096


class ImageFacts(Struct, frozen=True, gc=False):
    """What a program file is; the fields are those of `shield.event.Provenance`."""

    format: Literal["", "elf", "script", "other"] = ""
    static: bool = False
    stripped: bool = False
    packer: str = ""
    build_id: str = ""


class _Layout(NamedTuple):
    """How the headers of one class of ELF are laid out: the file's, a program's, a section's."""

    file: str
    program: str
    section: str
    program_order: tuple[int, int, int]
    """Where a program header has the type, the offset and the size in the file of what it describes."""
    section_order: tuple[int, int, int] = (1, 4, 5)


_LAYOUTS = {
    1: _Layout("HHIIIIIHHHHHH", "8I", "10I", (0, 1, 4)),
    2: _Layout("HHIQQQIHHHHHH", "IIQQQQQQ", "IIQQQQIIQQ", (0, 2, 5)),
}
_ORDERS = {1: "<", 2: ">"}


class _Part(NamedTuple):
    """A segment or a section."""

    kind: int
    offset: int
    size: int


class _Elf:
    """The headers of one file. Raises struct.error for one without."""

    def __init__(self, read: Read) -> None:
        self.read = read
        ident = read(0, _IDENT)
        layout, order = _LAYOUTS.get(ident[4]), _ORDERS.get(ident[5])
        if layout is None or order is None:
            raise struct.error("neither of the two classes or byte orders of ELF")
        header = struct.Struct(order + layout.file)
        fields = header.unpack(read(_IDENT, header.size))
        self._programs_at, self._sections_at = fields[4:6]
        self._program_size, self._programs, self._section_size, self._sections = fields[8:12]
        self._layout, self._order = layout, order

    @property
    def headers_end(self) -> int:
        """Where the program headers end."""
        return self._programs_at + self._program_size * self._programs

    def segments(self) -> Iterator[_Part]:
        """Yield what the program headers describe."""
        layout = self._layout
        read = self._programs_at, self._program_size, self._programs, _HEADERS_MOST
        return self._parts(layout.program, layout.program_order, *read)

    def sections(self) -> Iterator[_Part]:
        """Yield what the section headers describe."""
        layout = self._layout
        read = self._sections_at, self._section_size, self._sections, _SECTIONS_MOST
        return self._parts(layout.section, layout.section_order, *read)

    def _parts(
        self, layout: str, order: tuple[int, int, int], at: int, size: int, count: int, most: int
    ) -> Iterator[_Part]:
        header = struct.Struct(self._order + layout)
        if header.size == size and at:  # the kernel demands it, too
            raw = self.read(at, min(size * count, most))
            for fields in header.iter_unpack(raw[: len(raw) - len(raw) % size]):
                yield _Part(*(fields[number] for number in order))

    def build_id(self, notes: Sequence[_Part]) -> str:
        """Return the GNU build id in hexadecimal."""
        head = struct.Struct(f"{self._order}III")
        for note in notes[:_NOTES_MOST]:
            raw, at = self.read(note.offset, min(note.size, _NOTE_MOST)), 0
            while at + head.size <= len(raw):
                name_size, size, kind = head.unpack_from(raw, at)
                name_at = at + head.size
                at = name_at + (name_size + 3 & ~3)
                if kind == _NT_GNU_BUILD_ID and raw[name_at : name_at + name_size] == b"GNU\0":
                    return raw[at : at + min(size, _BUILD_ID_MOST)].hex()
                at += size + 3 & ~3
        return ""


def facts(read: Read, size: int) -> ImageFacts:
    """Return what the file of `size` bytes is that `read` reads from. Raises only what `read` raises."""
    start = read(0, _IDENT)
    if start.startswith(b"#!"):
        return ImageFacts("script")
    if not start.startswith(b"\x7fELF") or len(start) < _IDENT:
        return ImageFacts("other")
    try:
        return _elf_facts(_Elf(lambda at, length: read(at, length) if at < size else b""), size)
    except struct.error:
        return ImageFacts("other")


def _elf_facts(elf: _Elf, size: int) -> ImageFacts:
    segments, sections = list(elf.segments()), list(elf.sections())
    if not any(segment.kind == _PT_LOAD for segment in segments):  # nothing that could run
        return ImageFacts("other")
    notes = [
        part for parts, kind in ((segments, _PT_NOTE), (sections, _SHT_NOTE)) for part in parts if part.kind == kind
    ]
    return ImageFacts(
        format="elf",
        static=not any(segment.kind == _PT_INTERP for segment in segments),
        stripped=not any(section.kind == _SHT_SYMTAB for section in sections),
        packer="upx" if _packed_by_upx(elf, size) else "",
        build_id=elf.build_id(notes),
    )


def _packed_by_upx(elf: _Elf, size: int) -> bool:
    """Return whether UPX's marks are there: behind the program headers, or at the end of the file (UPX's linux.hh)."""
    tail = elf.read(max(0, size - _UPX_TAIL), _UPX_TAIL)
    return _UPX in elf.read(elf.headers_end, _UPX_HEAD) or _UPX in tail[-64:] or _UPX_INFO in tail
