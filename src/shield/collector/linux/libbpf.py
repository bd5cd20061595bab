"""A typed binding of the few libbpf 1.x calls that Shield needs, through ctypes.

`BpfObject` owns everything it loads: `close` detaches the programs and frees the maps, and so does the kernel when the
process ends, however it ends; nothing is pinned. API: https://docs.kernel.org/bpf/libbpf/libbpf_overview.html
"""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_LIBRARY = "libbpf.so.1"
_LOG_LINES = 40
_LOG_BYTES = 1 << 22
# struct bpf_prog_info of linux/bpf.h up to and with recursion_misses; kernels before 5.12 leave that zero.
_PROG_INFO_BYTES = 216
_RECURSION_MISSES_AT = 208
_NOEXIST = 1
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)

_SILENT = _PRINT()

_POINTER = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "bpf_object__open_file": (_POINTER, [ctypes.c_char_p, _POINTER]),
    "bpf_object__load": (ctypes.c_int, [_POINTER]),
    "bpf_object__close": (None, [_POINTER]),
    "bpf_object__next_program": (_POINTER, [_POINTER, _POINTER]),
    "bpf_object__find_map_by_name": (_POINTER, [_POINTER, ctypes.c_char_p]),
    "bpf_map__set_max_entries": (ctypes.c_int, [_POINTER, ctypes.c_uint32]),
    "bpf_map__initial_value": (_POINTER, [_POINTER, ctypes.POINTER(ctypes.c_size_t)]),
    "bpf_map__fd": (ctypes.c_int, [_POINTER]),
    "bpf_map__lookup_elem": (
        ctypes.c_int,
        [_POINTER, _POINTER, ctypes.c_size_t, _POINTER, ctypes.c_size_t, ctypes.c_uint64],
    ),
    "bpf_map__update_elem": (
        ctypes.c_int,
        [_POINTER, _POINTER, ctypes.c_size_t, _POINTER, ctypes.c_size_t, ctypes.c_uint64],
    ),
    "bpf_object__find_program_by_name": (_POINTER, [_POINTER, ctypes.c_char_p]),
    "bpf_program__autoload": (ctypes.c_bool, [_POINTER]),
    "bpf_program__set_autoload": (ctypes.c_int, [_POINTER, ctypes.c_bool]),
    "bpf_program__attach": (_POINTER, [_POINTER]),
    "bpf_program__fd": (ctypes.c_int, [_POINTER]),
    "bpf_obj_get_info_by_fd": (ctypes.c_int, [ctypes.c_int, _POINTER, ctypes.POINTER(ctypes.c_uint32)]),
    "bpf_link__destroy": (ctypes.c_int, [_POINTER]),
    "libbpf_set_print": (_POINTER, [_PRINT]),
}


class BpfError(OSError):
    """libbpf or the kernel refused; `log` holds the last lines that libbpf printed."""

    def __init__(self, code: int, what: str, log: str = "") -> None:
        super().__init__(code, f"{what}: {os.strerror(code)}")
        self.log = log


class BpfObject:
    """One BPF object file: open, set sizes and constants, load, attach, close."""

    def __init__(self, path: Path) -> None:
        """Open `path`. Raises BpfError, also where libbpf.so.1 is missing or too old."""
        self._lib = _library()
        self._links: list[int] = []
        self._log: list[str] = []
        # libbpf formats its messages with a C va_list; vsnprintf of the same C library turns it into text.
        self._print = _PRINT(self._remember)
        self._lib.libbpf_set_print(self._print)
        self._object: int | None = self._lib.bpf_object__open_file(os.fsencode(path), None)
        if not self._object:
            refusal = self._error(f"opening {path.name}")
            self.close()
            raise refusal

    def set_max_entries(self, name: str, entries: int) -> None:
        """Size a map, in entries (bytes for a ring buffer), before `load`. Raises BpfError."""
        self._check(self._lib.bpf_map__set_max_entries(self._map(name), entries), f"sizing map {name}")

    def set_constants(self, section: str, raw: bytes) -> None:
        """Set the leading bytes of a constant section such as `.rodata` before `load`. Raises BpfError."""
        size = ctypes.c_size_t()
        address = self._lib.bpf_map__initial_value(self._map(section), ctypes.byref(size))
        if not address or size.value < len(raw):
            raise BpfError(errno.EINVAL, f"section {section} holds {size.value} bytes, not {len(raw)}")
        ctypes.memmove(address, raw, len(raw))

    def leave_out(self, program: str) -> None:
        """Neither load nor attach a program, to be said before `load`. Raises BpfError."""
        found = self._lib.bpf_object__find_program_by_name(self._object, program.encode())
        if not found:
            raise BpfError(errno.ENOENT, f"no program named {program}")
        self._check(self._lib.bpf_program__set_autoload(found, False), f"leaving out {program}")

    def load(self) -> None:
        """Hand the programs to the kernel's verifier. Raises BpfError."""
        self._check(self._lib.bpf_object__load(self._object), "loading")

    def attach(self) -> None:
        """Attach every program that is loaded. Raises BpfError."""
        for program in self._programs():
            link = self._lib.bpf_program__attach(program)
            if not link:
                raise self._error("attaching")
            self._links.append(link)

    def map_fd(self, name: str) -> int:
        """Return the descriptor of a loaded map; it belongs to this object."""
        return self._lib.bpf_map__fd(self._map(name))

    def lookup(self, name: str, key: int, size: int) -> bytes:
        """Return the `size` bytes stored under a u32 key; per-CPU maps give all CPUs' values. Raises BpfError."""
        raw_key = ctypes.c_uint32(key)
        value = ctypes.create_string_buffer(size)
        code = self._lib.bpf_map__lookup_elem(self._map(name), ctypes.byref(raw_key), 4, value, size, 0)
        self._check(code, f"reading map {name}")
        return value.raw

    def put(self, name: str, key: bytes, value: bytes) -> None:
        """Store `value` under a key that a loaded map doesn't have yet. Raises BpfError, EEXIST for one that it has."""
        code = self._lib.bpf_map__update_elem(self._map(name), key, len(key), value, len(value), _NOEXIST)
        self._check(code, f"writing map {name}")

    def recursion_misses(self) -> int:
        """Return how often the kernel skipped a program because it was already running on that CPU."""
        return sum(self._recursion_misses(self._lib.bpf_program__fd(program)) for program in self._programs())

    def detach(self) -> None:
        """Detach every program; the maps and what they hold stay until `close`."""
        while self._links:
            self._lib.bpf_link__destroy(self._links.pop())

    def close(self) -> None:
        """Detach and free everything; may be called twice."""
        self.detach()
        if self._object:
            self._lib.bpf_object__close(self._object)
            self._object = None
        self._lib.libbpf_set_print(_SILENT)  # libbpf must not call into an object that is gone

    def _programs(self) -> Iterator[int]:
        """Yield the programs that are, or will be, loaded."""
        program = self._lib.bpf_object__next_program(self._object, None)
        while program:
            if self._lib.bpf_program__autoload(program):
                yield program
            program = self._lib.bpf_object__next_program(self._object, program)

    def _recursion_misses(self, program_fd: int) -> int:
        info = ctypes.create_string_buffer(_PROG_INFO_BYTES)
        size = ctypes.c_uint32(_PROG_INFO_BYTES)
        code = self._lib.bpf_obj_get_info_by_fd(program_fd, info, ctypes.byref(size))
        self._check(code, "reading a program's counters")
        return int.from_bytes(info.raw[_RECURSION_MISSES_AT:], sys.byteorder)

    def _map(self, name: str) -> int:
        found = self._lib.bpf_object__find_map_by_name(self._object, name.encode())
        if not found:
            raise BpfError(errno.ENOENT, f"no map named {name}")
        return found

    def _check(self, code: int, what: str) -> None:
        if code < 0:
            raise BpfError(-code, what, "\n".join(self._log))

    def _error(self, what: str) -> BpfError:
        return BpfError(ctypes.get_errno() or errno.EINVAL, what, "\n".join(self._log))

    def _remember(self, level: int, template: bytes, arguments: int) -> int:
        if level > 1:
            return 0
        message = ctypes.create_string_buffer(_LOG_BYTES)
        _C.vsnprintf(message, len(message), template, arguments)
        self._log = [*self._log, *message.value.decode("utf-8", "replace").splitlines()][-_LOG_LINES:]
        return 0


_C = ctypes.CDLL(None, use_errno=True)
_C.vsnprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, _POINTER]


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        raise BpfError(errno.ENOSYS, f"{_LIBRARY} cannot be used ({error})") from None
    return library
