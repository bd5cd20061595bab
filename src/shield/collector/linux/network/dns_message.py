"""DNS messages (RFC 1035): what was asked, and what came back, out of bytes that anybody may have sent.

dnspython reads them. Names are in lower case, because resolvers mix the case to make answers hard to forge, and without
the last dot; bytes that are no letters stand as `\\DDD`, as in a zone file.
"""

import struct
from collections.abc import Iterable
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
from msgspec import Struct

from shield.event import Dns

ANSWERS_MOST = 64
ANSWER_MOST = 512

_HEADER = struct.Struct("!HH4H")
_RESPONSE = 0x8000
_NAMED = (dns.rdatatype.CNAME, dns.rdatatype.DNAME, dns.rdatatype.NS, dns.rdatatype.PTR)


class Message(Struct, frozen=True, gc=False):
    """One DNS message. `partial` says that it was cut, or that not all of it could be read."""

    id: int
    response: bool
    dns: Dns
    partial: bool = False


def parse(raw: bytes) -> Message | None:
    """Return the message in `raw`, None for what is no DNS message with a question."""
    if len(raw) < _HEADER.size:
        return None
    number, flags, questions, *_ = _HEADER.unpack_from(raw)
    if questions != 1:
        return None
    answered = bool(flags & _RESPONSE)
    try:
        message = dns.message.from_wire(
            raw, continue_on_error=True, ignore_trailing=True, one_rr_per_rrset=True, question_only=not answered
        )
        (question,) = message.question
        answers, more = _answers(message)
        found = Dns(
            query=_name(question.name),
            type=dns.rdatatype.to_text(question.rdtype),
            answers=answers,
            status=dns.rcode.to_text(message.rcode()) if answered else "",
        )
    except (dns.exception.DNSException, ValueError, struct.error, IndexError):
        return None
    cut = bool(message.flags & dns.flags.TC) or bool(message.errors) or more
    return Message(number, answered, found, partial=cut)


def _answers(message: dns.message.Message) -> tuple[tuple[str, ...], bool]:
    """Return the answers as text, and whether there were more than are kept."""
    records = [record for group in message.answer for record in cast("Iterable[dns.rdata.Rdata]", group)]
    kept = tuple(_text(record)[:ANSWER_MOST] for record in records[:ANSWERS_MOST])
    return kept, len(records) > ANSWERS_MOST


def _text(record: dns.rdata.Rdata) -> str:
    text = record.to_text()
    return text.lower().removesuffix(".") if record.rdtype in _NAMED else text


def _name(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
