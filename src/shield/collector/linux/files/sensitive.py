"""The sensitive places of a host: files whose change makes a program run, opens a way in, or hides one.

Plain data: the name of a set, as rules see it in `file.place`, and its globs. `*`, `?` and `[...]` stand for what is
within one component of a path, a component `**` for any number of them; a glob that ends in `**` takes everything
below. `~` stands for every home. Where a file is in several sets, the one named first counts.
"""

from collections.abc import Mapping

from msgspec import Struct

_LIBRARIES = ("/lib", "/usr/lib")
_WEB_ROOTS = (
    *("/var/www", "/srv/www", "/srv/http", "/usr/share/nginx/html", "/usr/local/www", "/home/*/public_html"),
    *("/opt/tomcat*/webapps", "/var/lib/tomcat*/webapps"),
)
_WEB_SCRIPTS = (
    *("*.php", "*.php[0-9]", "*.phtml", "*.phar", "*.phps", "*.pht", "*.jsp", "*.jspx", "*.war", "*.asp", "*.aspx"),
    *("*.ashx", "*.cgi", "*.pl", "*.py", "*.rb", "*.sh", "*.so", "*.html", "*.htm", "*.js"),
    *(".htaccess", ".user.ini", "web.config"),
)
_CHROMES = (
    *("google-chrome", "google-chrome-beta", "chromium", "microsoft-edge", "vivaldi", "opera"),
    "BraveSoftware/Brave-Browser",
)
_PROFILES = ("~/.mozilla/firefox", "~/snap/firefox/common/.mozilla/firefox", "~/.thunderbird", "~/.librewolf")

HOMES = ("/root", "/home/*", "/var/lib/*", "/var/www", "/opt/*")
"""Where homes are, of people and of services; those that are made later count as well."""

PLACES: dict[str, tuple[str, ...]] = {
    "preload": ("/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d/*"),
    "accounts": ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid"),
    "sudoers": (
        *("/etc/sudoers", "/etc/sudoers.d/*", "/etc/sudo.conf", "/etc/doas.conf", "/etc/doas.d/*"),
        *("/etc/polkit-1/**", "/usr/share/polkit-1/**"),
    ),
    "pam": (
        *("/etc/pam.conf", "/etc/pam.d/*", "/etc/security/**"),
        *(f"{lib}{folder}/security/*" for lib in _LIBRARIES for folder in ("", "/*")),
        *("/lib64/security/*", "/usr/lib64/security/*"),
    ),
    "ssh_keys": ("~/.ssh/authorized_keys", "~/.ssh/authorized_keys2", "/etc/ssh/authorized_keys/*", "/etc/ssh/keys/*"),
    "ssh": (
        *("/etc/ssh/**", "/usr/lib/systemd/ssh*_config.d/*"),
        *("~/.ssh/rc", "~/.ssh/environment", "~/.ssh/config", "~/.ssh/id_*"),
    ),
    "cron": (
        *("/etc/crontab", "/etc/anacrontab", "/etc/cron.allow", "/etc/cron.deny", "/etc/at.allow", "/etc/at.deny"),
        *(f"/etc/cron.{when}/*" for when in ("d", "hourly", "daily", "weekly", "monthly", "yearly")),
        *("/var/spool/cron/**", "/var/spool/at/**"),
    ),
    "systemd": (
        *("/etc/systemd/**", "/usr/local/lib/systemd/**", *(f"{lib}/systemd/**" for lib in _LIBRARIES)),
        *("/run/systemd/system/*.service", "/run/systemd/system/*.timer", "/run/systemd/system/*.socket"),
        *("~/.config/systemd/user/**", "~/.local/share/systemd/user/**"),
    ),
    "boot": (
        *("/etc/rc.local", "/etc/rc.d/**", "/etc/init.d/*", "/etc/rc[0-9S].d/*", "/etc/inittab", "/etc/init/*"),
        *("/etc/network/if-*.d/*", "/etc/dhcp/dhclient-*-hooks.d/*", "/etc/NetworkManager/dispatcher.d/**"),
        *("/etc/networkd-dispatcher/**", "/etc/acpi/**", "/etc/ppp/ip-*.d/*", "/etc/kernel/*.d/*"),
        *("/etc/default/grub", "/etc/grub.d/*", "/boot/grub*/grub.cfg", "/boot/vmlinuz*", "/boot/initr*"),
        *("/etc/initramfs-tools/**", "/etc/dracut.conf", "/etc/dracut.conf.d/*"),
    ),
    "kernel_modules": (
        *("/etc/modules", "/etc/modules-load.d/*", "/etc/modprobe.d/*", "/run/modprobe.d/*"),
        *(f"{lib}/{folder}.d/*" for lib in _LIBRARIES for folder in ("modules-load", "modprobe")),
        *(f"{lib}/modules/**/*.ko{suffix}" for lib in _LIBRARIES for suffix in ("", ".gz", ".xz", ".zst")),
    ),
    "udev": (
        *("/etc/udev/rules.d/*", "/run/udev/rules.d/*", "/usr/local/lib/udev/rules.d/*"),
        *(f"{lib}/udev/rules.d/*" for lib in _LIBRARIES),
    ),
    "profile": (
        *("/etc/profile", "/etc/profile.d/*", "/etc/environment", "/etc/environment.d/*", "/etc/bash.bashrc"),
        *("/etc/bashrc", "/etc/bash.bash_logout", "/etc/zsh/*", "/etc/zshenv", "/etc/zshrc", "/etc/zprofile"),
        *("/etc/csh.*", "/etc/fish/**", "/etc/X11/Xsession.d/*", "/etc/skel/.*", "/etc/shells"),
        *("~/.profile", "~/.bashrc", "~/.bash_profile", "~/.bash_login", "~/.bash_logout", "~/.bash_aliases"),
        *("~/.zshenv", "~/.zshrc", "~/.zprofile", "~/.zlogin", "~/.zlogout", "~/.kshrc", "~/.cshrc", "~/.tcshrc"),
        *("~/.config/fish/config.fish", "~/.config/fish/conf.d/*", "~/.config/environment.d/*", "~/.pam_environment"),
        *("~/.xprofile", "~/.xinitrc", "~/.xsession", "~/.xsessionrc"),
    ),
    "autostart": (
        *("/etc/xdg/autostart/*", "~/.config/autostart/*", "~/.config/autostart-scripts/*"),
        "~/.config/plasma-workspace/env/*",
    ),
    "motd": ("/etc/update-motd.d/*", "/etc/motd"),
    "name_resolution": ("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    "package_manager": (
        *("/etc/apt/**", "/etc/dpkg/**", "/etc/yum.conf", "/etc/yum/**", "/etc/yum.repos.d/*", "/etc/dnf/**"),
        *("/etc/zypp/**", "/etc/apk/**", "/etc/pacman.conf", "/etc/pacman.d/**", "/usr/share/libalpm/hooks/*"),
        *("/etc/pip.conf", "/usr/lib/rpm/macros.d/*", "/usr/lib/yum-plugins/*", "/usr/lib/zypp/plugins/**"),
        "/usr/lib/python3*/*-packages/dnf-plugins/*",
    ),
    "python": tuple(
        f"{lib}/python3*/*-packages/{name}"
        for lib in ("/usr/lib", "/usr/local/lib", "~/.local/lib")
        for name in ("*.pth", "sitecustomize.py", "usercustomize.py")
    ),
    "git": ("/etc/gitconfig", "~/.gitconfig", "/usr/share/git-core/templates/hooks/*", "/srv/git/*/hooks/*"),
    "web_root": tuple(f"{root}/**/{name}" for root in _WEB_ROOTS for name in _WEB_SCRIPTS),
    "web_server": (
        *("/etc/apache2/**", "/etc/httpd/**", "/etc/nginx/**", "/etc/lighttpd/**", "/etc/caddy/**", "/etc/php/**"),
        *("/usr/lib/apache2/modules/*", "/usr/lib64/httpd/modules/*", "/usr/lib*/nginx/modules/*"),
    ),
    "browser_extension": (
        *(f"{profiles}/*/extensions/*" for profiles in _PROFILES),
        *("~/.mozilla/native-messaging-hosts/*", "/usr/share/mozilla/extensions/**"),
        *("/usr/lib/firefox*/distribution/**", "/etc/firefox/**", "/etc/chromium/**", "/etc/opt/chrome/**"),
        *("/etc/opt/edge/**", "/usr/share/google-chrome/extensions/*", "/usr/share/chromium/extensions/*"),
        *(f"~/.config/{chrome}/*/Extensions/**/manifest.json" for chrome in _CHROMES),
        *(f"~/.config/{chrome}/NativeMessagingHosts/*" for chrome in _CHROMES),
    ),
    "trust_store": (
        *("/usr/local/share/ca-certificates/**", "/etc/pki/ca-trust/source/**", "/etc/ca-certificates.conf"),
        *("/etc/ca-certificates/trust-source/**", "/usr/share/pki/trust/anchors/*"),
    ),
    "containers": (
        *("/etc/docker/**", "/etc/containers/**", "/etc/containerd/**", "/etc/cni/net.d/*"),
        *("/etc/kubernetes/**", "/var/lib/kubelet/config.yaml"),
    ),
    "defences": (
        *("/etc/shield/**", "/etc/audit/**", "/etc/rsyslog.conf", "/etc/rsyslog.d/*", "/etc/syslog-ng/**"),
        *("/etc/fail2ban/**", "/etc/apparmor.d/*", "/etc/selinux/*", "/etc/logrotate.conf", "/etc/logrotate.d/*"),
        *("/etc/sysctl.conf", "/etc/sysctl.d/*", "/etc/nftables.conf", "/etc/iptables/*", "/etc/ufw/**"),
        *("/etc/firewalld/**", "/etc/hosts.allow", "/etc/hosts.deny"),
    ),
    "logs": (
        *(f"/var/log/{log}" for log in ("auth.log", "secure", "syslog", "messages", "kern.log", "cron", "sudo.log")),
        *(
            f"/var/log/{log}"
            for log in ("wtmp", "btmp", "lastlog", "faillog", "audit/audit.log", "journal/*/*.journal")
        ),
    ),
    "history": tuple(f"~/.{shell}_history" for shell in ("bash", "zsh", "sh", "ash", "python", "mysql", "psql")),
    "backups": tuple(
        f"{folder}/**" for folder in ("/var/backups", "/backup", "/backups", "/srv/backup", "/srv/backups")
    ),
    "programs": (
        *("/bin/*", "/sbin/*", "/usr/bin/*", "/usr/sbin/*", "/usr/local/bin/*", "/usr/local/sbin/*"),
        *("/usr/lib/openssh/*", "/usr/lib/dbus-1.0/*", "/usr/lib/policykit-1/*", "/usr/libexec/openssh/*"),
    ),
}
"""The sets that Shield watches unless it is told otherwise."""

EXCLUDED: tuple[str, ...] = ("/etc/**/.*.sw[px]", "/etc/**/4913", "/etc/apt/**/*.lock")
"""What is left out of all of them: the files editors keep beside the one they change, and locks."""


class FileOptions(Struct, frozen=True, kw_only=True):
    """What is watched, and what it may cost.

    `places` adds sets to PLACES or replaces those of the same name; an empty one is not watched. `exclude` adds globs
    to EXCLUDED, `homes` replaces HOMES. Files above `hash_limit` bytes are not hashed; all hashing together reads
    `hash_rate` bytes a second. What `known_files` files were like is remembered, to tell what a change changed; at
    start, up to `known_bytes` bytes of them are hashed. `watches` bounds the directories that inotify watches.
    """

    places: Mapping[str, tuple[str, ...]] = {}
    exclude: tuple[str, ...] = ()
    homes: tuple[str, ...] = HOMES
    hash_limit: int = 16 << 20
    hash_rate: int = 8 << 20
    known_files: int = 20_000
    known_bytes: int = 512 << 20
    watches: int = 8192

    def globs(self) -> dict[str, tuple[str, ...]]:
        """Return the globs of each set that is watched, with homes in place of `~`."""
        chosen = {**PLACES, **self.places}
        return {name: tuple(self._at_home(globs)) for name, globs in chosen.items() if globs}

    def excluded(self) -> tuple[str, ...]:
        """Return the globs of what is left out, with homes in place of `~`."""
        return tuple(self._at_home((*EXCLUDED, *self.exclude)))

    def _at_home(self, globs: tuple[str, ...]) -> list[str]:
        return [
            home + glob[1:] if glob.startswith("~/") else glob
            for glob in globs
            for home in (self.homes if glob.startswith("~/") else ("",))
        ]
