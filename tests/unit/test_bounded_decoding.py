"""Nothing is built of a body before it is counted: a small request that unpacks to millions of pieces costs little.

The bodies are those of support/heavy_bodies.py. Each is decoded in a process that watches its memory.
"""

import subprocess
import sys

import pytest

from millimetric_server.api.errors import AppError
from millimetric_server.api.messages import BatchRequest, Message, QueryRequest, TrackRequest, TrackStreamRequest
from millimetric_server.api.undecodable import UndecodableEvent
from millimetric_server.doors.codecs.json import JsonDecoder
from millimetric_server.doors.codecs.proto import decode_proto
from millimetric_server.ingest.check_event import read_properties
from support.heavy_bodies import (
    BODY_BYTES,
    JSON_BODIES,
    NAMED,
    PROTO_BODIES,
    json_list,
    proto_field,
    proto_struct,
)
from support.memory import read_memory_peak, reset_memory_peak

_HEAP_BYTES_MAX = 100 * 1024 * 1024


def _decode(kind: str, request: type[Message], body: bytes) -> str:
    """Decode a body; returns the field that was refused, or nothing."""
    if len(body) > BODY_BYTES:
        raise ValueError(len(body))
    decoder = JsonDecoder(request)
    try:
        decode_proto(request, body) if kind == "proto" else decoder.decode(body)
    except AppError as error:
        return error.violations[0].field if len(error.message) < 1000 else error.message
    return ""


@pytest.mark.parametrize("kind", ["json", "proto"])
def test_a_body_takes_a_few_times_its_bytes(kind: str) -> None:
    """In a process of its own, whose memory is bounded: whoever builds all that a body holds, fails there."""
    ran = subprocess.run(
        [sys.executable, __file__, kind],
        check=False,
        capture_output=True,
        text=True,
        timeout=250,
        env={"PYTHONPATH": "tests"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]


def test_a_batch_of_1000_is_read_and_one_of_1001_is_not() -> None:
    assert len(JsonDecoder(BatchRequest).decode(b'{"events":' + json_list(b"{}", 1000) + b"}").events) == 1000  # type: ignore[attr-defined]
    with pytest.raises(AppError, match="1 to 1000"):
        JsonDecoder(BatchRequest).decode(b'{"events":' + json_list(b"{}", 1001) + b"}")
    for padding in (b"", proto_field(15, b"y" * 100_000)):
        named = proto_field(1, NAMED)
        assert len(decode_proto(BatchRequest, padding + named * 1000).events) == 1000  # type: ignore[attr-defined]
        with pytest.raises(AppError, match="1 to 1000"):
            decode_proto(BatchRequest, padding + named * 1001)


@pytest.mark.parametrize("values", [5000, 60_000])
@pytest.mark.parametrize("padding", [b"", proto_field(15, b"y" * 100_000)])
def test_an_event_with_too_many_values_has_an_outcome_of_its_own(values: int, padding: bytes) -> None:
    events = (
        proto_field(1, NAMED) + proto_field(1, NAMED + proto_field(10, proto_struct(values))) + proto_field(1, NAMED)
    )
    first, second, third = decode_proto(BatchRequest, padding + events).events  # type: ignore[attr-defined]
    assert isinstance(second, UndecodableEvent)
    assert [violation.field for violation in second.violations] == ["properties"]
    assert [first.event, third.event] == ["x", "x"]


def test_a_large_batch_is_read_as_a_small_one_is() -> None:
    body = (
        proto_field(1, NAMED + proto_field(5, "ü".encode()))
        + b"\x10\x02"
        + proto_field(1, proto_field(1, b"y") + proto_field(10, proto_struct(3)))
    )
    small = decode_proto(BatchRequest, body)
    assert decode_proto(BatchRequest, proto_field(15, b"z" * 100_000) + body) == small
    assert small.mode == "per_event"  # type: ignore[attr-defined]


@pytest.mark.parametrize("tail", [b"\x0a\x7f", b"\x0b", b"\x0f", b"\x0a\x02a\xff", b"\x80" * 12, b"\x0a" + b"\xff" * 9])
def test_a_large_body_that_is_no_protobuf_is_refused(tail: bytes) -> None:
    for message in (BatchRequest, TrackRequest, QueryRequest):
        with pytest.raises(AppError) as caught:
            decode_proto(message, proto_field(15, b"z" * 100_000) + tail)
        assert [violation.field for violation in caught.value.violations] == ["body"]


def test_an_event_of_a_stream_in_two_parts_is_one() -> None:
    body = proto_field(2, NAMED) + b"\x08\x07" + proto_field(2, proto_field(5, b"u"))
    for padding in (b"", proto_field(15, b"z" * 100_000)):
        message = decode_proto(TrackStreamRequest, padding + body)
        assert message.sequence == 7  # type: ignore[attr-defined]
        assert (message.event.event, message.event.user_id) == ("x", "u")  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ['{"a":' + "[" * 100_000, '{"a":[' + ",".join(["[]"] * 30_000) + "]}", "9" * 100_000])
def test_properties_that_are_surely_too_long_are_not_built(text: str) -> None:
    for one in (text, text.encode()):
        with pytest.raises(ValueError, match="8192 bytes"):
            read_properties(one)


def test_properties_may_be_written_at_any_length() -> None:
    spaced = "{" + " \n" * 100_000 + '"a"' + "\t" * 100_000 + ':"' + "\\u0061" * 8000 + '"}'
    assert read_properties(spaced) == read_properties(spaced.encode()) == '{"a":"' + "a" * 8000 + '"}'


if __name__ == "__main__":
    for name, heavy in (PROTO_BODIES if sys.argv[1] == "proto" else JSON_BODIES).items():
        body = heavy.make()
        reset_memory_peak()
        before = read_memory_peak()
        found = _decode(sys.argv[1], heavy.request, body)
        grown = read_memory_peak() - before
        assert found == heavy.field, (name, found)
        assert grown < _HEAP_BYTES_MAX, f"{name}: {grown:,} bytes more"
