"""What a self-test does on the host, in a process of its own: one harmless thing of each kind that Shield watches.

It starts (a process), listens and connects on loopback, asks loopback for a name that can't exist, makes, renames and
removes a file in a folder of Shield's own, and writes one line to the system's log. Nothing else is touched. On stdout
it says what this host did not let it do, and why: a kind and a reason a line.
"""

import socket
import struct
import sys
import syslog
from pathlib import Path

_LOG = Path("/dev/log")
_DNS_PORT = 53
_QUESTION = struct.Struct(">HHHHHH")
_A_IN = struct.pack(">HH", 1, 1)


def name_asked_for(token: str) -> str:
    """Return the name that the probe with this token asks for; `.invalid` never exists (RFC 6761)."""
    return f"{token}.invalid"


def main(token: str, folder: str) -> None:
    """Do one of each."""
    place = Path(folder) / token
    for kind, act in (
        ("network", lambda: _connect(token)),
        ("dns", lambda: _ask(token)),
        ("identity", lambda: _log(token)),
        ("file", lambda: _write(place)),
    ):
        try:
            act()
        except OSError as error:
            print(kind, error)


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
    if not _LOG.exists():
        raise FileNotFoundError(f"no program here takes the system's log ({_LOG} lacks)")
    syslog.openlog("shield", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_INFO, f"self-test {token}")


def _write(path: Path) -> None:
    path.write_text("Shield's self-test\n")
    renamed = path.with_name(f"{path.name}.renamed")
    path.rename(renamed)
    renamed.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
