"""What programs tell the kernel's audit system of logins: USER_LOGIN, USER_AUTH and USER_CMD records (linux/audit.h).

They are read beside whoever else reads audit records, auditd or nobody (group AUDIT_NLGRP_READLOG, since Linux 3.16).
Each login makes half a dozen records; taken is the one of them that says it best. A program in the kernel leaves out
all other records, so that those of many system calls cost nothing here.
"""

import ctypes
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator

from shield.collector.linux.identity.told_once import Rank
from shield.collector.linux.identity.witness import Testimony
from shield.collector.linux.netlink import HEADER, from_kernel, join, open_socket
from shield.collector.linux.process.audit_control import NETLINK_AUDIT, AuditControl
from shield.collector.replay import audit_text, auditd
from shield.collector.source import SourceUnavailable
from shield.record import LogRecord

TYPES = {1100: "USER_AUTH", 1112: "USER_LOGIN", 1123: "USER_CMD"}

_READLOG = 1
_BUFFER_BYTES = 1 << 20
_RECORD_BYTES = 16_384
_BATCH = 1024
_SO_ATTACH_FILTER = 26
_LOAD_HALF, _JUMP_EQUAL, _RETURN = 0x28, 0x15, 0x06
_INSTRUCTION = struct.Struct("=HBBI")
_TYPE_AT = 4
# sshd and login authenticate with PAM (USER_AUTH) and then say who is in (USER_LOGIN); both tell of one that failed.
_LOGGING_IN = ("sshd", "sshd-session", "sshd-auth", "login")


class AuditUser:
    """The records of programs about logins."""

    name = "audit_user"
    remedies: dict[str, str] = {  # noqa: RUF012
        "not_delivered": "Give the agent more CPU: at least so many times, records came faster than they were read.",
        "unreadable": "Report it: a program wrote an audit record in an unknown form.",
    }

    def __init__(self) -> None:
        self.seen = 0
        self.filtered: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._host = os.uname().nodename
        self._events: socket.socket | None = None

    def open(self) -> None:
        """Join the readers of audit records. Raises SourceUnavailable."""
        try:
            opened = open_socket(NETLINK_AUDIT, buffer_bytes=_BUFFER_BYTES)
        except OSError as error:
            raise SourceUnavailable(self.name, str(error), "boot a kernel with audit") from error
        try:
            _keep_only(opened, tuple(TYPES))
            join(opened, _READLOG)
            if not _enabled():
                raise SourceUnavailable(self.name, "auditing is switched off", "auditctl -e 1")
        except OSError as error:
            opened.close()
            raise SourceUnavailable(self.name, f"{error}", "give Shield CAP_AUDIT_READ, on the host itself") from error
        except SourceUnavailable:
            opened.close()
            raise
        self._events = opened

    def read(self) -> Testimony:
        """Yield what has come since. Raises OSError."""
        for kind, payload in self._datagrams():
            self.seen += 1
            record = interpret(kind, payload, self._host)
            if record is None:
                self.dropped["unreadable"] += 1
            elif _says_it_best(record):
                yield Rank.AUDIT, record
            else:
                self.filtered["told_by_other_record"] += 1

    def state(self) -> bytes:
        """Return nothing: what is not received is gone."""
        return b""

    def restore(self, state: bytes) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Leave the readers."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def _datagrams(self) -> Iterator[tuple[int, bytes]]:
        for raw in from_kernel(self._events, _BATCH, _RECORD_BYTES) if self._events is not None else ():
            if raw is None:
                self.seen += 1
                self.dropped["not_delivered"] += 1
            elif len(raw) >= HEADER.size:
                yield HEADER.unpack_from(raw)[1], raw[HEADER.size :]


def interpret(kind: int, payload: bytes, host: str) -> LogRecord | None:
    """Return the record in a message of the kernel, of a type in TYPES, as an audit log's reader would."""
    line = audit_text.parse(b"type=%s msg=%s" % (TYPES.get(kind, "UNKNOWN").encode(), payload.rstrip(b"\0\n")))
    if line is None:
        return None
    events = auditd.Events()
    return next((record for _, record in events.add(payload, line._replace(node=host))), None)


def _says_it_best(record: LogRecord) -> bool:
    program = str(record.fields.get("exe", "")).rpartition("/")[2]
    succeeded = record.fields.get("res") in ("success", "yes", "1", 1)
    if program in _LOGGING_IN:
        return record.code == ("USER_LOGIN" if succeeded else "USER_AUTH")
    return record.code != "USER_LOGIN"


def _keep_only(opened: socket.socket, kinds: tuple[int, ...]) -> None:
    """Let only messages of these types through: a classic BPF program (linux/filter.h). Raises OSError."""
    program = [(_LOAD_HALF, 0, 0, _TYPE_AT)]
    # BPF loads in network order what netlink writes in the machine's.
    program += [(_JUMP_EQUAL, len(kinds) - at, 0, socket.htons(kind)) for at, kind in enumerate(kinds)]
    program += [(_RETURN, 0, 0, 0), (_RETURN, 0, 0, _RECORD_BYTES)]
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*one) for one in program))
    attached = struct.pack("@HP", len(program), ctypes.addressof(code))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)


def _enabled() -> bool:
    control = AuditControl()
    try:
        return control.status().enabled != 0
    finally:
        control.close()
