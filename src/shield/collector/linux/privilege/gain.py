"""Which change of a running process's credentials is a gain of power that somebody should hear of.

All day long root's daemons become a user, and users run programs with the set-user-ID bit: neither is told. What is
left is a process that had not root's power, runs a program that gives none, and has it now. `gained` are the
capabilities that it was not even permitted before: where there are any, the kernel itself was talked into it, or the
program's file gave them; where there are none, the process had kept a way back (a saved user id of 0).
"""

import stat

from shield.collector.linux.privilege import capability
from shield.collector.linux.privilege.image import Image
from shield.collector.linux.privilege.task_status import Credentials
from shield.event import Privilege

# fmt: off
SWITCHERS = frozenset(
    {
        "(sd-pam)", "accounts-daemon", "anacron", "apache2", "at", "atd", "cron", "crond", "cupsd", "dovecot", "exim4",
        "fcron", "gdm-session-worker", "httpd", "lightdm", "local", "login", "master", "polkitd", "proftpd",
        "pure-ftpd", "pulseaudio", "rpc.gssd", "rpc.mountd", "sddm-helper", "sendmail", "smbd", "sshd", "sshd-auth",
        "sshd-session", "su", "sudo", "systemd", "systemd-executor", "vsftpd", "winbindd", "xrdp-sesman",
    }
)
"""Programs of the system that act as a user for a while and return to root by the way they kept."""

PRIVILEGED_GROUPS = frozenset(
    {"admin", "disk", "docker", "incus-admin", "kmem", "lxd", "root", "shadow", "sudo", "wheel"}
)
"""Groups that lead to root's power."""

SENSITIVE = frozenset(
    {
        "1password", "agetty", "bitwarden", "brave", "chrome", "chromium", "dbus-daemon", "firefox", "firefox-esr",
        "gdm-session-worker", "gnome-keyring-daemon", "gpg-agent", "keepassxc", "kwalletd5", "kwalletd6", "lightdm",
        "login", "msedge", "pass", "pkexec", "polkitd", "sddm-helper", "secret-tool", "ssh", "ssh-agent", "sshd",
        "sshd-session", "su", "sudo", "systemd", "systemd-logind", "thunderbird",
    }
)
"""Programs that hold secrets of their user, or decide who gets in."""
# fmt: on

_SHARED_FOLDERS = frozenset({"bin", "sbin", "lib", "libexec"})


def of_user(old: Credentials, new: Credentials, image: Image) -> Privilege | str:
    """Return the gain in a change of user ids, or why it is none."""
    if new.euid != 0:
        return "not_root"
    if old.euid == 0:
        return "was_root"
    if image.sets_root:
        return "setuid_program"
    by_file = image.owner == 0 and bool(image.mode & stat.S_ISUID)
    gained = new.permitted if by_file else new.permitted & ~old.permitted
    if gained and not by_file and new.uid != 0:
        # A set-user-ID program leaves the real user as it was, and this one has run another program since.
        return "program_replaced"
    if not gained and image.of_system and image.name in SWITCHERS:
        return "known_program"
    return Privilege(kind="user_id", old_id=old.euid, new_id=0, gained=capability.names(gained))


def of_group(old: Credentials, new: Credentials, image: Image, group_name: str) -> Privilege | str:
    """Return the gain in a change of group ids, or why it is none; `group_name` is that of the new effective group."""
    if new.euid == 0:
        return "root_anyway"
    if new.egid == old.egid or group_name not in PRIVILEGED_GROUPS:
        return "ordinary_group"
    if old.euid == 0:
        return "was_root"
    if image.of_system and image.mode & (stat.S_ISGID | stat.S_ISUID):
        return "setgid_program"
    if new.gid != new.egid and not image.mode & stat.S_ISGID:
        return "program_replaced"
    return Privilege(kind="group_id", old_id=old.egid, new_id=new.egid)


def of_capabilities(old: Credentials, new: Credentials, image: Image) -> Privilege | str:
    """Return the capabilities that an ordinary user's process came to between two looks at it, or why that is nothing.

    More than it was permitted is always told; putting to use what it was permitted only where it leads to root's power.
    """
    permitted, used = new.permitted & ~old.permitted, new.effective & ~old.effective
    if not permitted and not used:
        return "unchanged"
    if new.euid == 0 or old.euid == 0:
        return "root_anyway"
    if image.of_system and (image.gives_capabilities or image.sets_root):
        return "capable_program"
    told = permitted | used & capability.ROOT_ALIKE
    return Privilege(kind="capabilities", gained=capability.names(told)) if told else "harmless_capability"


def of_tracing(tracer: Credentials, target: Credentials, by: Image, of: Image) -> str:
    """Return why it is ordinary that one process traces another, "" where it is not."""
    same_user = tracer.euid == tracer.uid == target.uid == target.euid
    if same_user and of.name not in SENSITIVE:
        return "same_user"
    folder = of.path.rpartition("/")[0]
    own_folder = by.of_system and folder.rpartition("/")[2] not in _SHARED_FOLDERS and by.path.startswith(folder + "/")
    # Browsers bring a program that looks at them when they crash.
    return "own_crash_handler" if same_user and own_folder else ""
