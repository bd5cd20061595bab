"""New rules and a new policy while the watch runs: all of them, or, where something about them is wrong, none.

A process of its own compiles the new rules (`shield.agent.rulebuild`), a thread makes them ready, and between two
events they take the place of the old ones. Rules are looked at again and again; the policy is read again when somebody
asks for it (SIGHUP). A set in which a file fails that was in use is refused as a whole: one mistake must not blind
the host to what it was watched for. A new file that can't be used is left out, and told.
"""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from shield.agent.companion import Change, Told
from shield.agent.places import Signature, signature
from shield.agent.rulebook import SHIPPED, NoRules, Rulebook, shipped
from shield.agent.rulebuild import Build, Order
from shield.agent.rulecache import Compiled
from shield.event import Platform, Tamper
from shield.policy import load as policies
from shield.policy.document import DocumentError
from shield.policy.load import PolicyInForce
from shield.scorer.score import Scorer
from shield.scorer.sigma.ruleset import Ruleset
from shield.scorer.sigma.scan import Databases

_SUFFIXES = (".yml", ".yaml")
_LOOK_EVERY_S = 2.0
_LOOK_SHARE = 200
"""Looking takes this part of the time at most: a folder of thousands is looked at less often."""

_TOLD_MOST = 5
_POLICY_MOST = 16 << 20


class Renewed(Struct, frozen=True):
    """Rules and a policy that are ready to be used."""

    scorer: Scorer
    ruleset: Ruleset
    policy: PolicyInForce


class Reload:
    """Renews the rules in `places`, of which `book` is in use, and the policy of `policy_file`.

    `adopt` is given what is ready, in the thread of the watch.
    """

    def __init__(
        self,
        places: Sequence[str],
        policy_file: Path | None,
        book: Rulebook,
        policy: PolicyInForce,
        os: Platform,
        adopt: Callable[[Renewed], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = tuple(places)
        self._looked_at = [str(shipped()) if place == SHIPPED else place for place in places or (SHIPPED,)]
        self._policy_file = policy_file
        self._in_use = _InUse(book.ruleset, book.problems)
        self._policy = self._next_policy = policy
        self._os: Platform = os
        self._adopt = adopt
        self._clock = clock
        self._look_at = 0.0
        self._asked = False
        self._build: Build | None = None
        self._loading: _Loading | None = None
        self._signature = self._seen = self._look()

    def ask(self) -> None:
        """Renew rules and policy at the next `care`, whether or not they seem changed; safe in a signal's handler."""
        self._asked = True

    def care(self) -> Sequence[Told]:
        """Go one step on, if there is one to go; returns at once."""
        if self._loading is not None:
            return () if self._loading.is_alive() else self._loaded(self._loading)
        if self._build is not None:
            return self._built(self._build) if self._build.ended else ()
        if self._asked:
            return self._answer()
        if self._clock() >= self._look_at:
            seen, self._seen = self._seen, self._look()
            if self._seen != self._signature and self._seen == seen:  # a set that still changes is still being written
                return self._begin(self._policy)
        return ()

    def close(self) -> Sequence[Told]:
        """End what is being compiled."""
        if self._build is not None:
            self._build.close()
            self._build = None
        return ()

    def _look(self) -> Signature | None:
        began = self._clock()
        found = signature(self._looked_at, _SUFFIXES)
        ended = self._clock()
        self._look_at = ended + max(_LOOK_EVERY_S, _LOOK_SHARE * (ended - began))
        return found

    def _answer(self) -> Sequence[Told]:
        """Begin what was asked for, if the policy can be used."""
        self._asked = False
        try:
            policy = policies.built_in() if self._policy_file is None else _policy(self._policy_file)
        except (DocumentError, OSError) as error:
            told = error.strerror if isinstance(error, OSError) else None
            text = f"{self._policy_file}: can't be read: {told}; check the path and its mode" if told else str(error)
            return (Tamper("a new policy can't be used; the old policy and rules stay in force", text),)
        self._seen = self._look()
        return self._begin(policy)

    def _begin(self, policy: PolicyInForce) -> Sequence[Told]:
        self._signature = self._seen
        self._next_policy = policy
        try:
            self._build = Build(Order(self._places, policy.policy, self._os))
        except OSError as error:
            return self._refused(f"no process to compile them: {error.strerror}; the agent needs room for one more")
        return ()

    def _built(self, build: Build) -> Sequence[Told]:
        self._build = None
        self._loading = _Loading(build, self._next_policy, self._os)
        self._loading.start()
        return ()

    def _loaded(self, loading: "_Loading") -> Sequence[Told]:
        self._loading = None
        if loading.renewed is None:
            return self._refused(loading.problem)
        new = loading.problems - self._in_use.problems
        lost = [problem for problem in sorted(new) if self._in_use.has(problem)]
        if lost:
            return self._refused(*lost)
        told: list[Told] = [Change(text) for text in self._changes(loading.renewed)]
        if new:
            told.append(Tamper("new rule files can't be used; the others are", _few(sorted(new))))
        self._in_use = _InUse(loading.renewed.ruleset, loading.problems)
        self._policy = loading.renewed.policy
        self._adopt(loading.renewed)
        return told

    def _changes(self, renewed: Renewed) -> Sequence[str]:
        texts = [f"rules: {self._in_use.rules} before, {len(renewed.ruleset)} now"]
        if renewed.policy.label != self._policy.label:
            texts.append(f"policy: {self._policy.label} before, {renewed.policy.label} now")
        return texts

    def _refused(self, *problems: str) -> Sequence[Told]:
        return (Tamper("new rules can't be used; the old rules and policy stay in force", _few(problems)),)


class _InUse:
    """What a later set is held against: the files that rules come from, and what is known to be wrong."""

    def __init__(self, ruleset: Ruleset, problems: Sequence[str] | frozenset[str]) -> None:
        self.rules = len(ruleset)
        self.problems = frozenset(problems)
        items = (*ruleset.rules, *ruleset.correlations, *ruleset.filters)
        self._files = tuple({f"{item.source}:" for item in items})

    def has(self, problem: str) -> bool:
        """Return whether a problem is about a file that rules in use come from."""
        return problem.startswith(self._files)


class _Loading(threading.Thread):
    """Makes compiled rules ready: `renewed`, else `problem` says why not. `problems` tell what was left out."""

    def __init__(self, build: Build, policy: PolicyInForce, os: Platform) -> None:
        super().__init__(name="rules", daemon=True)
        self.renewed: Renewed | None = None
        self.problem = ""
        self.problems: frozenset[str] = frozenset()
        self._build = build
        self._policy = policy
        self._os: Platform = os

    def run(self) -> None:
        """Load."""
        try:
            compiled = self._build.result()
        except (NoRules, OSError) as error:
            self.problem = str(error)
            return
        self.problems = frozenset(compiled.problems)
        self.renewed = _ready(compiled, self._policy, self._os)


def _ready(compiled: Compiled, policy: PolicyInForce, os: Platform) -> Renewed:
    scorer = Scorer(compiled.ruleset, policy.policy, Databases(compiled.databases))
    scorer.prepare(os)
    return Renewed(scorer, compiled.ruleset, policy)


def _policy(path: Path) -> PolicyInForce:
    with path.open("rb") as file:
        return policies.load(file.read(_POLICY_MOST), str(path))


def _few(problems: Sequence[str]) -> str:
    more = len(problems) - _TOLD_MOST
    return "\n".join([*problems[:_TOLD_MOST], *([f"and {more} more"] if more > 0 else [])])
