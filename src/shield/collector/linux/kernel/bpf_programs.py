"""BPF programs that others load: they run inside the kernel, see everything, and can hide what they like.

The kernel numbers its programs in the order they are loaded, so one system call tells whether there is a new one
(bpf(2), BPF_PROG_GET_NEXT_ID). Who holds it is found in /proc/PID/fdinfo.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from shield.collector.linux.accounts import UserNames
from shield.collector.linux.clock import BootClock
from shield.collector.linux.procfs import ProcessGone, ProcfsReader
from shield.event import Module, User
from shield.record import Actor, Observation
from shield.text import decode

_LIBRARY = "libbpf.so.1"
_BATCH = 64
_DESCRIPTORS_MOST = 20_000
_INFO_BYTES = 232
# struct bpf_prog_info of linux/bpf.h: type, id, tag, two lengths, two pointers, load time, uid, maps, name.
_INFO = struct.Struct("=II8sIIQQQIIQ16s")
_NO_OWNER = ("the process that holds the program was not found",)


class Program(NamedTuple):
    """A loaded program: `loaded_ns` since boot, `user` who loaded it, `size` of its instructions in bytes."""

    id: int
    type: str
    name: str
    size: int
    loaded_ns: int
    user: int


class BpfPrograms:
    """The programs that were loaded by other processes than this one."""

    def __init__(self, clock: BootClock, names: UserNames, root: Path = Path("/proc")) -> None:
        self._clock = clock
        self._names = names
        self._procfs = ProcfsReader(clock, names, root)
        self._root = root
        self._kernel: _Kernel | None = None
        self._newest = 0

    def open(self) -> None:
        """Remember the newest program. Raises OSError where libbpf lacks or the kernel doesn't permit it."""
        self._kernel = _Kernel()
        while (following := self._kernel.program_after(self._newest)) is not None:
            self._newest = following

    def look(self) -> Iterator[Observation | str]:
        """Yield at most 64 programs loaded since the last look, or why one is not told."""
        for _ in range(_BATCH):
            number = self._kernel.program_after(self._newest) if self._kernel is not None else None
            if self._kernel is None or number is None:
                return
            # Numbers that were given and are gone again: loaders try out what a kernel can do.
            yield from ["gone_before_read"] * min(number - self._newest - 1, _BATCH)
            self._newest = number
            program = self._kernel.describe(number)
            yield "gone_before_read" if program is None else self._judged(program)

    def _judged(self, program: Program) -> Observation | str:
        if _holder(self._root, [os.getpid()], program.id):
            return "own_program"
        # Whoever loads one has mostly just been started.
        actor = self._actor(_holder(self._root, reversed(self._procfs.pids()), program.id))
        return Observation(
            ts_ns=self._clock.unix_ns(program.loaded_ns),
            category="module_load",
            actor=actor,
            user=User(id=program.user, name=self._names.name(program.user)),
            module=Module("bpf_program", program.name, program.id, program.type, program.size),
            gaps=_NO_OWNER if actor is None else (),
        )

    def _actor(self, pid: int) -> Actor | None:
        if not pid:
            return None
        try:
            shown = self._procfs.read(pid)
        except ProcessGone:
            return Actor(pid)
        return Actor(pid, shown.start_ticks, shown.process, shown.user)


class _Kernel:
    """The calls of libbpf that list programs. Raises OSError where there is none, or it is older than 1.0."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_LIBRARY, use_errno=True)
        try:
            self._library.libbpf_bpf_prog_type_str.restype = ctypes.c_char_p
        except AttributeError:
            raise OSError(errno.ENOSYS, f"{_LIBRARY} is older than 1.0") from None

    def program_after(self, number: int) -> int | None:
        """Return the next program's number, None for none. Raises PermissionError."""
        following = ctypes.c_uint32()
        if self._library.bpf_prog_get_next_id(ctypes.c_uint32(number), ctypes.byref(following)) == 0:
            return following.value
        if ctypes.get_errno() in (errno.EPERM, errno.EACCES):
            raise PermissionError(errno.EPERM, "only root may list BPF programs")
        return None

    def describe(self, number: int) -> Program | None:
        """Return what the kernel says of a program, None for one that is gone."""
        descriptor = self._library.bpf_prog_get_fd_by_id(ctypes.c_uint32(number))
        if descriptor < 0:
            return None
        try:
            raw, size = ctypes.create_string_buffer(_INFO_BYTES), ctypes.c_uint32(_INFO_BYTES)
            if self._library.bpf_obj_get_info_by_fd(descriptor, raw, ctypes.byref(size)) < 0:
                return None
        finally:
            os.close(descriptor)
        kind, _, _, _, length, _, _, loaded_ns, user, _, _, name = _INFO.unpack_from(raw)
        known = self._library.libbpf_bpf_prog_type_str(kind)
        return Program(
            id=number,
            type=known.decode() if known else str(kind),
            name=decode(name.partition(b"\0")[0]),
            size=length,
            loaded_ns=loaded_ns,
            user=user,
        )


def _holder(root: Path, pids: Iterable[int], number: int) -> int:
    """Return the first of the processes that has a program open, or a link to it; 0 where none has."""
    wanted = f"prog_id:\t{number}\n".encode()
    looked_at = 0
    for pid in pids:
        descriptors = _descriptors(root, pid)
        looked_at += len(descriptors)
        if looked_at > _DESCRIPTORS_MOST:
            return 0
        if any(_is_bpf(root, pid, one) and wanted in _information(root, pid, one) for one in descriptors):
            return pid
    return 0


def _descriptors(root: Path, pid: int) -> list[str]:
    try:
        return os.listdir(f"{root}/{pid}/fd")
    except OSError:
        return []  # it ended, or is another user's


def _is_bpf(root: Path, pid: int, descriptor: str) -> bool:
    """Whether a descriptor is a program or a link: the kernel calls them bpf-prog and bpf_link."""
    try:
        return os.readlink(f"{root}/{pid}/fd/{descriptor}").startswith("anon_inode:bpf")
    except OSError:
        return False


def _information(root: Path, pid: int, descriptor: str) -> bytes:
    try:
        return Path(f"{root}/{pid}/fdinfo/{descriptor}").read_bytes()
    except OSError:
        return b""
