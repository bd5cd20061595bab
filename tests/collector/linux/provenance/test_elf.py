"""What ELF programs say of themselves: real ones compared with pyelftools, and hostile ones."""

import os
import struct
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.provenance.elf import ImageFacts, facts

INTERPRETER = Path(os.path.realpath(sys.executable)).read_bytes()


def of(content: bytes) -> ImageFacts:
    return facts(lambda offset, length: content[offset : offset + length], len(content))


def of_file(path: Path) -> ImageFacts:
    with path.open("rb") as file:
        return facts(lambda offset, length: os.pread(file.fileno(), length, offset), path.stat().st_size)


def program(*segments: tuple[int, int, int], wide: bool = True, order: str = "<", tail: bytes = b"") -> bytes:
    """Return an ELF program of segments: type, offset, size. It has no sections, as a packed one."""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    size, entry = (64, 56) if wide else (52, 32)
    header = struct.pack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        2,
        62,
        1,
        0,
        size,
        0,
        0,
        size,
        entry,
        len(segments),
        0,
        0,
        0,
    )
    layout = order + ("IIQQQQQQ" if wide else "8I")
    rows = [
        struct.pack(layout, kind, 5, at, 0, 0, length, length, 1)
        if wide
        else struct.pack(layout, kind, at, 0, 0, length, length, 5, 1)
        for kind, at, length in segments
    ]
    return ident + header + b"".join(rows) + tail


def test_every_program_of_this_machine_is_described_as_pyelftools_does() -> None:
    files = [path for path in sorted(Path("/usr/bin").iterdir()) if path.is_file() and not path.is_symlink()]
    programs = [path for path in files if of_file(path).format == "elf"]
    assert len(programs) > 50
    for path in programs[::7]:
        with path.open("rb") as file:
            elf = ELFFile(file)
            note = elf.get_section_by_name(".note.gnu.build-id")
            build_id = next((one["n_desc"] for one in note.iter_notes()), "") if note else ""
            static = all(segment["p_type"] != "PT_INTERP" for segment in elf.iter_segments())
            stripped = elf.get_section_by_name(".symtab") is None
        found = of_file(path)
        assert (found.static, found.stripped, found.build_id, found.packer) == (static, stripped, build_id, ""), path


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_all_classes_and_byte_orders_are_read(wide: bool, order: str) -> None:
    note = struct.pack(f"{order}III4s4s", 4, 4, 3, b"GNU\0", b"\1\2\3\4")
    bare = program((1, 0, 4096), (3, 0, 8), (4, 0, 0), wide=wide, order=order)
    found = of(program((1, 0, 4096), (3, 0, 8), (4, len(bare), len(note)), wide=wide, order=order, tail=note))
    assert found == ImageFacts("elf", static=False, stripped=True, build_id="01020304")


def test_a_static_program_asks_for_no_interpreter() -> None:
    assert of(program((1, 0, 64))).static
    assert not of(program((1, 0, 64), (3, 0, 8))).static


def test_upx_is_known_by_its_marks() -> None:
    plain = program((1, 0, 64), tail=bytes(8192))
    assert of(plain).packer == ""
    assert of(program((1, 0, 64), tail=bytes(4) + b"UPX!" + bytes(8192))).packer == "upx"
    assert of(plain + b"UPX!" + bytes(32)).packer == "upx"
    assert of(plain + b"$Info: This file is packed with the UPX executable packer $" + bytes(2000)).packer == "upx"


def test_a_program_that_only_speaks_of_upx_is_not_packed() -> None:
    assert of(program((1, 0, 64), tail=bytes(6000) + b"UPX!" + bytes(6000))).packer == ""


def test_broken_section_headers_hide_nothing_that_the_kernel_needs() -> None:
    broken = bytearray(INTERPRETER)
    broken[0x28:0x30] = b"\xff" * 8
    broken[0x3A:0x40] = b"\xff" * 6
    sound, found = of(INTERPRETER), of(bytes(broken))
    assert found.format == "elf"
    assert (found.static, found.build_id) == (sound.static, sound.build_id)
    assert found.stripped


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"#!/bin/sh\n", "script"),
        (b"", "other"),
        (b"\x7fELF", "other"),
        (b"\x7fELF\x02\x01\x01", "other"),
        (b"\x7fELF" + bytes(60), "other"),
        (b"MZ\x90\0", "other"),
        (program((6, 0, 64)), "other"),
    ],
)
def test_what_is_no_program_is_said_to_be_none(content: bytes, kind: str) -> None:
    assert of(content) == ImageFacts(kind)


@given(st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 255)), max_size=8), st.integers(0, 4096))
def test_nothing_in_a_file_makes_reading_it_fail(changes: list[tuple[int, int]], length: int) -> None:
    hostile = bytearray(INTERPRETER[:4096])
    for at, byte in changes:
        hostile[at] = byte
    for content in (bytes(hostile), bytes(hostile[:length])):
        assert of(content).format in ("elf", "other", "script")


@given(st.binary(max_size=200), st.sampled_from([1, 2]), st.sampled_from([1, 2]))
def test_headers_of_noise_are_read_within_bounds(noise: bytes, kind: int, order: int) -> None:
    asked = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal asked
        asked += length
        return content[offset : offset + length]

    content = b"\x7fELF" + bytes([kind, order, 1]) + bytes(9) + noise
    facts(read, 1 << 40)
    assert asked < 1 << 20
