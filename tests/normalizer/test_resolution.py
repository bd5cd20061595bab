"""Which name a connection gets, and from whose question."""

from shield.event import Dns, Namespaces, Network, Process
from shield.normalizer.resolution import KEPT_NS, Resolutions
from shield.record import Actor, Observation


def actor(pid: int, namespace: int = 1) -> Actor:
    return Actor(pid, 7, process=Process(pid=pid, namespaces=Namespaces(net=namespace)))


def answer(name: str, *answers: str, by: Actor | None = None, at_ns: int = 0, kind: str = "A") -> Observation:
    return Observation(at_ns, "dns_query", by or actor(1), dns=Dns(name, answers, "NOERROR", kind))


def connected(ip: str, by: Actor | None = None, at_ns: int = 0, *, initiated: bool = True) -> Observation:
    network = Network("tcp", "10.0.0.3", 4000, "", ip, 443, "", initiated, "opened")
    return Observation(at_ns, "network_connection", by or actor(1), network=network)


def name(resolutions: Resolutions, seen: Observation) -> str:
    network = resolutions.named(seen).network
    return network.destination_host if network else ""


def test_a_connection_carries_the_name_its_process_asked_for() -> None:
    resolutions = Resolutions()
    resolutions.learn(answer("www.example.org", "edge.example.net", "203.0.113.9", "203.0.113.10"))
    resolutions.learn(answer("www.example.org", "2001:db8::9", kind="AAAA"))
    for ip in ("203.0.113.9", "203.0.113.10", "2001:db8::9"):
        assert name(resolutions, connected(ip)) == "www.example.org"
    assert name(resolutions, connected("203.0.113.11")) == ""


def test_of_names_that_share_an_address_each_process_keeps_its_own() -> None:
    resolutions = Resolutions()
    resolutions.learn(answer("a.example.org", "203.0.113.9", by=actor(1)))
    resolutions.learn(answer("b.example.org", "203.0.113.9", by=actor(2)))
    assert name(resolutions, connected("203.0.113.9", actor(1))) == "a.example.org"
    assert name(resolutions, connected("203.0.113.9", actor(2))) == "b.example.org"
    assert name(resolutions, connected("203.0.113.9", actor(3))) == "b.example.org"


def test_the_same_address_in_another_namespace_is_another_host() -> None:
    resolutions = Resolutions()
    resolutions.learn(answer("db.internal", "10.0.0.5", by=actor(1, namespace=1)))
    assert name(resolutions, connected("10.0.0.5", actor(2, namespace=2))) == ""


def test_who_connects_to_this_host_gets_no_name_and_a_name_that_is_there_stays() -> None:
    resolutions = Resolutions()
    resolutions.learn(answer("me.example.org", "203.0.113.9"))
    assert name(resolutions, connected("203.0.113.9", initiated=False)) == ""
    network = Network("tcp", destination_ip="203.0.113.9", destination_host="told.example.org", initiated=True)
    assert name(resolutions, Observation(0, "network_connection", actor(1), network=network)) == "told.example.org"


def test_names_are_forgotten_by_age_and_by_number() -> None:
    resolutions = Resolutions(capacity=10)
    resolutions.learn(answer("old.example.org", "203.0.113.1"))
    assert name(resolutions, connected("203.0.113.1", at_ns=KEPT_NS)) == "old.example.org"
    assert name(resolutions, connected("203.0.113.1", at_ns=KEPT_NS + 1)) == ""
    for number in range(200):
        resolutions.learn(answer(f"n{number}.example.org", f"198.51.100.{number}"))
    assert len(resolutions) == 10
    assert name(resolutions, connected("198.51.100.199")) == "n199.example.org"


def test_an_answer_that_is_no_address_names_nothing() -> None:
    resolutions = Resolutions()
    resolutions.learn(answer("example.org", '"203.0.113.9"', kind="TXT"))
    resolutions.learn(answer("example.org", *[f"203.0.113.{number}" for number in range(255)]))
    assert len(resolutions) <= 32
    assert name(resolutions, connected("edge.example.net")) == ""
