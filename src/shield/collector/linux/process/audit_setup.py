"""What Shield changes in the kernel's audit system, and how it is put back: the daemon's role, settings, rules.

The kernel sends its records to one daemon. Where there is one it is left alone, and Shield reads copies from a
multicast group; where there is none Shield takes the role, for without a daemon the kernel prints every record to its
log. While Shield holds the role no process ever waits for it (`backlog_wait_time` 0): records are lost and counted.

The role and the sockets end with the process. Rules and settings do not, so each rule's key says whose it is and how
the settings were: `shield`, then (as a second key) the owner's pid and start time and the settings' former values.
A later run reads them there, puts right what a killed one left, and never touches those of one that is alive.
"""

import os
import re
import socket
from collections.abc import Callable, Iterable

from shield.collector.linux.netlink import join, leave
from shield.collector.linux.process.audit_control import AuditControl, Status, take_role
from shield.collector.linux.process.audit_rule import Abi, Rule, exec_rule
from shield.collector.source import SourceUnavailable

KEY = b"shield"
"""What `ausearch -k` finds the records of Shield's rules by."""

_KEY_SEPARATOR = b"\x01"
_NOTE = re.compile(rb"(\w+)=(\d+)")
_READLOG = 1
_OFF, _ON, _LOCKED = 0, 1, 2
_TUNED = ("enabled", "backlog_limit", "backlog_wait_time")

StartTicks = Callable[[int], int | None]
"""Gives the start of a process that is alive, in clock ticks since boot, None for one that is not."""


class AuditSetup:
    """Everything set up for one events socket. Every method raises OSError where the kernel refuses.

    `backlog` is the number of records the kernel's queue is raised to while Shield holds the role.
    """

    def __init__(self, control: AuditControl, events: socket.socket, start_ticks: StartTicks, backlog: int) -> None:
        self._control = control
        self._events = events
        self._start_ticks = start_ticks
        self._backlog = backlog
        self._former: dict[str, int] = {}
        self._added: list[bytes] = []
        self.holds_role = False

    def begin(self, abis: tuple[Abi, ...]) -> None:
        """Start the flow of records about every exec. Raises SourceUnavailable where a rule or a setting forbids it."""
        rules = self._control.rules()
        if any(rule.silences_all_tasks() for rule in rules):
            raise SourceUnavailable(
                "audit",
                "the rule `-a never,task` switches system call auditing off",
                "delete it from /etc/audit/rules.d and load the rules again",
            )
        left_behind = [rule for rule in rules if self._is_left_behind(rule)]
        for rule in left_behind:
            self._former.update(_noted_settings(rule.key))
            self._control.delete(rule.raw)
        self.attach()
        present = [rule for rule in rules if rule not in left_behind]
        self._add(abi for abi in abis if not any(rule.covers(abi) for rule in present))

    def attach(self) -> None:
        """Receive records: as the daemon where there is none, otherwise copies of them. Raises SourceUnavailable."""
        status = self._control.status()
        if not self.is_vacant(status) or not self._take_role():
            self._listen(self._control.status())

    def is_vacant(self, status: Status) -> bool:
        """Whether no live process holds the daemon's role."""
        return status.pid == 0 or self._start_ticks(status.pid) is None

    def step_aside(self) -> None:
        """Give the role up to a daemon that is starting, and read copies from now on."""
        self._restore(("backlog_limit", "backlog_wait_time"))
        self._release_role()
        join(self._events, _READLOG)

    def take_over(self) -> None:
        """Take the role that its daemon left, so that the kernel does not print what only listeners receive."""
        leave(self._events, _READLOG)
        if not self._take_role():
            join(self._events, _READLOG)

    def remove_rules(self) -> None:
        """Unload the rules that were added; one that somebody else has unloaded meanwhile is no error."""
        while self._added:
            try:
                self._control.delete(self._added.pop())
            except FileNotFoundError:
                continue

    def end(self) -> None:
        """Put everything back."""
        self.remove_rules()
        self._restore(_TUNED)
        self._release_role()

    def _take_role(self) -> bool:
        take_role(self._events)
        status = self._control.status()
        if status.pid != os.getpid():
            return False
        self.holds_role = True
        self._tune(status)
        return True

    def _tune(self, status: Status) -> None:
        for name in _TUNED:
            self._former.setdefault(name, getattr(status, name))
        if status.enabled == _OFF:
            self._control.change(enabled=_ON)
        if 0 < status.backlog_limit < self._backlog:  # 0 is no limit
            self._control.change(backlog_limit=self._backlog)
        self._control.change(backlog_wait_time=0)

    def _listen(self, status: Status) -> None:
        if status.enabled == _OFF:
            raise SourceUnavailable(
                "audit", f"the audit daemon (pid {status.pid}) has auditing switched off", "run `auditctl -e 1`"
            )
        join(self._events, _READLOG)

    def _add(self, abis: Iterable[Abi]) -> None:
        for abi in abis:
            rule = exec_rule(abi, self._key())
            try:
                self._control.add(rule)
            except PermissionError:
                raise SourceUnavailable(
                    "audit",
                    "the audit rules are locked until the next boot (`auditctl -e 2`)",
                    "add `-a always,exit -S execve,execveat` for each arch to /etc/audit/rules.d and boot",
                ) from None
            self._added.append(rule)

    def _key(self) -> bytes:
        pid = os.getpid()
        note = {"pid": pid, "start": self._start_ticks(pid) or 0, **(self._former if self.holds_role else {})}
        return KEY + _KEY_SEPARATOR + ",".join(f"{name}={number}" for name, number in note.items()).encode()

    def _is_left_behind(self, rule: Rule) -> bool:
        key, _, note = rule.key.partition(_KEY_SEPARATOR)
        if key != KEY:
            return False
        noted = _noted(note)
        return self._start_ticks(noted.get("pid", 0)) != noted.get("start")

    def _restore(self, names: tuple[str, ...]) -> None:
        """Put settings back, except where a daemon has come that they are the business of, or somebody changed them."""
        status = self._control.status()
        if status.pid not in (0, os.getpid()):
            return
        ours = {"enabled": _ON, "backlog_limit": self._backlog, "backlog_wait_time": 0}
        for name in names:
            former = self._former.pop(name, None)
            if former is not None and former != ours[name] == getattr(status, name):
                self._control.change(**{name: former})

    def _release_role(self) -> None:
        if self.holds_role:
            self.holds_role = False
            self._control.change(pid=0)


def _noted(note: bytes) -> dict[str, int]:
    return {name.decode(): int(number[:10]) for name, number in _NOTE.findall(note)}


def _noted_settings(key: bytes) -> dict[str, int]:
    return {name: number for name, number in _noted(key).items() if name in _TUNED}
