"""What runs by itself, which power a process gained, what the kernel runs and how the host changed, as sentences."""

from collections.abc import Mapping

from shield.event import Data, Module, Persistence, Privilege, System
from shield.exporter.quantity import duration, size
from shield.exporter.telling.identity import became
from shield.exporter.telling.word import cut, doer, given, identity, noted, path

_CAPABILITIES_SHOWN = 6
_SECOND_NS = 1_000_000_000

_MECHANISMS: Mapping[str, str] = {
    "anacron": "anacron job",
    "at": "at job",
    "cron": "cron job",
    "init_script": "boot script",
    "inittab": "inittab entry",
    "kernel_module": "kernel module setting",
    "ld_preload": "preloaded library",
    "motd_script": "login message script",
    "pam": "PAM setting",
    "pam_module": "PAM module",
    "rc_local": "boot script",
    "ssh_client": "ssh client setting",
    "ssh_key": "ssh key",
    "ssh_rc": "ssh login script",
    "ssh_server": "ssh server setting",
}
"""Those whose name doesn't say it all."""

_TAINTS: Mapping[str, str] = {
    "C": "staging",
    "E": "unsigned",
    "F": "forced",
    "K": "live patch",
    "N": "test",
    "O": "out of tree",
    "P": "proprietary",
    "R": "unloaded by force",
}
"""The kernel's letters: Documentation/admin-guide/tainted-kernels.rst."""


def persistence(data: Data) -> str:
    """Return `cron job added in /etc/cron.d/x: * * * * * root /tmp/x`."""
    one = data.persistence
    if one is None:
        return ""
    kind = _MECHANISMS.get(one.mechanism) or given(one.mechanism).replace("_", " ")
    done = f"{kind} {one.change or 'found'} in {path(one.path)}"
    runs = cut(_line_of_crontab(one) if one.mechanism == "cron" else _runs(one))
    return f"{done}: {runs}" if runs else done


def _line_of_crontab(one: Persistence) -> str:
    return " ".join(filter(None, (one.trigger, one.run_as, one.command)))


def _runs(one: Persistence) -> str:
    """Return what runs, when, and as whom; of what is no command, such as a key, its name."""
    what = one.command if one.command not in ("", one.path) else one.name
    if what in one.path:
        what = ""
    when = ", ".join(filter(None, (one.trigger, f"as {given(one.run_as)}" if one.run_as else "")))
    return what + noted((when,)) if what else when


def privilege(data: Data) -> str:
    """Return `exploit became root, was alice (uid 1000)`."""
    change = data.privilege
    if change is None:
        return became(data)
    match change.kind:
        case "user_id":
            gained = f", with {_capabilities(change)}" if change.gained else ""
            old = _user(change.old_name, change.old_id)
            return f"{doer(data)} became {_user(change.new_name, change.new_id)}, was {old}{gained}"
        case "group_id":
            group = identity(given(change.new_name) if change.new_name else "", change.new_id, "gid")
            return f"{doer(data)} took on group {group or 'of another'}"
        case "capabilities":
            return f"{doer(data)} gained {_capabilities(change)}"
        case "ptrace":
            name = change.target_name or change.target_exe
            whose = f" of {given(change.target_user)}" if change.target_user else ""
            target = f"{given(name)} (pid {change.target_pid})" if name else f"pid {change.target_pid}"
            return f"{doer(data)} took hold of {target}{whose} by ptrace"


def _user(name: str, number: int | None) -> str:
    if number == 0:
        return "root"
    return identity(given(name) if name else "", number) or "somebody else"


def _capabilities(change: Privilege) -> str:
    shown = ", ".join(map(given, change.gained[:_CAPABILITIES_SHOWN])) or "capabilities"
    more = len(change.gained) - _CAPABILITIES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def module(data: Data) -> str:
    """Return `kernel module evil loaded (out of tree, unsigned, 16 kB)`."""
    one = data.module
    if one is None:
        return ""
    if one.kind == "kernel_module" and not one.name:
        return f"a kernel module that is not listed was loaded{noted(_about(one))}"
    kind = "BPF program" if one.kind == "bpf_program" else "kernel module"
    return f"{kind} {given(one.name)} loaded{noted(_about(one))}"


def _about(one: Module) -> list[str]:
    taints = [_TAINTS.get(letter) or f"taint {given(letter)}" for letter in dict.fromkeys(one.taints)]
    return [given(one.type) if one.type else "", *taints, size(one.size) if one.size else ""]


def system(data: Data) -> str:
    """Return `tmpfs mounted on /etc/ssh: hides a part of /etc`, or what else the host has become."""
    one = data.system
    if one is None:
        return ""
    where = path(one.path) if one.path else "an unknown place"
    match one.kind:
        case "mount":
            return f"{_mounted(one)} mounted on {where}{_hides(one)}"
        case "unmount":
            return f"{_mounted(one)} unmounted from {where}"
        case "remount":
            return f"{where} remounted: {path(one.old_options)} -> {path(one.options)}"
        case "clock_set":
            return f"clock set {'back' if one.shift_ns < 0 else 'ahead'} by {duration(abs(one.shift_ns) / _SECOND_NS)}"
        case "hidden_process":
            return f"{doer(data)} is hidden: it runs, but no list of processes shows it"
        case "deleted_program":
            return f"{doer(data)} runs from a file that was deleted: {where}"
        case "memory_program":
            return f"{doer(data)} runs from memory, without a file: {where}"


def _mounted(one: System) -> str:
    if one.source in ("", one.type):
        return path(one.type) if one.type else "something"
    return path(one.source) + noted((given(one.type) if one.type else "",))


def _hides(one: System) -> str:
    if not one.covers:
        return ""
    return f": hides {'what was there' if one.covers == one.path else f'a part of {path(one.covers)}'}"


def log(data: Data) -> str:
    """Return a log's record: who wrote it, of which kind it is, and its text where it has one."""
    one = data.log
    if one is None:
        return ""
    writer = " ".join(given(part) for part in (one.provider or one.service, one.code) if part)
    return ": ".join(filter(None, (writer, cut(one.message))))
