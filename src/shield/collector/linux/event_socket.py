"""A subscription to the kernel's process events connector (Documentation/driver-api/connector.rst)."""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

from shield.collector.linux.netlink import HEADER, NLMSG_DONE, from_kernel, message, open_socket
from shield.collector.linux.process_event import IGNORE, LISTEN, NONE, ProcessEvent, choice, parse, subscription

_NETLINK_CONNECTOR = 11
_GROUP = 1
_MESSAGE_BYTES = 4096
_ACKNOWLEDGEMENT_MS = 1000
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")


class EventSocket:
    """Process events of the whole host; `buffer_bytes` are kept for a reader that falls behind."""

    def __init__(self, buffer_bytes: int) -> None:
        self._buffer_bytes = buffer_bytes
        self._early: list[ProcessEvent | None] = []
        self._socket: socket.socket | None = None
        self._listening = False

    @property
    def pending(self) -> int:
        """The number of events that arrived before the subscription was confirmed, and are not received yet."""
        return len(self._early)

    def open(self, events: int = 0) -> None:
        """Subscribe to all events, or to a bit mask of `events` where the kernel lets one choose (6.6 and newer).

        An older kernel sends all events in either case. Raises OSError with the kernel's reason.
        """
        try:
            self._socket = open_socket(_NETLINK_CONNECTOR, _GROUP, self._buffer_bytes)
            error = self._subscribe(self._socket, events)
        except OSError:
            self.close()
            raise
        if error:
            self.close()
            raise OSError(error, os.strerror(error))

    def fileno(self) -> int | None:
        """Return the socket's descriptor; it becomes readable with every event."""
        return self._socket.fileno() if self._socket else None

    def receive(self, most: int) -> Iterator[ProcessEvent | None]:
        """Yield at most `most` events that are there, oldest first; None stands for one in an unknown form."""
        early = self._early[:most]
        del self._early[:most]
        yield from early
        if self._socket is not None:
            yield from self._arrived(self._socket, most - len(early))

    def lost(self) -> int:
        """Return how many events did not fit into the buffer since `open` (socket(7), SO_MEMINFO)."""
        if self._socket is None:
            return 0
        return _MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[-1]

    def stop(self) -> None:
        """Unsubscribe; what arrived before can still be received. May be called twice."""
        if self._socket is not None and self._listening:
            self._listening = False
            with suppress(OSError):  # closing the socket ends the flow as well
                self._socket.send(message(NLMSG_DONE, subscription(IGNORE, 0), flags=0))

    def close(self) -> None:
        """Unsubscribe and close the socket. May be called twice."""
        self.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _subscribe(self, opened: socket.socket, events: int) -> int:
        """Start the flow; return the kernel's error, 0 for none. What arrives before its answer is kept."""
        nonce = int.from_bytes(os.urandom(3))
        self._listening = True
        opened.send(message(NLMSG_DONE, subscription(LISTEN, nonce), flags=0))
        error = self._answer(opened, nonce + 1)
        if events and not error:
            # The answer to a choice is itself not among what was chosen, so it is made after the flow was confirmed.
            opened.send(message(NLMSG_DONE, choice(events), flags=0))
            self._early = [event for event in self._early if event is None or event.what & events]
        return error

    def _answer(self, opened: socket.socket, acknowledges: int) -> int:
        readable = select.poll()
        readable.register(opened, select.POLLIN)
        deadline = time.monotonic() + _ACKNOWLEDGEMENT_MS / 1000
        while time.monotonic() < deadline and readable.poll(_ACKNOWLEDGEMENT_MS):
            for event in self._arrived(opened, 1):
                if event is not None and event.what == NONE and event.acknowledges == acknowledges:
                    return event.status
                self._early.append(event)
        return errno.ENOMSG

    def _arrived(self, opened: socket.socket, most: int) -> Iterator[ProcessEvent | None]:
        for raw in from_kernel(opened, most, _MESSAGE_BYTES):
            if raw is not None:  # how many were lost is counted elsewhere: `lost`, or the numbers of those that follow
                yield parse(raw[HEADER.size :])


def refusal(code: int | None) -> tuple[str, str]:
    """Return reason and remedy for an error of `EventSocket.open`."""
    if code in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ECONNREFUSED, errno.ENOMSG):
        return (
            "no process events connector answers here",
            "run Shield in the host's own pid, user and network namespaces, on a kernel with CONFIG_PROC_EVENTS",
        )
    if code in (errno.EPERM, errno.EACCES):
        return (
            "the process events connector is not permitted",
            "run Shield as the host's root, outside of containers, or give it CAP_NET_ADMIN",
        )
    return os.strerror(code or errno.EIO), "use another source"
