"""What a self-test does on the host, in a process of its own: one harmless thing of each kind that Shield watches.

It starts (a process), listens and connects on loopback, asks loopback for a name that can't exist, makes, renames and
removes a file in a folder of Shield's own, and writes one line to the system's log. Nothing else is touched. On stdout
it says what this host did not let it do, and why: a kind and a reason a line, then DONE. It keeps its connection until
it is ended: a source that polls has to find both.
"""

import socket
import struct
import sys
import time
from contextlib import ExitStack
from pathlib import Path

DONE = "done"
"""What it says when there is nothing more to come."""

_LOG = Path("/dev/log")
_DNS_PORT = 53
_QUESTION = struct.Struct(">HHHHHH")
_A_IN = struct.pack(">HH", 1, 1)
_STAYS_S = 60.0


def name_asked_for(token: str) -> str:
    """Return the name that the probe with this token asks for; `.invalid` never exists (RFC 6761)."""
    return f"{token}.invalid"


def main(token: str, folder: str) -> None:
    """Do one of each."""
    place = Path(folder) / token
    with ExitStack() as kept:
        for kind, act in (
            ("network", lambda: _connect(token, kept)),
            ("dns", lambda: _ask(token)),
            ("identity", lambda: _log(token)),
            ("file", lambda: _write(place)),
        ):
            try:
                act()
            except OSError as error:
                print(kind, error, flush=True)
        print(DONE, flush=True)
        time.sleep(_STAYS_S)  # not for ever: whoever began this may have been killed


def _connect(token: str, kept: ExitStack) -> None:
    server = kept.enter_context(socket.create_server(("127.0.0.1", 0)))
    client = kept.enter_context(socket.create_connection(server.getsockname()))
    kept.enter_context(server.accept()[0])
    client.sendall(token.encode())


def _ask(token: str) -> None:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name_asked_for(token).split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", _DNS_PORT))
        asking.send(_QUESTION.pack(0x5353, 0x0100, 1, 0, 0, 0) + labels + b"\0" + _A_IN)


def _log(token: str) -> None:
    if not _LOG.exists():
        raise FileNotFoundError(f"no program here takes the system's log ({_LOG} lacks)")
    import syslog  # noqa: PLC0415  Windows has none

    syslog.openlog("shield", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_INFO, f"self-test {token}")


def _write(path: Path) -> None:
    renamed = path.with_name(f"{path.name}.renamed")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        path.write_text("Shield's self-test\n")
        path.rename(renamed)
    finally:
        for one in (path, renamed):
            one.unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
