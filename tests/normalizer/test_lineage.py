"""The process tree against a plain model, through reused pids, double forks, lost records and dispatchers."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shield.event import Process, User
from shield.normalizer.lineage import ANCESTOR_CMDLINE_MOST, ANCESTORS_MOST, PARENT_CMDLINE_MOST, Lineage, Node

PIDS = st.integers(3, 8)


def run(
    lineage: Lineage, pid: int, ppid: int, exe: str, ticks: int = 0, cmdline: str = "", parent_ticks: int = 0
) -> Node:
    process = Process(pid=pid, ppid=ppid, name=exe.rpartition("/")[2], exe=exe, cmdline=cmdline or exe, start_ns=ticks)
    return lineage.exec(process, User(name="alice"), ticks or pid, parent_ticks or ppid)


def fork(lineage: Lineage, pid: int, ppid: int, ticks: int = 0) -> Node:
    return lineage.fork(pid, ticks or pid, ticks or pid, ppid, ppid)


def exes(node: Node) -> list[str]:
    return [above.exe for above in node.above]


class Tree(RuleBasedStateMachine):
    """Processes come and go as on a host; the model keeps for each living pid its start and what stood above it."""

    @initialize()
    def boot(self) -> None:
        self.lineage = Lineage("host")
        self.now = 1
        self.above: dict[int, list[tuple[str, str]]] = {}
        self.runs: dict[int, str] = {}
        self.ticks: dict[int, int] = {}
        self.seen: set[str] = set()
        self.start(2, 0)

    def start(self, pid: int, ppid: int) -> None:
        self.now += 1
        maker = self.ticks.get(ppid, 0)
        node = self.lineage.fork(pid, self.now, self.now, ppid, maker)
        assert node.entity_id not in self.seen
        self.seen.add(node.entity_id)
        self.ticks[pid], self.runs[pid] = self.now, self.runs.get(ppid, "")
        self.above[pid] = [(f"{ppid}-{maker}", self.runs[ppid]), *self.above[ppid]] if ppid else []

    @rule(pid=PIDS, data=st.data())
    def fork(self, pid: int, data: st.DataObject) -> None:
        if pid not in self.ticks:
            self.start(pid, data.draw(st.sampled_from(sorted(self.ticks))))

    @rule(data=st.data(), exe=st.sampled_from(["/bin/a", "/bin/b", "/bin/c"]))
    def exec(self, data: st.DataObject, exe: str) -> None:
        pid = data.draw(st.sampled_from(sorted(self.ticks)))
        process = Process(pid=pid, ppid=1, exe=exe, cmdline=exe)  # by now its parent may be another one
        node = self.lineage.exec(process, User(), self.ticks[pid], 0)
        self.runs[pid] = exe
        assert [(one.entity_id, one.exe) for one in node.above] == self.above[pid][:ANCESTORS_MOST]
        assert node.entity_id == f"{pid}-{self.ticks[pid]}"
        assert (node.parent.entity_id, node.parent.exe) == (self.above[pid] or [("", "")])[0]

    @precondition(lambda self: len(self.ticks) > 1)
    @rule(data=st.data())
    def exit(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(sorted(set(self.ticks) - {2})))
        node = self.lineage.exit(pid, self.ticks.pop(pid))
        assert node is not None
        assert node.image.exe == self.runs.pop(pid)
        del self.above[pid]

    @rule(pid=PIDS)
    def end_a_stranger(self, pid: int) -> None:
        assert self.lineage.exit(pid, self.now + 1000) is None

    @invariant()
    def holds_the_living_alone(self) -> None:
        assert len(self.lineage) == len(self.ticks)


TestTree = Tree.TestCase
TestTree.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_reused_pid_is_a_new_process() -> None:
    lineage = Lineage("host")
    first = run(lineage, 50, 40, "/bin/old", ticks=100)
    second = run(lineage, 50, 40, "/bin/new", ticks=200)
    assert first.entity_id != second.entity_id
    assert lineage.exit(50, 100) is None
    assert lineage.exit(50, 200) is second


def test_a_child_of_a_reused_pid_does_not_inherit_from_the_old_process() -> None:
    lineage = Lineage("host")
    run(lineage, 50, 40, "/bin/old", ticks=100)
    child = lineage.fork(60, 300, 300, 50, 200)
    assert not child.parent.known
    assert child.parent.exe == ""


def test_a_double_fork_keeps_the_true_ancestry() -> None:
    lineage = Lineage("host")
    run(lineage, 10, 9, "/usr/sbin/nginx")
    fork(lineage, 11, 10)
    fork(lineage, 12, 11)
    lineage.exit(11, 11)
    backdoor = run(lineage, 12, 1, "/tmp/backdoor")  # init is its parent now
    assert exes(backdoor)[:2] == ["/usr/sbin/nginx", "/usr/sbin/nginx"]
    assert backdoor.parent.pid == 11


def test_a_parent_that_ends_before_its_child_runs_a_program_is_remembered() -> None:
    lineage = Lineage("host")
    run(lineage, 10, 9, "/bin/sh")
    fork(lineage, 11, 10)
    lineage.exit(10, 10)
    assert run(lineage, 11, 1, "/bin/ls").parent.exe == "/bin/sh"


def test_ancestors_are_those_at_the_fork_not_what_they_run_later() -> None:
    lineage = Lineage("host")
    run(lineage, 10, 9, "/bin/sh")
    fork(lineage, 11, 10)
    run(lineage, 10, 9, "/bin/innocent")
    assert run(lineage, 11, 10, "/bin/ls").parent.exe == "/bin/sh"


def test_a_program_whose_fork_was_not_seen_is_put_below_its_parent() -> None:
    lineage = Lineage("host")
    run(lineage, 10, 9, "/bin/sh")
    node = run(lineage, 11, 10, "/bin/ls")
    assert (node.parent.exe, node.parent.known) == ("/bin/sh", True)


def test_a_process_of_which_nothing_is_known_above_says_so() -> None:
    node = run(Lineage("host"), 11, 10, "/bin/ls")
    assert [(one.pid, one.known) for one in node.above] == [(10, False)]


def test_a_fork_reported_twice_is_one_process() -> None:
    lineage = Lineage("host")
    first = run(lineage, 10, 9, "/bin/sh")
    assert fork(lineage, 10, 9) is first


def test_all_that_comes_from_one_process_is_one_story() -> None:
    lineage = Lineage("host")
    shell = run(lineage, 10, 9, "/bin/bash")
    assert {fork(lineage, 11, 10).story, fork(lineage, 12, 11).story} == {shell.story}


def dispatched(exe: str, pid: int = 10) -> int:
    """How many stories two children of such a process have, its own not counted."""
    lineage = Lineage("host")
    own = run(lineage, pid, 9, exe).story
    return len({fork(lineage, 21, pid).story, fork(lineage, 22, pid).story} - {own})


def test_what_a_dispatcher_starts_are_stories_of_their_own() -> None:
    for exe in ("/usr/sbin/sshd", "/usr/sbin/cron", "/usr/lib/systemd/systemd", "C:\\Windows\\System32\\services.exe"):
        assert dispatched(exe) == 2, exe


def test_pid_1_dispatches_whatever_it_runs() -> None:
    assert dispatched("/tini", pid=1) == 2


def test_a_program_that_borrows_a_dispatchers_name_stays_one_story() -> None:
    for exe in (
        "/tmp/sshd",
        "/home/eve/usr/sbin/sshd",
        "/dev/shm/cron",
        "C:\\Users\\eve\\services.exe",
        "/usr/bin/sshd2",
    ):
        assert dispatched(exe) == 0, exe


def test_stories_differ_between_hosts() -> None:
    assert run(Lineage("a"), 10, 9, "/bin/sh").story != run(Lineage("b"), 10, 9, "/bin/sh").story


def test_beyond_its_capacity_the_longest_untouched_are_forgotten_and_counted() -> None:
    lineage = Lineage("host", capacity=3)
    run(lineage, 10, 9, "/bin/old")
    for pid in range(11, 14):
        run(lineage, pid, 9, "/bin/x")
    assert (len(lineage), lineage.forgotten) == (3, 1)
    assert lineage.exit(10, 10) is None


def test_a_process_that_starts_others_is_not_forgotten_before_idle_ones() -> None:
    lineage = Lineage("host", capacity=3)
    run(lineage, 10, 9, "/bin/busy")
    for pid in range(11, 20):
        fork(lineage, pid, 10)
    assert fork(lineage, 30, 10).parent.exe == "/bin/busy"


def test_only_the_nearest_ancestors_are_kept() -> None:
    lineage = Lineage("host")
    for pid in range(10, 100):
        fork(lineage, pid, pid - 1)
        run(lineage, pid, pid - 1, f"/bin/p{pid}")
    node = fork(lineage, 100, 99)
    assert exes(node) == [f"/bin/p{pid}" for pid in range(99, 99 - ANCESTORS_MOST, -1)]


def test_a_long_command_line_is_shortened_above_a_process() -> None:
    lineage = Lineage("host")
    run(lineage, 10, 9, "/bin/sh", cmdline="x" * 100_000)
    child = fork(lineage, 11, 10)
    assert len(child.parent.cmdline) == PARENT_CMDLINE_MOST
    assert len(child.above[0].cmdline) == ANCESTOR_CMDLINE_MOST
    assert child.above[0].cmdline.endswith("x…")
    assert len(fork(lineage, 12, 11).above[1].cmdline) == ANCESTOR_CMDLINE_MOST
