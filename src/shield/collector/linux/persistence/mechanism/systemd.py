"""systemd: units of the system and of users, what extends and enables them, and programs that make units.

systemd.unit(5), systemd.service(5), systemd.timer(5), systemd.generator(7), environment.d(5).
"""

from collections.abc import Callable, Iterator

from shield.collector.linux.persistence.ini import Settings
from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, Parser, Place, places, script

_SYSTEM = (
    "/etc/systemd/system",
    "/etc/systemd/system.control",
    "/run/systemd/system",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_EVERY_USER = (
    "/etc/systemd/user",
    "/run/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/local/share/systemd/user",
    "/usr/lib/systemd/user",
    "/usr/share/systemd/user",
)
_ONE_USER = ("~/.config/systemd/user", "~/.config/systemd/user.control", "~/.local/share/systemd/user")
_FOLDERS = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd")
_EXEC = ("ExecStart", "ExecStartPre", "ExecStartPost", "ExecCondition", "ExecReload", "ExecStop", "ExecStopPost")
_INSTALL = ("WantedBy", "RequiredBy", "UpheldBy", "Alias", "Also", "BusName")
_LISTEN = ("ListenStream", "ListenDatagram", "ListenSequentialPacket", "ListenFIFO", "ListenNetlink", "ListenSpecial")
_TIMES = (
    *("OnCalendar", "OnBootSec", "OnStartupSec", "OnActiveSec", "OnUnitActiveSec", "OnUnitInactiveSec"),
    *("OnClockChange", "OnTimezoneChange"),
)
_PATHS = ("PathExists", "PathExistsGlob", "PathChanged", "PathModified", "DirectoryNotEmpty")
_SOCKET_EXEC = ("ExecStartPre", "ExecStartPost", "ExecStopPre", "ExecStopPost")


def _service(found: Found, settings: Settings) -> tuple[str, str]:
    return settings.joined(_EXEC), settings.named(_INSTALL)


def _timer(found: Found, settings: Settings) -> tuple[str, str]:
    return settings.first("Unit") or _sibling(found), settings.named(_TIMES)


def _socket(found: Found, settings: Settings) -> tuple[str, str]:
    starts = settings.first("Service") or _sibling(found)
    return "; ".join(filter(None, (starts, settings.joined(_SOCKET_EXEC)))), settings.named(_LISTEN)


def _path(found: Found, settings: Settings) -> tuple[str, str]:
    return settings.first("Unit") or _sibling(found), settings.named(_PATHS)


def _drop_in(found: Found, settings: Settings) -> tuple[str, str]:
    command = settings.joined((*_EXEC, "Unit"))
    return command, settings.named((*_TIMES, *_LISTEN, *_PATHS, "Environment", "EnvironmentFile"))


_READERS: dict[str, tuple[str, Callable[[Found, Settings], tuple[str, str]]]] = {
    "*.service": ("systemd_service", _service),
    "*.timer": ("systemd_timer", _timer),
    "*.socket": ("systemd_socket", _socket),
    "*.path": ("systemd_path", _path),
    "*.d/*.conf": ("systemd_drop_in", _drop_in),
}


def _unit(read: Callable[[Found, Settings], tuple[str, str]], run_as: str) -> Parser:
    def parse(found: Found) -> Iterator[Entry]:
        name = f"{found.folder}/{found.name}" if found.name.endswith(".conf") else found.name
        if found.target and not found.content:
            yield entry(name, "", "masked" if found.target == "/dev/null" else f"alias of {found.target}")
            return
        settings = Settings(found)
        command, trigger = read(found, settings)
        yield entry(name, command, trigger, settings.first("User") or found.user or run_as)

    return parse


def _enabled(found: Found) -> Iterator[Entry]:
    """A link in the folder of a unit that wants or requires it (systemctl enable)."""
    yield entry(f"{found.folder}/{found.name}", found.target or found.path, found.folder, found.user)


def _environment(found: Found) -> Iterator[Entry]:
    """Read variables that every program of a user's session is given."""
    for line in found.lines():
        name, equals, _ = line.partition("=")
        if equals:
            yield entry(name.strip(), line, "every user session", found.user)


def _sibling(found: Found) -> str:
    """Return the unit that a timer, socket or path starts where it names none."""
    return f"{found.name.rpartition('.')[0]}.service"


def _units() -> Iterator[Place]:
    for folders, run_as in ((_SYSTEM, "root"), (_EVERY_USER, "every user"), (_ONE_USER, "")):
        for folder in folders:
            for pattern, (mechanism, read) in _READERS.items():
                yield Place(mechanism, f"{folder}/{pattern}", _unit(read, run_as))
            yield from places(
                "systemd_enabled", _enabled, f"{folder}/*.wants/*", f"{folder}/*.requires/*", f"{folder}/*.upholds/*"
            )


def _generators() -> Iterator[Place]:
    for folder in _FOLDERS:
        for kind, when in (("generators", "boot and reload"), ("environment-generators", "boot and reload")):
            yield from places("systemd_generator", script(when), f"{folder}/system-{kind}/*")
            yield from places("systemd_generator", script("login", "every user"), f"{folder}/user-{kind}/*")
        yield from places("systemd_sleep_hook", script("sleep and wake"), f"{folder}/system-sleep/*")
        yield from places("systemd_shutdown_hook", script("shutdown"), f"{folder}/system-shutdown/*")


PLACES = (
    *_units(),
    *_generators(),
    *places(
        "systemd_environment",
        _environment,
        "/etc/environment.d/*.conf",
        "/run/environment.d/*.conf",
        "/usr/lib/environment.d/*.conf",
        "~/.config/environment.d/*.conf",
    ),
)
