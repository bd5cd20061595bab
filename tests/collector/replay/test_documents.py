"""JSON documents, however they stand in a file."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.replay.documents import DOCUMENT_MOST, documents

EVENT = {"Event": {"System": {"a": ['x{"', '\\"}', "é\u202e\n"]}}, "n": 1}
LINE = json.dumps(EVENT).encode()
PRETTY = json.dumps(EVENT, indent=2).encode()


def read(text: bytes) -> tuple[list[Any], list[tuple[int, str]]]:
    """Return the documents in `text`, and the lines with the problems of what is none."""
    found = list(documents(io.BytesIO(text)))
    whole = [json.loads(document.text) for document in found if not document.problem]
    return whole, [(document.line, document.problem) for document in found if document.problem]


@pytest.mark.parametrize(
    "text",
    [
        LINE + b"\n" + LINE,
        LINE + b"\r\n\r\n" + LINE + b"\r\n",
        PRETTY + b"\n" + PRETTY,
        PRETTY + PRETTY,
        PRETTY + LINE,
        b"[" + LINE + b"," + LINE + b"]",
        b"[\n" + LINE + b",\n" + LINE + b"\n]\n",
        json.dumps([EVENT, EVENT], indent=4).encode(),
        b"Record 1\n" + PRETTY + b"\nRecord 2\n" + PRETTY + b"\n",
        b"\xef\xbb\xbf" + LINE + b"\n" + LINE,
        (LINE + b"\n" + LINE).decode().encode("utf-16"),
        b"\x1e" + LINE + b"\n\x1e" + LINE,
    ],
)
def test_documents_are_found_in_every_form(text: bytes) -> None:
    assert read(text) == ([EVENT, EVENT], [])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (LINE[:30] + b"\n" + LINE + b"\n" + LINE, 1),
        (LINE + b"\n" + LINE[:-1] + b"\n" + LINE, 2),
        (LINE + b"\nnot json\n" + LINE, 2),
        (PRETTY[:40] + b"\n" + PRETTY + PRETTY, 1),
        (json.dumps([EVENT] * 3, indent=4).encode().replace(b'"n": 1\n    }', b'"n": 1\n', 1), 2),
        (json.dumps([EVENT] * 3, indent=4).encode().replace(b'"n": 1', b'"n', 1), 2),
    ],
)
def test_a_broken_document_costs_only_itself(text: bytes, place: int) -> None:
    whole, broken = read(text)
    assert whole == [EVENT, EVENT]
    assert [line for line, _ in broken] == [place]


def test_a_document_that_the_file_cuts_off_is_told() -> None:
    assert read(LINE + b"\n" + PRETTY[:-1]) == ([EVENT], [(2, "the file ends within it")])


def test_a_document_without_end_is_refused_and_reading_goes_on() -> None:
    endless = b'{"a": [' + (b'{"b": "' + bytes(100).replace(b"\0", b"x") + b'"}, ') * (DOCUMENT_MOST // 100)
    whole, broken = read(endless + b"\n" + LINE)
    assert whole == [EVENT]
    assert broken == [(1, "longer than 16 MiB")]


def test_an_array_on_one_line_is_not_held_in_memory() -> None:
    class Endless(io.RawIOBase):
        left = 20_000

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            self.left -= 1
            piece = b"[" if self.left == 19_999 else LINE + b"," if self.left > 0 else b""
            buffer[: len(piece)] = piece
            return len(piece)

    reader = documents(io.BufferedReader(Endless()))
    assert sum(not document.problem for document in reader) == 19_998


@given(st.binary(max_size=400) | st.text(alphabet='{}[]",:\\\n \x00a1', max_size=200).map(str.encode))
def test_no_bytes_raise_and_none_that_say_something_are_left_out(text: bytes) -> None:
    found = list(documents(io.BytesIO(text)))
    assert len(found) <= len(text)


_json = st.recursive(
    st.text(max_size=20) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=5), _json, max_size=4), max_size=4),
    st.sampled_from([None, 1, 4]),
    st.booleans(),
)
def test_all_that_json_can_say_is_found(values: list[Any], indent: int | None, is_array: bool) -> None:
    each = "\n".join(json.dumps(value, indent=indent) for value in values)
    text = json.dumps(values, indent=indent) if is_array else each
    assert read(text.encode()) == (values, [])
