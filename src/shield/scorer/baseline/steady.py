"""Names without what is random in them, so that names made up without end count as one.

Build trees, container layers, temporary folders, versions and process ids fill paths with parts that never come again.
Each of them is replaced by `*`:

>>> steady_path("/tmp/xyz123/cc1plus"), steady_path("/opt/app-1.22.0/bin/run-4711")
('/tmp/*/cc1plus', '/opt/app-*/bin/run-*')

What a name says otherwise stays. Windows paths are compared in lower case, as Windows does.
"""

import hashlib
import re
from functools import lru_cache

NAME_MOST = 256
_KEPT = 192

_SUSPECT = re.compile(r"(?<![^/\\])(?:[^/\\\d]*\d[^/\\]*|[a-fA-F]{8,}(?![^/\\]))")  # parts worth a closer look
_RANDOM = re.compile(
    r"\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?"  # a UUID
    r"|(?<![a-z0-9])[0-9a-f]{8,}(?![a-z0-9])"  # a digest, a container's id
    r"|(?<![a-z0-9])(?=[a-z]*\d+[a-z]+\d)[a-z0-9]{8,}(?![a-z0-9])"  # letters and digits mixed
    r"|(?<![a-z0-9])tmp\.?(?=[a-z_]*\d)[a-z0-9_]{6,}"  # mktemp(1), Python's tempfile
    r"|(?<![a-z0-9_])v?\d+(?:\.\d+)*(?![a-z0-9])"  # a number or a version that stands alone
    r"|\d{3,}",
    re.IGNORECASE,
)
_TEMPORARY = re.compile(
    r"(?:(?<=^/tmp/)|(?<=^/var/tmp/)|(?<=^/dev/shm/)|(?<=\\(?i:temp)\\))(?:tmp|(?=[^/\\]*(?:\d|[a-z][A-Z])))[^/\\]+"
)
_WINDOWS = re.compile(r"[A-Za-z]:\\|\\")


@lru_cache(maxsize=8192)
def steady_path(path: str) -> str:
    """Return the path of a program with its random parts replaced, `NAME_MOST` characters at most."""
    path = _SUSPECT.sub(_without_random, _TEMPORARY.sub("*", path))
    return bounded(path.lower() if _WINDOWS.match(path) else path)


def _without_random(part: re.Match[str]) -> str:
    return _RANDOM.sub("*", part[0])


def bounded(name: str) -> str:
    """Return `name` as text that can be stored; where it is too long, its start and a digest of all of it."""
    if not name.isascii():
        name = name.encode("utf-8", "replace").decode()
    if len(name) <= NAME_MOST:
        return name
    return f"{name[:_KEPT]}…{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"
