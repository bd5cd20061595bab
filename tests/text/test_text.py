"""Bytes of any kind as text and back, and text of any kind on a terminal."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.text import decode, encode, printable

# Valid UTF-8, broken UTF-8 and the three bytes of the characters that escapes are made of, side by side.
hostile_bytes = st.lists(
    st.one_of(
        st.binary(max_size=4),
        st.characters(codec="utf-8").map(str.encode),
        st.integers(0xEF80, 0xEFFF).map(chr).map(str.encode),
    ),
    max_size=8,
).map(b"".join)

# Unicode's Default_Ignorable_Code_Point: what a terminal shows as nothing at all.
INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180e\u200b\u200c\u200d\u2060\u2064\u206a\u206f\u3164\ufe00\ufe0f"
    "\ufeff\uffa0\ufff0\U0001bca0\U0001d173\U000e0001\U000e0041\U000e0100\U000e01ef"
)
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LINES = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@given(hostile_bytes)
def test_bytes_survive_the_way_to_text_and_back(raw: bytes) -> None:
    assert encode(decode(raw)) == raw


@given(hostile_bytes, hostile_bytes)
def test_different_bytes_never_become_the_same_text(one: bytes, other: bytes) -> None:
    assert (decode(one) == decode(other)) == (one == other)


@given(hostile_bytes)
def test_the_text_is_proper_unicode_that_json_carries(raw: bytes) -> None:
    text = decode(raw)
    text.encode("utf-8")
    assert encode(json.loads(json.dumps(text))) == raw


@pytest.mark.parametrize("text", ["plain", "café", "日本語", "😀", "", "\0", "\ue000", "\uef7f", "\uf000"])
def test_valid_utf_8_stays_as_it_is(text: str) -> None:
    assert decode(text.encode()) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"caf\xe9", "caf\uefe9"),
        (b"\xed\xa0\x80", "\uefed\uefa0\uef80"),  # a surrogate
        (b"\xc0\xaf", "\uefc0\uefaf"),  # an overlong slash
        (b"\xe2\x82", "\uefe2\uef82"),  # half a euro sign
        ("\uefe9".encode(), "\uefee\uefbf\uefa9"),  # a genuine character of those that escapes are made of
    ],
)
def test_each_byte_that_is_not_utf_8_becomes_one_character(raw: bytes, text: str) -> None:
    assert decode(raw) == text


def test_no_character_of_unicode_breaks_a_line_moves_the_cursor_or_turns_the_text() -> None:
    shown = printable("".join(map(chr, range(sys.maxunicode + 1))))
    left = {character for character in set(shown) if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")}
    left |= set(shown) & set(INVISIBLE + DIRECTIONS + LINES)
    assert left == set()
    assert len(shown.splitlines()) == 1


@given(st.text(st.characters()))
def test_what_is_printed_can_be_encoded_and_stays_as_it_is_when_printed_again(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert printable(shown) == shown


@given(st.binary())
def test_any_bytes_can_be_printed(raw: bytes) -> None:
    assert not {"\n", "\x1b", "\r"} & set(printable(decode(raw)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rm -rf 'x y' \\", "rm -rf 'x y' \\"),
        ("naïve 日本 😀", "naïve 日本 😀"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\U000e0041", "\\U000e0041"),
        ("caf\uefe9", "caf\\xe9"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_cannot_be_shown_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
