"""The events of a fanotify group that reports directories and names, taken apart (fanotify(7)).

An event has a fixed head and then information records, of which each names its length. A name record holds the id of
the file system (8 bytes), the handle of a directory and a name in it; a renaming has two of them.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shield.collector.linux.files.fanotify_call import FAN_MOVED_FROM, FAN_MOVED_TO, FAN_ONDIR, FAN_RENAME

NO_PIDFD = -1

_HEAD = struct.Struct("=IBBHQii")
_RECORD = struct.Struct("=BBH")
_HANDLE_BYTES = struct.Struct("=I")
_PIDFD = struct.Struct("=i")
# Behind the record's own head: file system id, then struct file_handle with its length, type and bytes.
_HANDLE_AT, _HANDLE_HEAD = 4 + 8, 8
_DFID_NAME, _DFID, _PIDFD_RECORD, _OLD_NAME, _NEW_NAME = 2, 3, 4, 10, 12
_VERSION = 3


class FanotifyEvent(NamedTuple):
    """What was done (`mask`) by the process `pid` to `name` in a directory, and where to if it was renamed.

    `folder` is the directory as the kernel names it: id of the file system and handle. `pidfd` belongs to whoever takes
    the event; it is below 0 where the process had ended.
    """

    mask: int
    pid: int
    pidfd: int
    folder: bytes
    name: bytes
    new_folder: bytes
    new_name: bytes


def parse(raw: bytes) -> Iterator[FanotifyEvent]:
    """Yield the events in `raw`, which the kernel fills with whole events. Raises ValueError for anything else."""
    at, end = 0, len(raw)
    while at < end:
        if end - at < _HEAD.size:
            raise ValueError("an event ends within its head")
        length, version, _, record, mask, _, pid = _HEAD.unpack_from(raw, at)
        stop = at + length
        if version != _VERSION or length < record or record < _HEAD.size or stop > end:
            raise ValueError("an event of an unknown form")
        record += at
        pidfd = NO_PIDFD
        folder = name = new_folder = new_name = b""
        while stop - record >= _RECORD.size:
            kind, _, size = _RECORD.unpack_from(raw, record)
            if size < _RECORD.size or record + size > stop:
                raise ValueError("a record that is longer than its event")
            if kind == _PIDFD_RECORD and size >= 8:
                (pidfd,) = _PIDFD.unpack_from(raw, record + 4)
            elif kind == _NEW_NAME:
                new_folder, new_name = _named(raw, record, size)
            elif kind in (_DFID_NAME, _DFID, _OLD_NAME):
                folder, name = _named(raw, record, size)
            record += size
        yield FanotifyEvent(mask, pid, pidfd, folder, name, new_folder, new_name)
        at = stop


def paired(events: Iterable[FanotifyEvent]) -> Iterator[FanotifyEvent]:
    """Yield `events` with the two halves of a renaming, which kernels before 5.17 tell one after the other, as one.

    A half whose other one does not follow at once is left as it is.
    """
    half: FanotifyEvent | None = None
    for event in events:
        if half is not None and event.mask & FAN_MOVED_TO and event.pid == half.pid:
            if half.pidfd >= 0:
                os.close(half.pidfd)
            mask = FAN_RENAME | event.mask & FAN_ONDIR
            yield event._replace(
                mask=mask, folder=half.folder, name=half.name, new_folder=event.folder, new_name=event.name
            )
            half = None
            continue
        if half is not None:
            yield half
            half = None
        if event.mask & FAN_MOVED_FROM:
            half = event
        else:
            yield event
    if half is not None:
        yield half


def _named(raw: bytes, record: int, size: int) -> tuple[bytes, bytes]:
    """Return the directory and the name of a record; the name ends with a zero byte, and padding follows."""
    if size < _HANDLE_AT + _HANDLE_HEAD:
        raise ValueError("a record without a handle")
    (handle_bytes,) = _HANDLE_BYTES.unpack_from(raw, record + _HANDLE_AT)
    name_at = _HANDLE_AT + _HANDLE_HEAD + handle_bytes
    if name_at > size:
        raise ValueError("a handle that is longer than its record")
    name, _, _ = raw[record + name_at : record + size].partition(b"\0")
    return raw[record + 4 : record + name_at], name
