"""What a self-test does on the host, in a process of its own: one harmless thing of each kind that Shield watches.

It starts (a process), listens and connects on loopback, asks loopback for a name that can't exist, makes, renames and
removes a file in a folder of Shield's own, and writes one line to the system's log. Nothing else is touched.
"""

import socket
import struct
import sys
import syslog
from contextlib import suppress
from pathlib import Path

_DNS_PORT = 53
_QUESTION = struct.Struct(">HHHHHH")
_A_IN = struct.pack(">HH", 1, 1)


def name_asked_for(token: str) -> str:
    """Return the name that the probe with this token asks for; `.invalid` never exists (RFC 6761)."""
    return f"{token}.invalid"


def main(token: str, folder: str) -> None:
    """Do one of each; what this host doesn't allow is left out, for its absence is what the self-test is to find."""
    for act in (_connect, _ask, _log):
        with suppress(OSError):
            act(token)
    with suppress(OSError):
        _write(Path(folder) / token)


def _connect(token: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(token.encode())
        server.accept()[0].close()


def _ask(token: str) -> None:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name_asked_for(token).split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", _DNS_PORT))
        asking.send(_QUESTION.pack(0x5353, 0x0100, 1, 0, 0, 0) + labels + b"\0" + _A_IN)


def _log(token: str) -> None:
    syslog.openlog("shield", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_INFO, f"self-test {token}")


def _write(path: Path) -> None:
    path.write_text("Shield's self-test\n")
    renamed = path.with_name(f"{path.name}.renamed")
    path.rename(renamed)
    renamed.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
