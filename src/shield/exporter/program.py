"""What a process runs: its name, and what a person should know about the program before trusting that name."""

from shield.event import Process, Provenance

UNKNOWN = "an unknown process"


def base(path: str) -> str:
    r"""Return the last part of a path, of this host's or of Windows' kind: `sh`, `cmd.exe`."""
    return path.rpartition("\\")[2] if path[1:3] == ":\\" else path.rpartition("/")[2]


def short_name(process: Process) -> str:
    """Return what a process is called for short, `""` where only its pid is known."""
    return base(process.exe) or base(process.invoked) or process.name


def image(process: Process) -> str:
    """Return the path of what a process runs, with what is odd about it."""
    notes = ", ".join(oddities(process))
    name = process.exe or process.invoked or process.name or "unknown program"
    return f"{name} ({notes})" if notes else name


def oddities(process: Process) -> list[str]:
    """Return what makes a program unlike one that was installed in the ordinary way."""
    origin = process.provenance
    known = ("in memory only" * process.exe_memfd, "deleted from disk" * process.exe_deleted)
    return [*filter(None, known), *(_of_origin(origin) if origin else ())]


def _of_origin(origin: Provenance) -> list[str]:
    package = origin.package or "its package"
    states = {"modified": f"not as {package} brought it", "unowned": "of no package"}
    notes = (
        states.get(origin.package_state, ""),
        f"packed with {origin.packer}" if origin.packer else "",
        "anybody may change it" * origin.writable,
    )
    return [*filter(None, notes)]
