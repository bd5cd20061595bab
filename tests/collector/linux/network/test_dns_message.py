"""DNS messages, from well-behaved servers and from those who would rather see the reader fail."""

import dns.flags
import dns.message
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.network.dns_message import ANSWER_MOST, ANSWERS_MOST, parse


def reply(name: str, kind: str, *answers: tuple[str, str]) -> dns.message.Message:
    made = dns.message.make_response(dns.message.make_query(name, kind))
    made.answer = [dns.rrset.from_text(name, 60, "IN", of, text) for of, text in answers]
    return made


def test_a_question_is_its_name_and_type() -> None:
    message = parse(dns.message.make_query("WwW.Example.ORG", "AAAA").to_wire())
    assert message
    assert not message.response
    assert (message.dns.query, message.dns.type, message.dns.status) == ("www.example.org", "AAAA", "")


def test_answers_are_text_whatever_they_are() -> None:
    made = reply("a.org.", "A", ("CNAME", "B.org."), ("A", "192.0.2.1"), ("TXT", '"k=v"'), ("MX", "10 mail.a.org."))
    message = parse(made.to_wire())
    assert message
    assert message.dns.answers == ("b.org", "192.0.2.1", '"k=v"', "10 mail.a.org.")
    assert (message.dns.status, message.partial) == ("NOERROR", False)


def test_a_name_of_hostile_bytes_is_escaped() -> None:
    message = parse(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\x06a.b\xff\n\x1b\0\0\x01\0\x01")
    assert message
    assert message.dns.query == "a\\.b\\255\\010\\027"


def test_an_answer_that_was_cut_keeps_what_came_before() -> None:
    wire = reply("a.org.", "A", ("A", "192.0.2.1"), ("A", "192.0.2.2")).to_wire()
    for cut in range(len(wire) - 12, len(wire)):
        message = parse(wire[:cut])
        assert message
        assert message.partial
        assert message.dns.query == "a.org"


def test_an_answer_that_says_that_it_is_cut_is_partial() -> None:
    made = reply("a.org.", "A")
    made.flags |= dns.flags.TC
    message = parse(made.to_wire())
    assert message
    assert message.partial


def test_endless_answers_are_cut() -> None:
    made = reply("a.org.", "A", *[("A", f"192.0.{n // 250}.{n % 250}") for n in range(300)])
    message = parse(made.to_wire())
    assert message
    assert (len(message.dns.answers), message.partial) == (ANSWERS_MOST, True)
    message = parse(reply("a.org.", "TXT", ("TXT", " ".join(['"' + "x" * 250 + '"'] * 8))).to_wire())
    assert message
    assert len(message.dns.answers[0]) == ANSWER_MOST


def test_a_name_that_points_at_itself_ends() -> None:
    assert parse(b"\x12\x34\x81\x80\0\1\0\1\0\0\0\0\xc0\x0c\0\x01\0\x01") is None


def test_no_question_and_many_questions_are_none() -> None:
    assert parse(b"") is None
    assert parse(bytes(12)) is None
    assert parse(b"\x12\x34\x01\0\xff\xff" + bytes(600)) is None


@given(st.binary(max_size=600))
def test_any_bytes_are_a_message_or_none(raw: bytes) -> None:
    parse(raw)


@given(st.data())
def test_any_damage_to_an_answer_is_survived(data: st.DataObject) -> None:
    wire = bytearray(
        reply("a.org.", "A", ("CNAME", "b.org."), ("A", "192.0.2.1"), ("TXT", '"x"'), ("MX", "1 m.org.")).to_wire()
    )
    for _ in range(data.draw(st.integers(1, 8))):
        wire[data.draw(st.integers(4, len(wire) - 1))] = data.draw(st.integers(0, 255))
    message = parse(bytes(wire))
    assert message is None or "\n" not in message.dns.query + "".join(message.dns.answers)
