"""Whether something was done by a package manager: by itself, or by what it started, such as a package's scripts.

A name is anybody's choice, so only the full path of the program counts, which must be below a folder that belongs to
root. A package manager written in Python runs as the interpreter: there, the script it was started with counts.
"""

import re
from collections.abc import Iterable

from shield.event import Ancestor, Process

_FOLDERS = "(?:/usr)?/s?bin/"

_PROGRAMS: dict[str, str] = {
    "dpkg": _FOLDERS + r"dpkg(?:-[a-z]+)?",
    "apt": _FOLDERS + r"(?:apt(?:-get|-mark|-key)?|aptitude(?:-curses)?)|/usr/lib/apt/apt\.systemd\.daily",
    "unattended-upgrades": r"/usr/bin/unattended-upgrades?",
    "packagekit": r"/usr/lib(?:exec|/packagekit)/packagekitd",
    "rpm": _FOLDERS + "rpm",
    "dnf": _FOLDERS + r"(?:dnf(?:-3|5)?|microdnf|dnf-automatic(?:-3)?)",
    "yum": _FOLDERS + r"yum(?:-cron)?",
    "zypper": _FOLDERS + "zypper",
    "apk": "(?:/usr)?/sbin/apk|/usr/bin/apk",
    "pacman": "/usr/bin/pacman",
    "snapd": r"/usr/(?:lib|libexec)/snapd/snapd|/snap/(?:snapd|core)/x?[0-9]+/usr/lib/snapd/snapd",
    "flatpak": r"/usr/(?:bin/flatpak|libexec/flatpak-system-helper)",
    "rpm-ostree": "/usr/bin/rpm-ostree",
}
_NAMED = [(name, re.compile(pattern)) for name, pattern in _PROGRAMS.items()]
# For each interpreter, the options that take no word after them and are no code: what follows is the script.
_INTERPRETERS = [
    (re.compile("(?:/usr)?/bin/python[0-9.]*|/usr/libexec/platform-python[0-9.]*"), re.compile("-[BEIOPSsu]+")),
    (re.compile("(?:/usr)?/bin/perl[0-9.]*"), re.compile("-[Tw]+")),
    (re.compile("(?:/usr)?/bin/(?:ba|da)?sh"), re.compile("(?!)")),
]


def package_manager(process: Process | None, ancestors: Iterable[Ancestor]) -> str:
    """Return the package manager at work, the nearest one, `""` for none."""
    if process is not None and (found := _manager(process.exe, process.cmdline)):
        return found
    return next((found for above in ancestors if (found := _manager(above.exe, above.cmdline))), "")


def _manager(exe: str, cmdline: str) -> str:
    return _named(exe) or _named(_script(exe, cmdline))


def _named(path: str) -> str:
    return next((name for name, pattern in _NAMED if pattern.fullmatch(path)), "")


def _script(exe: str, cmdline: str) -> str:
    """Return the script that an interpreter was started with, `""` for other programs."""
    for interpreter, option in _INTERPRETERS:
        if interpreter.fullmatch(exe):
            return next((word for word in cmdline.split(" ")[1:] if not option.fullmatch(word)), "")
    return ""
