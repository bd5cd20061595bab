"""How a command ends early: a refusal in one line on stderr, a pipe whose reader has left, Ctrl-C while following."""

import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console

from shield.text import printable


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
        # The interpreter flushes stdout once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        raise SystemExit(0) from None


class OutputConsole(Console):
    """A console on stdout that leaves a broken pipe to `quiet_end`."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError
