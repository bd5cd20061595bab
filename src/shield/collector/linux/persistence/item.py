"""The items of the inventory: one thing that makes one program run again by itself."""

from msgspec import Struct

from shield.redaction import redact

_NAME_MOST = 256
_COMMAND_MOST = 2048


class Entry(Struct, frozen=True, gc=False, array_like=True):
    """What one place in a file starts: `command`, when `trigger` comes, as the user `run_as`; `""` where not said.

    `name` tells it from the others in its file. Texts are without secrets and no longer than an event should carry.
    """

    name: str
    command: str = ""
    trigger: str = ""
    run_as: str = ""


class Item(Struct, frozen=True, gc=False):
    """An entry, with the file it is in. `sha256` is of the file's content, `mode` its permission bits.

    `owner` is the name of who owns the file (`#1234` for an id without one), `package` what brought it, `""` for none.
    """

    mechanism: str
    path: str
    name: str
    command: str
    trigger: str
    run_as: str
    owner: str
    package: str
    sha256: str
    mode: int
    gap: str = ""

    @property
    def entry(self) -> Entry:
        """What it is, without its file."""
        return Entry(self.name, self.command, self.trigger, self.run_as)


def entry(name: str, command: str = "", trigger: str = "", run_as: str = "") -> Entry:
    """Return an entry, without secrets and with bounded texts."""
    return Entry(
        redact(name, _NAME_MOST),
        redact(command, _COMMAND_MOST),
        redact(trigger, _NAME_MOST),
        run_as[:_NAME_MOST],
    )
