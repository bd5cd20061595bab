"""Processes of our own that do what would hold up the watch: one Python process can't do two things at once."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

_LEAST_URGENT = 19


def start(
    module: str,
    arguments: Sequence[str] = (),
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Start the interpreter on one of our modules. Raises OSError.

    The working directory may belong to anyone, so nothing is imported from it (-P). The terminal's Ctrl-C isn't for the
    child: it ends when it is done, or told to.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)


def give_way() -> None:
    """Let every other process go first."""
    if hasattr(os, "nice"):
        os.nice(_LEAST_URGENT)
