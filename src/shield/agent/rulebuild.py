"""Compiling rules beside the watch, which goes on meanwhile: a process of its own with the least priority.

Run as a module (`python -m shield.agent.rulebuild`) it reads an order, as JSON, from stdin, and writes the compiled
rules to stdout; or, with exit code 2, a text that says why there are none. What it compiled is in the cache afterwards,
for the next start.
"""

import sys
import tempfile
from contextlib import ExitStack

import msgspec
from msgspec import Struct

from shield.agent import child, rulebook
from shield.agent.rulebook import NoRules
from shield.agent.rulecache import Compiled, RuleCache, default_folder, sealed, unsealed
from shield.event import Platform
from shield.policy.schema import Policy
from shield.scorer.score import Scorer

_MODULE = "shield.agent.rulebuild"
_REFUSED = 2


class Order(Struct, frozen=True):
    """Which rules to compile, under which policy, for events of which platform."""

    places: tuple[str, ...]
    policy: Policy
    os: Platform


class Build:
    """One process that carries out an order. Raises OSError where it can't be started."""

    def __init__(self, order: Order) -> None:
        with ExitStack() as files:
            asked = files.enter_context(tempfile.TemporaryFile())
            self._answer = files.enter_context(tempfile.TemporaryFile())
            asked.write(msgspec.json.encode(order))
            asked.seek(0)
            self._process = child.start(_MODULE, stdin=asked, stdout=self._answer)
            self._files = files.pop_all()

    @property
    def ended(self) -> bool:
        """Whether `result` is there."""
        return self._process.poll() is not None

    def result(self) -> Compiled:
        """Return the compiled rules, ready for use under the order's policy. Raises NoRules."""
        code = self._process.wait()
        with self._files:
            self._answer.seek(0)
            answer = self._answer.read()
        if code == _REFUSED:
            raise NoRules(answer.decode(errors="replace"))
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
            raise NoRules(f"the process that compiles the rules {how}; look for lack of memory or of temporary files")
        compiled = unsealed(answer)
        if compiled is None:
            raise NoRules("the compiled rules can't be read back; make room for temporary files")
        return compiled

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._files.close()


def main() -> int:
    """Carry out the order on stdin."""
    child.give_way()
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    cache = RuleCache(default_folder())
    try:
        book = rulebook.load(order.places, order.policy.placeholders, cache)
    except NoRules as error:
        sys.stdout.buffer.write(str(error).encode(errors="backslashreplace"))
        return _REFUSED
    Scorer(book.ruleset, order.policy, book.databases).prepare(order.os)
    book.keep(cache)
    sys.stdout.buffer.write(sealed(Compiled(book.ruleset, book.problems, book.databases.known)))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
