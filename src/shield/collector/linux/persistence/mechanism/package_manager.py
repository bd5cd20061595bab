"""Commands that package managers run by themselves: apt.conf(5), plug-ins and actions of dnf and yum, alpm-hooks(5)."""

import re
from collections.abc import Iterator

from shield.collector.linux.persistence.ini import Settings
from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, first_word, places, script
from shield.text import decode

_HOOK = re.compile(
    r"(?P<name>[\w:-]*(?:Pre-Invoke|Post-Invoke|Post-Invoke-Success|Pre-Install-Pkgs|Post-Install-Pkgs))\s*"
    r"(?:::\s*)?(?:\{(?P<block>[^}]*)\}?|\"(?P<one>(?:[^\"\\]|\\.)*)\")"
)
_COMMAND = re.compile(r"\"((?:[^\"\\]|\\.)*)\"")


def apt(found: Found) -> Iterator[Entry]:
    """Read the commands that apt and dpkg run before and after they do something."""
    text = "\n".join(line for line in decode(found.content).split("\n") if not line.lstrip().startswith(("//", "#")))
    for hook in _HOOK.finditer(text):
        commands = [hook["one"]] if hook["block"] is None else _COMMAND.findall(hook["block"])
        for command in commands:
            yield entry(f"{hook['name']} {first_word(command)}", command, hook["name"], "root")


def actions(found: Found) -> Iterator[Entry]:
    """Read actions of dnf: a hook, a filter, options and a command, divided by colons."""
    for line in found.lines():
        fields = line.split(":")
        if len(fields) > 2:
            yield entry(first_word(fields[-1]), fields[-1].strip(), ":".join(fields[:-1]), "root")


def pacman(found: Found) -> Iterator[Entry]:
    """Read a hook of alpm-hooks(5)."""
    settings = Settings(found)
    if settings.first("Exec"):
        yield entry(found.name, settings.first("Exec"), settings.named(("When", "Operation", "Target")), "root")


PLACES = (
    *places("package_manager_hook", apt, "/etc/apt/apt.conf", "/etc/apt/apt.conf.d/*"),
    *places("package_manager_hook", script("dpkg", "root"), "/etc/dpkg/dpkg.cfg.d/*"),
    *places("package_manager_hook", actions, "/etc/dnf/plugins/post-transaction-actions.d/*.action"),
    *places("package_manager_hook", actions, "/etc/dnf/libdnf5-plugins/actions.d/*.actions"),
    *places(
        "package_manager_hook",
        script("dnf"),
        *("/usr/lib/python3*/site-packages/dnf-plugins/*.py", "/usr/lib/yum-plugins/*.py"),
        *("/etc/dnf/plugins/*.conf", "/etc/yum/pluginconf.d/*.conf"),
    ),
    *places("package_manager_hook", pacman, "/etc/pacman.d/hooks/*.hook", "/usr/share/libalpm/hooks/*.hook"),
)
