"""The few environment variables worth keeping: they change what code runs, what is remembered, or say who came in.

Everything else in an environment is left alone: it is where programs keep their secrets.
"""

from functools import lru_cache

from shield.text import decode

_KEPT = (b"LD_", b"HISTFILE=", b"SSH_CONNECTION=", b"SUDO_USER=")


@lru_cache(maxsize=512)  # children mostly have their parent's environment
def notable(environment: bytes) -> dict[str, str]:
    """Return the kept variables of an environment as the kernel stores it: `NAME=value` strings ended by NUL."""
    if not any(environment.startswith(name) or environment.find(b"\0" + name) >= 0 for name in _KEPT):
        return {}
    pairs = (entry.partition(b"=") for entry in environment.split(b"\0") if entry.startswith(_KEPT))
    return {decode(name): decode(value) for name, _, value in pairs}
