"""A typed binding of the kernel's fanotify calls (fanotify(7)) and of open_by_handle_at(2), through ctypes."""

import ctypes
import os

FAN_CLASS_NOTIF, FAN_CLOEXEC, FAN_NONBLOCK = 0, 1, 2
FAN_REPORT_PIDFD, FAN_REPORT_DFID_NAME = 0x80, 0xC00
FAN_MARK_ADD, FAN_MARK_FLUSH, FAN_MARK_FILESYSTEM = 0x1, 0x80, 0x100

FAN_ATTRIB, FAN_CLOSE_WRITE = 0x4, 0x8
FAN_MOVED_FROM, FAN_MOVED_TO = 0x40, 0x80
FAN_CREATE, FAN_DELETE = 0x100, 0x200
FAN_Q_OVERFLOW = 0x4000
FAN_RENAME = 0x1000_0000
FAN_ONDIR = 0x4000_0000

_AT_FDCWD = -100
_C = ctypes.CDLL(None, use_errno=True)
_C.fanotify_init.argtypes = [ctypes.c_uint, ctypes.c_uint]
_C.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
_C.open_by_handle_at.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int]


def new_group(flags: int) -> int:
    """Return the descriptor of a new notification group. Raises OSError."""
    return _checked(_C.fanotify_init(flags, os.O_RDONLY | os.O_LARGEFILE | os.O_CLOEXEC), "fanotify_init")


def mark(group: int, flags: int, mask: int, path: bytes) -> None:
    """Add or remove marks of `group` on what `path` names. Raises OSError."""
    _checked(_C.fanotify_mark(group, flags, mask, _AT_FDCWD, path), "fanotify_mark")


def open_handle(mount: int, handle: bytes) -> int:
    """Return a descriptor (O_PATH) of the file that a struct file_handle stands for. Raises OSError.

    `mount` is a descriptor of any file on the same file system; ESTALE says that the file is no more.
    """
    return _checked(_C.open_by_handle_at(mount, handle, os.O_PATH | os.O_CLOEXEC), "open_by_handle_at")


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
