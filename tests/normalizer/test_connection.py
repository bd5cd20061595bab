"""What is told of many connections, and that none is lost or counted twice on the way."""

from hypothesis import given
from hypothesis import strategies as st

from shield.event import Dns, Network
from shield.normalizer.connection import ENDED_FOLDED, OPENED_FOLDED, Connections
from shield.record import Actor, Observation

SECOND = 1_000_000_000
WINDOW = 60 * SECOND
ME = Actor(42, 99)


def connection(
    state: str,
    at_s: float = 0,
    *,
    port: int = 40_000,
    to: tuple[str, int] = ("203.0.113.9", 443),
    sent: int | None = None,
    actor: Actor | None = ME,
    initiated: bool = True,
    transport: str = "tcp",
) -> Observation:
    ended = state != "opened"
    return Observation(
        int(at_s * SECOND),
        "network_connection",
        actor,
        network=Network(
            transport=transport,
            source_ip="10.0.0.3",
            source_port=port,
            destination_ip=to[0],
            destination_port=to[1],
            initiated=initiated,
            state=state,  # pyright: ignore[reportArgumentType]  an argument of the tests
            bytes_sent=sent,
            bytes_received=2 * sent if sent is not None else None,
            duration_ns=SECOND if ended else None,
        ),
    )


def networks(told: tuple[Observation, ...]) -> list[Network]:
    return [one.network for one in told if one.network]


def test_the_first_is_told_at_once_and_the_rest_as_one_with_a_count() -> None:
    connections = Connections()
    first = connection("opened")
    assert connections.take(first) == (first,)
    assert connections.take(connection("closed", 1, sent=10)) == ()
    for number in range(9):
        assert connections.take(connection("opened", 2 + number, port=40_001 + number)) == ()
        assert connections.take(connection("closed", 3 + number, sent=10)) == ()
    assert connections.due(WINDOW - 1) == ()
    (total,) = networks(connections.due(WINDOW))
    assert (total.state, total.count, total.bytes_sent, total.bytes_received) == ("closed", 10, 100, 200)
    assert (total.duration_ns, total.source_port) == (10 * SECOND, 0)
    assert connections.folded == {OPENED_FOLDED: 9, ENDED_FOLDED: 10}
    assert len(connections) == 0
    again = connection("opened", 61)
    assert connections.take(again) == (again,)


def test_a_single_connection_keeps_its_port_in_the_end() -> None:
    connections = Connections()
    connections.take(connection("opened"))
    connections.take(connection("closed", 5, sent=7))
    (total,) = networks(connections.due(WINDOW))
    assert (total.count, total.source_port, total.bytes_sent) == (1, 40_000, 7)


def test_an_end_long_after_the_window_is_still_told() -> None:
    connections = Connections()
    connections.take(connection("opened"))
    assert connections.due(WINDOW) == ()
    assert connections.take(connection("closed", 3600, sent=5)) == ()
    (total,) = networks(connections.due(3700 * SECOND))
    assert (total.state, total.count, total.bytes_sent) == ("closed", 1, 5)


def test_connections_that_stay_open_are_told_as_opened() -> None:
    connections = Connections()
    for port in range(5):
        connections.take(connection("opened", port=port))
    (total,) = networks(connections.due(WINDOW))
    assert (total.state, total.count) == ("opened", 4)
    for port in range(5):
        connections.take(connection("closed", 100, port=port, sent=1))
    (total,) = networks(connections.due(200 * SECOND))
    assert (total.state, total.count) == ("closed", 5)


def test_only_where_all_have_failed_it_is_failed() -> None:
    connections = Connections()
    for _ in range(3):
        connections.take(connection("opened"))
        connections.take(connection("failed", sent=0))
    assert networks(connections.due(WINDOW))[0].state == "failed"
    for state in ("failed", "closed"):
        connections.take(connection("opened", 100))
        connections.take(connection(state, 100, sent=0))
    assert networks(connections.due(200 * SECOND))[0].state == "closed"


def test_other_programs_destinations_and_directions_are_told_by_themselves() -> None:
    connections = Connections()
    different = [
        connection("opened"),
        connection("opened", to=("203.0.113.9", 80)),
        connection("opened", to=("203.0.113.8", 443)),
        connection("opened", actor=Actor(42, 100)),
        connection("opened", actor=None),
        connection("opened", transport="udp"),
        connection("opened", initiated=False),
    ]
    for one in different:
        assert connections.take(one) == (one,)


def test_who_connects_to_one_port_from_many_is_one_peer() -> None:
    connections = Connections()
    first = connection("opened", port=1, initiated=False)
    assert connections.take(first) == (first,)
    assert connections.take(connection("opened", port=2, initiated=False)) == ()


def test_the_end_of_a_process_ends_its_windows() -> None:
    connections = Connections()
    connections.take(connection("opened"))
    connections.exited(42, 99, 10 * SECOND)
    connections.take(connection("closed", 10.1, sent=3))  # the kernel closes what it left open
    assert connections.due(10 * SECOND) == ()
    (total,) = networks(connections.due(11 * SECOND))
    assert (total.count, total.bytes_sent) == (1, 3)
    assert len(connections) == 0
    assert connections.due(1000 * SECOND) == ()


def test_a_conversation_over_udp_is_forgotten_after_its_window() -> None:
    connections = Connections()
    connections.take(connection("opened", transport="udp"))
    assert connections.due(WINDOW) == ()
    assert len(connections) == 0


def test_where_there_are_too_many_the_oldest_is_told_first() -> None:
    connections = Connections(capacity=2)
    connections.take(connection("opened", to=("203.0.113.1", 1)))
    connections.take(connection("closed", to=("203.0.113.1", 1), sent=9))
    connections.take(connection("opened", to=("203.0.113.2", 1)))
    told = networks(connections.take(connection("opened", to=("203.0.113.3", 1))))
    assert [(one.destination_ip, one.state) for one in told] == [("203.0.113.3", "opened"), ("203.0.113.1", "closed")]
    assert len(connections) == 2


def test_what_is_no_connection_passes() -> None:
    connections = Connections()
    asked = Observation(0, "dns_query", ME, dns=Dns("example.org"))
    listening = Observation(0, "network_listen", ME, network=Network(transport="tcp", destination_port=80))
    assert connections.take(asked) == (asked,)
    assert connections.take(listening) == (listening,)
    assert not connections.folded


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 200)), max_size=200),
    st.integers(1, 4),
)
def test_every_end_is_counted_once_whatever_the_order(steps: list[tuple[bool, int, int]], capacity: int) -> None:
    connections = Connections(capacity=capacity)
    told: list[Observation] = []
    ends, sent, now_s = 0, 0, 0
    for opened, peer, later_s in steps:
        now_s += later_s
        told += connections.due(now_s * SECOND)
        state = "opened" if opened else "closed"
        ends += not opened
        sent += 0 if opened else peer
        told += connections.take(connection(state, now_s, to=("203.0.113.9", peer), sent=None if opened else peer))
        assert len(connections) <= capacity
    told += connections.rest()
    closed = [one for one in networks(tuple(told)) if one.state == "closed"]
    assert sum(one.count for one in closed) == ends
    assert sum(one.bytes_sent or 0 for one in closed) == sent
    assert connections.folded[ENDED_FOLDED] == ends
