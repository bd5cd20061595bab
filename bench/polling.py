"""The plainest of the peers: list all processes with psutil every five seconds, print the new ones' argv as JSON."""

import json
import sys
import time

import psutil

INTERVAL_S = 5.0


def main() -> None:
    """Poll until ended; what runs already is not printed. `ready` on stderr says that the first list is taken."""
    known = {(each.pid, each.info["create_time"]) for each in psutil.process_iter(["create_time"])}
    print("ready", file=sys.stderr, flush=True)
    while True:
        time.sleep(INTERVAL_S)
        now: set[tuple[int, float]] = set()
        for each in psutil.process_iter(["create_time", "cmdline"]):
            identity = (each.pid, each.info["create_time"])
            now.add(identity)
            if identity not in known:
                print(json.dumps(each.info["cmdline"] or []), flush=True)
        known = now


if __name__ == "__main__":
    main()
