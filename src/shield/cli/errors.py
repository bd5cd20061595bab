"""How a command ends early: a refusal in one line on stderr, a pipe whose reader has left, Ctrl-C while following."""

import errno
import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import NoReturn, TextIO

from rich.console import Console

from shield.text import printable

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def fail(message: str, code: int = 2, details: Iterable[str] = ()) -> NoReturn:
    """Print `shield: message` and the details, one a line, to stderr and exit with `code`."""
    for line in (f"shield: {message}", *(f"  {detail}" for detail in details)):
        print(printable(line), file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def quiet_end() -> Generator[None, None, None]:
    """End with exit code 0 and no word when the reader of stdout leaves (`| head`) or the user presses Ctrl-C."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        raise SystemExit(0) from None
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        discard(sys.stdout)
        fail(f"the output can't be written: {error.strerror}; send it to a place with room")
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def discard(stream: TextIO) -> None:
    """Lead a standard stream that can't be written into nothing: the interpreter flushes it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class OutputConsole(Console):
    """A console on stdout that leaves a broken pipe to `quiet_end`."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError
