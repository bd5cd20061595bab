"""What was done to a file, and to the Windows registry, as sentences: what it was and what it is now."""

import stat
from collections.abc import Callable, Iterator

from shield.event import Data, File
from shield.exporter.quantity import permissions, size
from shield.exporter.telling.word import cut, doer, given, noted, path

_BITS = {stat.S_ISUID: "set-user-ID", stat.S_ISGID: "set-group-ID"}
_CAME_TO_POWER = ("setuid", "setgid", "capabilities")
"""The places that a file is said to be in when it has come to give power to those who run it."""


def done(verb: str) -> Callable[[Data], str]:
    """Return what tells `vim wrote /etc/passwd (mode 0644 -> 0666)`, `verb` being what was done."""

    def tell(data: Data) -> str:
        return f"{doer(data)} {verb} {_told(data.file, verb)}" if data.file else ""

    return tell


def renamed(data: Data) -> str:
    """Return `mv renamed /tmp/passwd to /etc/passwd`."""
    file = data.file
    if file is None:
        return ""
    old = path(file.old_path) if file.old_path else "a file"
    return f"{doer(data)} renamed {old} to {_told(file, '')}"


def registry(data: Data) -> str:
    r"""Return `reg.exe set HKLM\...\Run\x: C:\x.exe`."""
    change = data.registry
    if change is None:
        return ""
    key = path(change.path)
    if change.old_path:
        return f"{doer(data)} renamed {path(change.old_path)} to {key}"
    return f"{doer(data)} set {key}: {cut(change.data)}" if change.data else f"{doer(data)} changed {key}"


def _told(file: File, verb: str) -> str:
    link = f", a link to {path(file.target)}" if file.target else ""
    manager = f", by the package manager {given(file.package_manager)}" if file.package_manager else ""
    return f"{path(file.path)}{link}{noted(_notes(file, verb == 'created'))}{manager}"


def _notes(file: File, is_new: bool) -> Iterator[str]:
    """Yield where a file is, and what became of what it allows and to whom it belongs."""
    if file.place and file.place not in _CAME_TO_POWER:
        yield f"sensitive: {given(file.place).replace('_', ' ')}"
    yield from _mode(file, is_new)
    yield _moved("owner", file.old_owner, file.owner, file.owner_name)
    yield _moved("group", file.old_group, file.group, file.group_name)
    if file.old_size and file.size == 0:
        yield f"now empty, was {size(file.old_size)}"
    if file.package:
        yield f"package {given(file.package)}"


def _mode(file: File, is_new: bool) -> Iterator[str]:
    if file.place == "capabilities":
        yield "capabilities now set!"
    mode, old = file.mode, file.old_mode
    if mode is None or stat.S_ISLNK(mode):
        return
    if old is not None and permissions(old) != permissions(mode):
        yield f"mode {permissions(old)} -> {permissions(mode)}"
    came = mode & ~_before(file, mode, is_new)
    if not stat.S_ISDIR(mode):
        yield from (f"{name} bit now set!" for bit, name in _BITS.items() if came & bit)
    if came & stat.S_IWOTH and not mode & stat.S_ISVTX:
        yield "anybody may write to it now!"


def _before(file: File, mode: int, is_new: bool) -> int:
    """Return the mode that a file had; where it is not known, what can't be called a change is taken for granted."""
    if file.old_mode is not None:
        return file.old_mode
    return 0 if is_new or file.place in _CAME_TO_POWER else mode


def _moved(what: str, old: int | None, new: int | None, new_name: str) -> str:
    if old is None or new is None or old == new:
        return ""
    return f"{what} {_named(old)} -> {given(new_name) if new_name else _named(new)}"


def _named(number: int) -> str:
    return str(number) if number else "root"
