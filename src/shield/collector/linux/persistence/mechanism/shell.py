"""What shells and sessions read when they start: of everybody in /etc, of one user at home.

bash(1) and zsh(1) name the files under INVOCATION and STARTUP FILES.
"""

from shield.collector.linux.persistence.place import places, script

PLACES = (
    *places(
        "shell_startup",
        script("shell start", "every user"),
        *("/etc/profile", "/etc/profile.d/*", "/etc/bash.bashrc", "/etc/bashrc", "/etc/bash.bash_logout"),
        *("/etc/zshenv", "/etc/zprofile", "/etc/zshrc", "/etc/zlogin", "/etc/zlogout", "/etc/zsh/z*"),
        *("/etc/csh.cshrc", "/etc/csh.login", "/etc/fish/config.fish", "/etc/fish/conf.d/*.fish"),
        *("/etc/skel/.bashrc", "/etc/skel/.profile", "/etc/skel/.bash_profile"),
    ),
    *places(
        "shell_startup",
        script("shell start"),
        *("~/.bashrc", "~/.bash_profile", "~/.bash_login", "~/.bash_logout", "~/.bash_aliases", "~/.profile"),
        *("~/.zshenv", "~/.zprofile", "~/.zshrc", "~/.zlogin", "~/.zlogout", "~/.kshrc", "~/.cshrc", "~/.tcshrc"),
        *("~/.login", "~/.config/fish/config.fish", "~/.config/fish/conf.d/*.fish"),
    ),
    *places(
        "session_startup",
        script("desktop login"),
        *("~/.xinitrc", "~/.xsession", "~/.xsessionrc", "~/.xprofile", "~/.config/plasma-workspace/env/*.sh"),
    ),
    *places("session_startup", script("desktop login", "every user"), "/etc/X11/Xsession.d/*", "/etc/xprofile"),
)
