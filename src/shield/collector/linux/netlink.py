"""Netlink datagrams (netlink(7)): the header every message carries, and a socket that can hold a burst of them."""

import errno
import socket
import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence number and port of a message: struct nlmsghdr."""

NLM_F_REQUEST, NLM_F_ACK = 1, 4
NLMSG_ERROR, NLMSG_DONE = 2, 3

_SOL_NETLINK = 270
_ADD_MEMBERSHIP, _DROP_MEMBERSHIP = 1, 2
_SO_RCVBUFFORCE = 33


def message(kind: int, payload: bytes = b"", flags: int = NLM_F_REQUEST, sequence: int = 0) -> bytes:
    """Return one message with its header."""
    return HEADER.pack(HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def acknowledged(payload: bytes) -> int:
    """Return the errno in the payload of an NLMSG_ERROR message, 0 for an acknowledgement."""
    return -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0


def open_socket(protocol: int, groups: int = 0, buffer_bytes: int | None = None) -> socket.socket:
    """Return a socket that never blocks, bound to a bit mask of multicast `groups`. Raises OSError.

    `buffer_bytes` sizes the receive buffer beyond the limit for ordinary users (socket(7), SO_RCVBUFFORCE).
    """
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        opened.setblocking(False)
        if buffer_bytes is not None:
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        opened.bind((0, groups))
    except OSError:
        opened.close()
        raise
    return opened


def from_kernel(opened: socket.socket, most: int, size: int) -> Iterator[bytes | None]:
    """Yield at most `most` of the kernel's datagrams that are there, `size` bytes of each; None where some did not fit.

    What other senders say is left out. Raises OSError.
    """
    for _ in range(most):
        try:
            raw, (sender, _) = opened.recvfrom(size)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield None
            continue
        if sender == 0:
            yield raw


def join(opened: socket.socket, group: int) -> None:
    """Receive what is sent to a multicast group, by its number. Raises OSError."""
    opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)


def leave(opened: socket.socket, group: int) -> None:
    """Stop receiving a multicast group. Raises OSError."""
    opened.setsockopt(_SOL_NETLINK, _DROP_MEMBERSHIP, group)
