"""The process tree: who started whom, and to which story each process belongs.

A process is known by its pid and its start time together, so a reused pid is a new process. What stood above a process
is fixed when it is forked: a parent that ends, or replaces its image, or hands its children to init (a double fork)
changes nothing for those it has started. Of ended processes the latest are remembered, for what other sources tell of
them comes a little later; the rest are forgotten. Their children keep what they need.

A story is everything that comes from one start by a dispatcher, a program that starts unrelated work for others (init,
sshd, cron, a container's shim): one login, one job, one service. Its id is the correlation id of all its events.
"""

import hashlib
from typing import NamedTuple

import msgspec

from shield.event import Ancestor, Container, Process, User

ANCESTORS_MOST = 32
PARENT_CMDLINE_MOST = 4096
ANCESTOR_CMDLINE_MOST = 256

# fmt: off
_DISPATCHERS = frozenset(
    {
        "agetty", "anacron", "atd", "conmon", "containerd", "containerd-shim", "containerd-shim-runc-v2",
        "cron", "crond", "dockerd", "explorer.exe", "gdm", "getty", "inetd", "init", "launchd", "lightdm",
        "login", "lxc-start", "runsvdir", "s6-supervise", "sddm", "services.exe", "sshd", "sshd-session",
        "supervisord", "svchost.exe", "systemd", "systemd-executor", "tini", "tmux", "wininit.exe",
        "winlogon.exe", "xinetd",
    }
)
# fmt: on
_SYSTEM_FOLDERS = ("/bin/", "/sbin/", "/usr/", "/lib/", "/opt/", "C:\\Windows\\")
_KTHREADD = 2


class Image(NamedTuple):
    """What a process runs, as its descendants remember it."""

    name: str
    exe: str
    cmdline: str
    user: str


_UNKNOWN = Image("", "", "", "")


class Node:
    """A process. `parent` started it; `above` are all its ancestors, the parent first.

    `process`, `user` and `container` are what its last exec showed, or that of the process that forked it.
    """

    __slots__ = (
        *("_doing", "_line", "above", "container", "entity_id", "image", "parent", "pid", "process", "start_ns"),
        *("story", "ticks", "user"),
    )

    def __init__(self, pid: int, ticks: int, start_ns: int, parent: Ancestor, above: tuple[Ancestor, ...]) -> None:
        self.pid = pid
        self.ticks = ticks
        self.start_ns = start_ns
        self.parent = parent
        self.above = above
        self.entity_id = f"{pid}-{ticks}"
        self.image = _UNKNOWN
        self.process: Process | None = None
        self.user: User | None = None
        self.container: Container | None = None
        self.story = ""
        self._line: tuple[Ancestor, tuple[Ancestor, ...]] | None = None
        self._doing: Process | None = None

    def run(self, image: Image) -> None:
        """Replace what this process runs."""
        self.image = image
        self._line = self._doing = None

    def doing(self) -> Process | None:
        """Return this process as the doer of something: what it runs, without its arguments and environment."""
        if self._doing is None and self.process is not None:
            self._doing = msgspec.structs.replace(
                self.process,
                pid=self.pid,
                ppid=self.parent.pid,
                entity_id=self.entity_id,
                start_ns=self.start_ns,
                cmdline=_cut(self.process.cmdline, PARENT_CMDLINE_MOST),
                args=(),
                args_length=0,
                truncated=False,
                env={},
            )
        return self._doing

    def line(self) -> tuple[Ancestor, tuple[Ancestor, ...]]:
        """Return this process as a parent, and as the first of the ancestors, for those it starts."""
        if self._line is None:
            parent = self._ancestor(PARENT_CMDLINE_MOST)
            first = parent if len(parent.cmdline) <= ANCESTOR_CMDLINE_MOST else self._ancestor(ANCESTOR_CMDLINE_MOST)
            self._line = parent, (first, *self.above[: ANCESTORS_MOST - 1])
        return self._line

    def _ancestor(self, cmdline_most: int) -> Ancestor:
        name, exe, cmdline, user = self.image
        return Ancestor(
            pid=self.pid,
            entity_id=self.entity_id,
            name=name,
            exe=exe,
            cmdline=_cut(cmdline, cmdline_most),
            user=user,
            start_ns=self.start_ns,
            known=self.image is not _UNKNOWN,
        )


class Lineage:
    """The tree of at most `capacity` processes; where there are more, the longest untouched are forgotten (counted).

    `scope` names the host and its boot: it makes story ids differ between hosts and boots. The last `ended_most`
    processes that have ended are remembered for `doer`; where that is 0, nobody asks, and nodes keep only their image.
    """

    def __init__(self, scope: str, capacity: int = 131_072, ended_most: int = 0) -> None:
        self.forgotten = 0
        self._scope = scope
        self._capacity = capacity
        self._ended_most = ended_most
        self._nodes: dict[int, Node] = {}
        self._ended: dict[int, Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def find(self, pid: int, ticks: int) -> Node | None:
        """Return the process of that pid and start; 0 ticks stand for an unknown start, on either side."""
        node = self._nodes.get(pid)
        if node is None or (node.ticks != ticks and node.ticks and ticks):
            return None
        return node

    def doer(self, pid: int, ticks: int, *, ended: bool = False) -> Node | None:
        """Return the process of that pid and start, as `find` does, or one that ended a little while ago.

        `ended` says that it had ended when it was looked for: a living one with its pid is then another.
        """
        living = self.find(pid, ticks)
        past = self._ended.get(pid)
        if past is not None and past.ticks != ticks and past.ticks and ticks:
            past = None
        return past or living if ended else living or past

    def fork(self, pid: int, ticks: int, start_ns: int, ppid: int, parent_ticks: int) -> Node:
        """Add the process that `ppid` created; one that is known already is left as it is."""
        known = self.find(pid, ticks)
        if known is not None and ticks:
            return known
        return self._add(pid, ticks, start_ns, ppid, parent_ticks)

    def exec(
        self, process: Process, user: User, ticks: int, parent_ticks: int, container: Container | None = None
    ) -> Node:
        """Record what `process` runs now; a process that is not known yet is added below its `ppid`."""
        node = self.find(process.pid, ticks)
        if node is None or (not ticks and node.parent.pid != process.ppid):
            node = self._add(process.pid, ticks, process.start_ns, process.ppid, parent_ticks)
        node.start_ns = process.start_ns
        node.run(Image(process.name, process.exe, process.cmdline, user.effective_name or user.name))
        if self._ended_most:
            node.process, node.user, node.container = process, user, container
        return node

    def exit(self, pid: int, ticks: int) -> Node | None:
        """Forget a process; return what was known of it."""
        node = self.find(pid, ticks)
        if node is not None:
            del self._nodes[pid]
            if self._ended_most:
                self._remember(node)
        return node

    def _remember(self, node: Node) -> None:
        self._ended.pop(node.pid, None)
        self._ended[node.pid] = node
        if len(self._ended) > self._ended_most:
            del self._ended[next(iter(self._ended))]

    def _add(self, pid: int, ticks: int, start_ns: int, ppid: int, parent_ticks: int) -> Node:
        maker = self.find(ppid, parent_ticks) if ppid else None
        if maker is not None:
            parent, above = maker.line()
            node = Node(pid, ticks, start_ns, parent, above)
            node.image = maker.image
            node.process, node.user, node.container = maker.process, maker.user, maker.container
            self._touch(maker)
        else:
            parent = Ancestor(pid=ppid, known=False)
            node = Node(pid, ticks, start_ns, parent, (parent,) if ppid else ())
        node.story = self._story(node, maker)
        self._nodes.pop(pid, None)
        self._nodes[pid] = node
        if len(self._nodes) > self._capacity:
            del self._nodes[next(iter(self._nodes))]
            self.forgotten += 1
        return node

    def _touch(self, node: Node) -> None:
        self._nodes[node.pid] = self._nodes.pop(node.pid)

    def _story(self, node: Node, maker: Node | None) -> str:
        if maker is not None and not _dispatches(maker):
            return maker.story
        return hashlib.blake2b(f"{self._scope}:{node.entity_id}".encode(), digest_size=8).hexdigest()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _dispatches(node: Node) -> bool:
    if node.pid <= _KTHREADD:
        return True
    # A name alone is anybody's choice; a program below a system folder was put there by an administrator.
    exe = node.image.exe
    return exe.startswith(_SYSTEM_FOLDERS) and exe.replace("\\", "/").rpartition("/")[2].lower() in _DISPATCHERS
