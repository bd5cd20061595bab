"""Commands to the kernel's audit system over netlink: its status, its settings and its rules (linux/audit.h)."""

import errno
import os
import select
import socket
import struct
from typing import NamedTuple

from shield.collector.linux.netlink import (
    HEADER,
    NLM_F_ACK,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    acknowledged,
    message,
    open_socket,
)
from shield.collector.linux.process import audit_rule
from shield.collector.linux.process.audit_rule import Rule

NETLINK_AUDIT = 9

_GET, _SET = 1000, 1001
_ADD_RULE, _DELETE_RULE, _LIST_RULES = 1011, 1012, 1013
_STATUS = struct.Struct("=11I")
_TIMEOUT_MS = 2000
_MESSAGE_BYTES = 65_536


class Status(NamedTuple):
    """struct audit_status. `pid` is the audit daemon's, 0 for none; `backlog_wait_time` is in kernel ticks."""

    mask: int
    enabled: int
    failure: int
    pid: int
    rate_limit: int
    backlog_limit: int
    lost: int
    backlog: int
    features: int
    backlog_wait_time: int
    waited: int


SETTINGS = {"enabled": 1, "pid": 4, "backlog_limit": 16, "backlog_wait_time": 32}
"""The settings that can be changed, with the bit that says so in the mask."""


class AuditControl:
    """A socket for commands, apart from the one records arrive on."""

    def __init__(self) -> None:
        """Open the socket. Raises OSError."""
        self._socket = open_socket(NETLINK_AUDIT)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._sequence = 0
        self._asked = 0

    def status(self) -> Status:
        """Ask for the status and wait for it. Raises OSError."""
        (reply,) = self._replies(_GET, _GET)
        return _status(reply)

    def rules(self) -> list[Rule]:
        """Return every rule that is loaded. Raises OSError."""
        return [audit_rule.parse(raw) for raw in self._replies(_LIST_RULES, _LIST_RULES)]

    def change(self, **settings: int) -> None:
        """Change some of SETTINGS. Raises OSError."""
        self._command(_SET, _settings(settings))

    def add(self, rule: bytes) -> None:
        """Load a rule. Raises OSError, with EEXIST where it is there."""
        self._command(_ADD_RULE, rule)

    def delete(self, rule: bytes) -> None:
        """Unload a rule. Raises OSError, with ENOENT where it is not there."""
        self._command(_DELETE_RULE, rule)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def ask_status(self) -> None:
        """Ask for the status without waiting; `told_status` has the answer later. Raises OSError."""
        self._asked = self._next()
        self._socket.send(message(_GET, sequence=self._asked))

    def told_status(self) -> Status | None:
        """Return the status `ask_status` asked for, None while it is not there. Raises OSError."""
        try:
            while True:
                kind, answered, payload = self._message()
                if (kind, answered) == (_GET, self._asked):
                    return _status(payload)
        except BlockingIOError:
            return None

    def _command(self, kind: int, payload: bytes) -> None:
        sequence = self._next()
        self._socket.send(message(kind, payload, NLM_F_REQUEST | NLM_F_ACK, sequence))
        while True:
            got, reply = self._answer(sequence)
            if got == NLMSG_ERROR:
                return _raise_refusal(reply)

    def _replies(self, kind: int, expected: int) -> list[bytes]:
        """Return the payloads of the replies to a request; one for a status, a list with an end for the rules."""
        sequence = self._next()
        self._socket.send(message(kind, sequence=sequence))
        replies: list[bytes] = []
        while True:
            got, payload = self._answer(sequence)
            if got == NLMSG_DONE:
                return replies
            if got == NLMSG_ERROR:
                _raise_refusal(payload)
            elif got == expected:
                replies.append(payload)
                if expected == _GET:
                    return replies

    def _answer(self, sequence: int) -> tuple[int, bytes]:
        """Wait for the next message that answers `sequence`; return its type and payload. Raises TimeoutError."""
        while True:
            if not self._readable.poll(_TIMEOUT_MS):
                raise TimeoutError(errno.ETIMEDOUT, "the kernel's audit system did not answer")
            kind, answered, payload = self._message()
            if answered == sequence:
                return kind, payload

    def _message(self) -> tuple[int, int, bytes]:
        raw = self._socket.recv(_MESSAGE_BYTES)
        _, kind, _, answered, _ = HEADER.unpack_from(raw)
        return kind, answered, raw[HEADER.size :]

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


def take_role(opened: socket.socket) -> None:
    """Ask for `opened` to be the socket the kernel sends audit records to; `AuditControl.status` shows who got it.

    The kernel decides before this returns, and never in favour of a second daemon (kernel/audit.c, audit_receive_msg).
    """
    opened.send(message(_SET, _settings({"pid": os.getpid()})))


def _settings(settings: dict[str, int]) -> bytes:
    mask = sum(SETTINGS[name] for name in settings)
    return _STATUS.pack(*Status(*[0] * 11)._replace(mask=mask, **settings))


def _status(raw: bytes) -> Status:
    # Older kernels send a shorter structure: what they don't know is 0.
    return Status._make(_STATUS.unpack(raw[: _STATUS.size].ljust(_STATUS.size, b"\0")))


def _raise_refusal(payload: bytes) -> None:
    code = acknowledged(payload)
    if code:
        raise OSError(code, os.strerror(code))
