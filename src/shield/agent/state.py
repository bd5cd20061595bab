"""What the agent remembers from one run to the next: read at the start, written now and then and at the end.

What can't be used is set aside, never deleted, and told; that part then begins anew. What can't be written is told
once, and tried again.
"""

import errno
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from shield.agent.companion import Told
from shield.agent.statefolder import InUse, StateFolder, Untrusted
from shield.event import Loss, Tamper

REMEDIES = {
    "disk_full": "Make room where the state is kept.",
    "read_only": "Make the folder of the state writable for the agent, or name another one (state).",
    "io_error": "Look at the disk: the kernel's log names the error.",
}
"""Why state can't be kept, and what to do."""

DAMAGED = "damaged"
_SAVE_EVERY_S = 300.0
_WRITE_S = 10.0
_REASONS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EFBIG: "disk_full",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
}


class Remembered(Struct, frozen=True):
    """Something to remember, written every `every_s` seconds where it has changed.

    `restore` raises ValueError where it can't use what `export` once gave.
    """

    name: str
    export: Callable[[], bytes]
    restore: Callable[[bytes], None]
    every_s: float = _SAVE_EVERY_S


class KeptState:
    """Keeps `remembered` in the folder `path`. `problems` are lines about what was wrong at the start."""

    def __init__(
        self, path: Path, remembered: Sequence[Remembered], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.problems: list[str] = []
        self.failed: Counter[str] = Counter()
        """How often something could not be written, by reason."""
        self._folder = StateFolder(path)
        self._remembered: Mapping[str, Remembered] = {one.name: one for one in remembered}
        self._clock = clock
        self._news: list[Told] = []
        self._failing = False
        self._writing: _Writing | None = None
        self._save_at = {one.name: clock() + one.every_s for one in remembered}
        self._written: dict[str, bytes] = {}
        self._open()

    def care(self) -> Sequence[Told]:
        """Begin to write what is due; a thread waits for the disk."""
        if self._writing is not None and not self._writing.is_alive():
            self._note(self._writing.failure)
            self._writing = None
        if self._writing is None and (changed := self._changed()):
            self._writing = self._begin(changed)
        return self._told()

    def close(self) -> Sequence[Told]:
        """Write everything a last time; a disk that doesn't answer isn't waited for."""
        if self._writing is None or self._ended(self._writing):
            self._ended(self._begin({name: one.export() for name, one in self._remembered.items()}))
        self._folder.close()
        return self._told()

    def _ended(self, writing: "_Writing") -> bool:
        """Wait for a thread that writes, and return whether it has come to an end."""
        writing.join(_WRITE_S)
        hangs = writing.is_alive()
        self._note(OSError(errno.EIO, "the disk does not answer") if hangs else writing.failure)
        return not hangs

    def _open(self) -> None:
        try:
            self._folder.open()
        except InUse as error:
            self._give_up(f"{error}; give each its own (state)")
        except OSError as error:
            self._give_up(f"{self._folder.path}: {error.strerror}; {REMEDIES[_reason(error)]}")
            self._note(error)
        for one in self._remembered.values():
            self._restore(one)

    def _give_up(self, problem: str) -> None:
        """Go on without keeping anything."""
        self._remembered = {}
        self.problems.append(f"nothing will be remembered of this run: {problem}")

    def _restore(self, one: Remembered) -> None:
        try:
            one.restore(self._folder.read(one.name))
        except FileNotFoundError:
            return
        except OSError as error:
            self._set_aside(one.name, f"it can't be read: {error.strerror}")
        except (Untrusted, ValueError) as error:
            self._set_aside(one.name, str(error).partition(";")[0])

    def _set_aside(self, name: str, why: str) -> None:
        path = self._folder.file(name)
        try:
            fate = f"set aside as {self._folder.set_aside(name, DAMAGED).name}, and it begins anew"
        except OSError as error:
            fate = f"can't be set aside either ({error.strerror}), so it begins anew and isn't kept; move the file away"
            self._remembered = {key: one for key, one in self._remembered.items() if key != name}
        self.problems.append(f"{path}: {why}; {fate}")
        self._news.append(Tamper("stored state can't be used", self.problems[-1]))

    def _changed(self) -> dict[str, bytes]:
        """Return what is due to be written and isn't what was written last."""
        now = self._clock()
        due = [one for name, one in self._remembered.items() if now >= self._save_at[name]]
        self._save_at |= {one.name: now + one.every_s for one in due}
        contents = {one.name: one.export() for one in due}
        digests = {name: hashlib.blake2b(content).digest() for name, content in contents.items()}
        changed = {name for name, digest in digests.items() if self._written.get(name) != digest}
        self._written |= digests
        return {name: contents[name] for name in changed}

    def _begin(self, contents: Mapping[str, bytes]) -> "_Writing":
        writing = _Writing(self._folder, contents)
        writing.start()
        return writing

    def _note(self, failure: OSError | None) -> None:
        if failure is not None:
            reason = _reason(failure)
            self.failed[reason] += 1
            if not self._failing:
                self._news.append(Loss("state", {reason: 1}, REMEDIES[reason]))
            self._written.clear()  # so that it is tried again
        self._failing = failure is not None

    def _told(self) -> Sequence[Told]:
        told, self._news = self._news, []
        return told


class _Writing(threading.Thread):
    """Writes the files once; `failure` is what kept it from that."""

    def __init__(self, folder: StateFolder, contents: Mapping[str, bytes]) -> None:
        super().__init__(name="state", daemon=True)
        self.failure: OSError | None = None
        self._folder = folder
        self._contents = contents

    def run(self) -> None:
        """Write."""
        try:
            for name, content in self._contents.items():
                self._folder.write(name, content)
        except OSError as error:
            self.failure = error


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0, "io_error")
