"""What every Python runs when it starts: lines of code in .pth files, sitecustomize and usercustomize (site module)."""

from collections.abc import Iterator

from shield.collector.linux.persistence.item import Entry, entry
from shield.collector.linux.persistence.place import Found, places, script

_FOLDERS = (
    *("/usr/lib/python3*/site-packages", "/usr/lib/python3/dist-packages", "/usr/lib64/python3*/site-packages"),
    *("/usr/local/lib/python3*/site-packages", "/usr/local/lib/python3*/dist-packages"),
    *("/usr/lib/python3.*", "/etc/python3.*"),
    *("/opt/*/lib/python3*/site-packages", "~/.local/lib/python3*/site-packages"),
)


def path_file(found: Found) -> Iterator[Entry]:
    """Read the lines of a .pth file that are code: those that begin with `import`."""
    for line in found.lines():
        if line.startswith(("import ", "import\t")):
            yield entry(found.name, line, "python start", found.user or "every user")


PLACES = (
    *places("python_startup", path_file, *(f"{folder}/*.pth" for folder in _FOLDERS)),
    *places(
        "python_startup",
        script("python start", "every user"),
        *(f"{folder}/{name}.py" for folder in _FOLDERS for name in ("sitecustomize", "usercustomize")),
    ),
)
