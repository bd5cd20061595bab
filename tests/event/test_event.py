"""Events on the wire: one line of JSON each, read back as they were, as the published schema says."""

import json
import uuid
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.event import Data, Event, Ledger, Process, decode, encode, json_schema, uuid7

SEED_FIELDS = [
    "ts",
    "host",
    "category",
    "action",
    "score",
    "rationale",
    "data",
    "policy_version",
    "dedupe_key",
    "correlation_id",
]


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, as its annotation declares it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, UnionType):
        return st.one_of(*map(values, inner))
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=2)
    if issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{each.name: values(each.type) for each in msgspec.structs.fields(kind)})
    return {
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(max_size=8),
        bool: st.booleans(),
        type(None): st.none(),
    }[kind]


def event(**fields: object) -> Event:
    defaults: dict[str, Any] = dict.fromkeys(SEED_FIELDS, "")
    defaults |= {"ts": 1, "category": "process_start", "action": "ALLOW", "score": 0, "data": Data()}
    return Event(**defaults | fields)


@settings(max_examples=50)
@given(values(Event))
def test_any_event_is_one_line_that_reads_back_as_it_was(original: Event) -> None:
    line = encode(original)
    assert b"\n" not in line
    assert b"\r" not in line
    assert decode(line) == original
    assert decode(line.decode()) == original


@settings(max_examples=50)
@given(values(Event))
def test_the_published_schema_accepts_every_event(original: Event) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(encode(original)))


def test_the_published_schema_is_itself_valid_and_requires_the_ten_fields_in_their_order() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$defs"]["Event"]["required"] == SEED_FIELDS


def test_a_line_begins_with_the_ten_fields_and_names_every_field_of_the_event() -> None:
    written = list(json.loads(encode(event())))
    assert written[: len(SEED_FIELDS)] == SEED_FIELDS
    assert written == [each.encode_name for each in msgspec.structs.fields(Event)]


def test_fields_of_a_later_version_are_passed_over() -> None:
    later = json.loads(encode(event())) | {"from_the_future": 1}
    assert decode(json.dumps(later)) == event()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"score": "high"}, r"\$\.score"),
        ({"category": "lunch"}, r"\$\.category"),
        ({"data": {"process": {"pid": "1"}}}, r"\$\.data\.process\.pid"),
        ({"data": {"process": {}}}, "pid"),
    ],
)
def test_a_line_that_is_no_event_is_refused_with_the_place_at_fault(change: dict[str, object], place: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=place):
        decode(json.dumps(json.loads(encode(event())) | change))


@given(st.binary())
def test_any_bytes_give_an_event_or_a_decode_error(line: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode(line)


def test_an_escape_sequence_in_a_command_line_stays_out_of_the_raw_line() -> None:
    line = encode(event(data=Data(process=Process(pid=1, cmdline="\x1b]0;x\x07\n\r\0"))))
    assert not set(line) & set(range(0x20))


times = st.integers(0, 2**48 - 1)
randomness = st.integers(0, 2**74 - 1)


@given(times, randomness)
def test_an_event_id_is_a_version_7_uuid_that_holds_its_time(unix_ms: int, random_bits: int) -> None:
    text = uuid7(unix_ms, random_bits)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.variant == uuid.RFC_4122
    assert parsed.version == 7
    assert parsed.int >> 80 == unix_ms


@given(st.tuples(times, randomness), st.tuples(times, randomness))
def test_event_ids_sort_by_time_and_differ_where_the_randomness_does(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    assert (uuid7(*one) < uuid7(*other)) == (one < other)


counts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 1000))


@given(st.integers(0, 1000), st.integers(0, 1000), counts, counts, counts)
def test_a_ledger_balances_only_if_every_record_is_accounted_for(
    kept: int, pending: int, filtered: dict[str, int], folded: dict[str, int], dropped: dict[str, int]
) -> None:
    total = kept + pending + sum(filtered.values()) + sum(folded.values()) + sum(dropped.values())
    ledger = Ledger("ebpf", total, kept, filtered, folded, dropped, pending)
    assert ledger.balanced
    assert not msgspec.structs.replace(ledger, seen=total + 1).balanced
