"""A page of Query ends before it is too large for a client, whatever its events hold."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from millimetric_server.api.messages import Instant, QueryResponse, StoredEvent
from millimetric_server.doors.codecs.json import encode_connect, encode_rest
from millimetric_server.doors.codecs.proto import encode_proto
from millimetric_server.reads.query import estimate_bytes

_SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    _SCALARS | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=10), inner, max_size=20),
    max_leaves=60,
)
_PROPERTIES = st.dictionaries(st.text(max_size=10), _VALUES, max_size=20)


def make_event(properties: Any, **texts: str) -> StoredEvent:
    content: dict[str, Any] = {field.name: "" for field in msgspec.structs.fields(StoredEvent)}
    content |= {"timestamp": Instant(1_764_000_000_123_456), "received_at": Instant(-1), "is_bot": True}
    return StoredEvent(**(content | {"properties": msgspec.json.encode(properties).decode()} | texts))


@given(_PROPERTIES, st.text(st.characters(codec="utf-8", min_codepoint=32), max_size=200))
def test_no_answer_is_larger_than_it_was_estimated(properties: Any, text: str) -> None:
    event = make_event(properties, url=text, path=text, event=text)
    answer = QueryResponse([event])
    sizes = [len(encode(answer)) for encode in (encode_proto, encode_rest, encode_connect)]
    assert max(sizes) <= estimate_bytes(event) + len('{"rows":[]}')


def test_the_worst_properties_are_estimated_well() -> None:
    """Lists of digits take 5.5 times their JSON as a Struct, objects in objects the most lengths."""
    nested: dict[str, Any] = {}
    for _ in range(90):
        nested = {"a": nested, "b": []}
    for properties in ({"a": [1] * 4000}, {str(number): 0 for number in range(900)}, nested, {"a": '"' * 4000}):
        event = make_event(properties)
        assert max(len(encode(QueryResponse([event]))) for encode in (encode_proto, encode_rest)) <= estimate_bytes(
            event
        )
