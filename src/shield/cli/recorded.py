"""Reading recorded telemetry for a command: every part that is no event is told and counted."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from shield.agent.recording import Recording
from shield.cli.errors import fail
from shield.collector.replay.damage import Damaged
from shield.collector.replay.detect import UnknownFormat
from shield.event import Event
from shield.text import printable

_DAMAGES_SHOWN = 5


class RecordedFiles:
    """Yields the events of files, one after the other; `damaged` counts what was none."""

    def __init__(self, names: Sequence[str]) -> None:
        self.damaged = 0
        self._names = names

    def __iter__(self) -> Iterator[Event]:
        """Yield the events. A file that can't be read ends the command with exit code 2."""
        recording = Recording(self._note)
        for name in self._names:
            try:
                with Path(name).open("rb") as file:
                    yield from recording.drafts(file, name)
            except UnknownFormat as error:
                fail(str(error))
            except OSError as error:
                fail(f"{name}: can't be read: {error.strerror}; name a file of recorded events")

    def _note(self, damage: Damaged) -> None:
        self.damaged += 1
        if self.damaged <= _DAMAGES_SHOWN:
            print(printable(f"shield: {damage.place}: not an event: {damage.problem}"), file=sys.stderr)
        elif self.damaged == _DAMAGES_SHOWN + 1:
            print("shield: more is damaged", file=sys.stderr)
