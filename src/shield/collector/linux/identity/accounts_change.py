"""Changes to accounts, seen in the account files: users, groups, memberships, passwords and the rules of sudo.

The tools put a new file in the place of the old one, an editor may write into it: the kernel tells when either is
finished (inotify(7)), and the files are read anew and compared with what they were. So every change is seen, whoever
made it and however. Who that was, only the writing of the file tells: it is named with each change.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from shield.collector.linux.identity import account_files
from shield.collector.linux.identity.account_comparison import GROUP, GSHADOW, PASSWD, SHADOW, Accounts, compare
from shield.collector.linux.identity.account_files import Digests
from shield.collector.linux.identity.written import WrittenFiles, below
from shield.collector.source import Count, Kind, SourceUnavailable
from shield.event import File
from shield.record import Observation, Record
from shield.text import decode

_ETC, _SUDOERS, _SUDOERS_D = "etc", "etc/sudoers", "etc/sudoers.d"
_FILE_MOST = 8 << 20
_SUDOERS_MOST = 1024
_PENDING_MOST = 65_536
_AWAY = "it happened while Shield did not run"

_FILES: dict[str, tuple[str, Callable[[bytes, Digests], Mapping[str, object]]]] = {
    PASSWD: ("users", account_files.users),
    SHADOW: ("shadows", account_files.shadows),
    GROUP: ("groups", account_files.groups),
    GSHADOW: ("group_shadows", account_files.group_shadows),
}
"""Which part of the accounts each file holds, and what reads it."""

_BLIND_SPOTS = (
    "Accounts of a directory service (LDAP, Active Directory, systemd-homed) are not in the account files.",
    "An account that is added and removed again within milliseconds may not be seen.",
    "Files that sudoers includes from elsewhere than sudoers.d are not read.",
)


class _State(Struct, frozen=True):
    key: bytes
    accounts: Accounts


class AccountSource:
    """The accounts of the host whose files are below `root`.

    The kernel tells when one was written. Where it can't, and besides, they are looked at every `interval` seconds: a
    file may be written by another name it has.
    """

    name = "accounts"
    provides: frozenset[Kind] = frozenset(("account",))
    remedies: dict[str, str] = {  # noqa: RUF012
        "unreadable": "Look at the account file: it is gone, empty, longer than 8 MiB, or may not be read.",
        "too_many": "Give the agent more CPU: more accounts changed at once than it can hold.",
    }

    def __init__(self, root: Path = Path("/"), interval: float = 5.0) -> None:
        self.interval: float | None = None
        self.blind_spots: tuple[str, ...] = ()
        self._root = root
        self._interval = interval
        self._key = os.urandom(32)
        self._accounts: Accounts | None = None
        self._changed_ns: dict[str, int] = {}
        self._stamps: dict[str, tuple[int, ...]] = {}
        self._unsettled: dict[str, tuple[int, ...]] = {}
        self._written: WrittenFiles | None = None
        self._looked = 0.0
        self._pending: deque[Observation] = deque()
        self._seen = 0
        self._dropped: Counter[str] = Counter()

    def open(self) -> None:
        """Watch the files from now on; after a `restore`, tell what changed since. Raises SourceUnavailable."""
        self._seen = len(self._pending)
        self._dropped.clear()
        if not (self._root / PASSWD).is_file():
            raise SourceUnavailable(self.name, f"there is no {self._root / PASSWD}", "run Shield on the host itself")
        self._watch()
        before = self._accounts
        self._accounts = self._reread(before or Accounts(), self._paths())
        if before is not None:
            self._tell(before, (_AWAY,))
        self.blind_spots = (*_BLIND_SPOTS, *self._unreadable())

    def fileno(self) -> int | None:
        """Return what becomes readable when an account file was written; None where they are polled."""
        return self._written.fileno() if self._written is not None else None

    def read(self) -> list[Record]:
        """Return the changes since the last call, of each moment those first that give root's power."""
        before = self._accounts
        if before is not None and (paths := self._noticed() | self._settled()):
            self._accounts = self._reread(before, paths)
            self._tell(before, ())
        batch: list[Record] = list(self._pending)
        self._pending.clear()
        return batch

    def count(self) -> Count:
        """Return the totals, in changes; a file that could not be read counts as one."""
        return Count(self._seen, {}, dict(self._dropped), pending=len(self._pending))

    def state(self) -> bytes:
        """Return what the accounts are now, for an agent that goes on from here. There is no password in it."""
        return msgspec.msgpack.encode(_State(self._key, self._accounts or Accounts()))

    def restore(self, state: bytes) -> None:
        """Go on from an earlier `state`, before `open`. Raises ValueError for what is none."""
        try:
            kept = msgspec.msgpack.decode(state, type=_State)
        except msgspec.MsgspecError as error:
            raise ValueError(f"this is no state of {self.name}: {error}") from None
        self._key, self._accounts = kept.key, kept.accounts

    def stop(self) -> None:
        """Look a last time, and watch no more."""
        if self._written is not None:
            with suppress(OSError):  # it may be closed because it can't be read any more
                self._pending.extend(record for record in self.read() if isinstance(record, Observation))
            self._written.close()
            self._written = None

    def close(self) -> None:
        """Stop."""
        self.stop()

    def _watch(self) -> None:
        try:
            self._written, self.interval = WrittenFiles(self._root, (_ETC, _SUDOERS_D)), None
        except OSError:
            self.interval = self._interval

    def _noticed(self) -> set[str]:
        """Return the account files that the kernel says were written, or taken away."""
        if self._written is None:
            return set()
        paths = self._written.read()
        return self._paths() if paths is None or _SUDOERS_D in paths else paths & self._paths()

    def _settled(self) -> set[str]:
        """Return the files that have changed unnoticed, and no more since the look before this one."""
        now = time.monotonic()
        if now - self._looked < self._interval:
            return set()
        self._looked = now
        settled: set[str] = set()
        for path in self._paths():
            stamp = self._stamp(path)
            if stamp != self._stamps.get(path, ()) and stamp == self._unsettled.get(path):
                settled.add(path)
            self._unsettled[path] = stamp
        return settled

    def _stamp(self, path: str) -> tuple[int, ...]:
        try:
            status = os.stat(below(self._root, path))
        except OSError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _paths(self) -> set[str]:
        return {*_FILES, _SUDOERS, *self._rules()}

    def _rules(self) -> set[str]:
        """Return the files of sudoers.d that sudo reads, and those it read before."""
        known = self._accounts.sudoers if self._accounts is not None else {}
        try:
            names = os.listdir(self._root / _SUDOERS_D)[:_SUDOERS_MOST]
        except OSError:
            names = []
        used = (f"{_SUDOERS_D}/{decode(os.fsencode(name))}" for name in names if "." not in name and name[-1] != "~")
        return {*used, *known} - {_SUDOERS}

    def _reread(self, accounts: Accounts, paths: Iterable[str]) -> Accounts:
        """Return the accounts with what the files at `paths` say now."""
        digests = Digests(self._key)
        for path in sorted(paths):
            self._stamps[path] = self._stamp(path)
            text = self._text(path)
            if path in _FILES:
                part, parse = _FILES[path]
                read = parse(text or b"", digests)
                if read:
                    accounts = replace(accounts, **{part: read})
                elif getattr(accounts, part):
                    self._lose("unreadable")  # nobody takes all accounts away: this is no state to compare with
            elif text is None:
                accounts = replace(
                    accounts, sudoers={key: value for key, value in accounts.sudoers.items() if key != path}
                )
            else:
                accounts = replace(accounts, sudoers={**accounts.sudoers, path: account_files.sudo_rules(text)})
        return accounts

    def _text(self, path: str) -> bytes | None:
        """Return a file's content, None where there is none."""
        try:
            with open(below(self._root, path), "rb") as file:
                self._changed_ns[path] = os.fstat(file.fileno()).st_ctime_ns
                text = file.read(_FILE_MOST + 1)
        except OSError:
            self._changed_ns[path] = time.time_ns()
            return None
        return text if len(text) <= _FILE_MOST else None

    def _tell(self, before: Accounts, gaps: tuple[str, ...]) -> None:
        if self._accounts is None:
            return
        for change in compare(before, self._accounts):
            if len(self._pending) >= _PENDING_MOST:
                self._lose("too_many")
                continue
            self._seen += 1
            self._pending.append(
                Observation(
                    ts_ns=self._changed_ns.get(change.file) or time.time_ns(),
                    category="account_change",
                    file=File(str(self._root / change.file)),
                    account=change.account,
                    gaps=gaps,
                )
            )

    def _lose(self, reason: str) -> None:
        self._seen += 1
        self._dropped[reason] += 1

    def _unreadable(self) -> list[str]:
        paths = [path for path in (*_FILES, _SUDOERS) if (self._root / path).exists()]
        refused = [path for path in paths if not os.access(self._root / path, os.R_OK)]
        return [f"/{path} may not be read: its changes are not seen." for path in refused]
