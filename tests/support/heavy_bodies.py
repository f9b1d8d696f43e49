"""Bodies of at most 16 MiB that pack to some KB and would become gigabytes if somebody built all that they hold."""

from collections.abc import Callable
from dataclasses import dataclass

from millimetric_server.api.messages import (
    BatchRequest,
    FunnelRequest,
    Message,
    QueryRequest,
    TrackRequest,
    TrackStreamRequest,
)
from millimetric_server.doors.codecs.proto import find_proto_class

BODY_BYTES = 16 * 1024 * 1024
_EVENTS = b'{"events":'


@dataclass(frozen=True)
class HeavyBody:
    """A body, made when it is asked for, and the field that is refused; empty where the body is read."""

    request: type[Message]
    make: Callable[[], bytes]
    field: str


def json_list(item: bytes, count: int = 0) -> bytes:
    """A list of one item many times; as many as fit into a body."""
    return b"[" + b",".join([item] * (count or (BODY_BYTES - 100) // (len(item) + 1))) + b"]"


def proto_field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf; numbers up to 15."""
    size, length = len(content), b""
    while size > 127:
        size, length = size >> 7, length + bytes([size & 127 | 128])
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def proto_struct(values: int, value: bytes = b"") -> bytes:
    """A google.protobuf.Struct: one name, a list of so many values."""
    values_of_list = proto_field(6, proto_field(1, value) * values)
    return proto_field(1, proto_field(1, b"a") + proto_field(2, values_of_list))


def _number(message: type[Message], name: str) -> int:
    number: int = find_proto_class(message).DESCRIPTOR.fields_by_name[name].number
    return number


def _names() -> bytes:
    return b",".join(b'"%x":0' % number for number in range(1_500_000))


JSON_BODIES: dict[str, HeavyBody] = {
    "empty events": HeavyBody(BatchRequest, lambda: _EVENTS + json_list(b"{}") + b"}", "events"),
    "lists for events": HeavyBody(BatchRequest, lambda: _EVENTS + json_list(b"[]") + b"}", "events"),
    "numbers for events": HeavyBody(BatchRequest, lambda: _EVENTS + json_list(b"1") + b"}", "events"),
    "texts for events": HeavyBody(BatchRequest, lambda: _EVENTS + json_list(b'""') + b"}", "events"),
    "events of events": HeavyBody(BatchRequest, lambda: _EVENTS + json_list(json_list(b"{}", 1000)) + b"}", "events"),
    "many lists of events": HeavyBody(
        BatchRequest, lambda: b"{" + b",".join([b'"events":[{}]'] * 1_100_000) + b"}", ""
    ),
    "events 8 million deep": HeavyBody(
        BatchRequest, lambda: _EVENTS + b"[" * 8_000_000 + b"]" * 8_000_000 + b"}", "body"
    ),
    "many names": HeavyBody(BatchRequest, lambda: b"{" + _names() + b',"events":[]}', ""),
    "many names in an event": HeavyBody(BatchRequest, lambda: b'{"events":[{' + _names() + b"}]}", ""),
    "one word for an enum": HeavyBody(
        BatchRequest, lambda: b'{"events":[{}],"mode":"' + b"x" * 16_000_000 + b'"}', "mode"
    ),
    "one number for an enum": HeavyBody(
        BatchRequest, lambda: b'{"events":[{}],"mode":' + b"1" * 16_000_000 + b"}", "mode"
    ),
    "many names in a track": HeavyBody(TrackRequest, lambda: b'{"event":"x",' + _names() + b"}", ""),
    "many contexts": HeavyBody(
        TrackRequest, lambda: b'{"event":"x",' + b",".join([b'"context":{}'] * 1_200_000) + b"}", ""
    ),
    "steps of a funnel": HeavyBody(FunnelRequest, lambda: b'{"steps":' + json_list(b"{}") + b"}", "body"),
    "filters of a funnel": HeavyBody(
        FunnelRequest, lambda: b'{"steps":[{"event":"x","filter":' + json_list(b"{}") + b"}]}", "body"
    ),
    "filters": HeavyBody(QueryRequest, lambda: b'{"filter":' + json_list(b"{}") + b"}", "body"),
    "values of a filter": HeavyBody(QueryRequest, lambda: b'{"filter":[{"values":' + json_list(b'""') + b"}]}", "body"),
}
NAMED = proto_field(1, b"x")  # an event's name
PROTO_BODIES: dict[str, HeavyBody] = {
    "empty events": HeavyBody(BatchRequest, lambda: b"\x0a\x00" * 8_000_000, "events"),
    "named events": HeavyBody(BatchRequest, lambda: proto_field(1, NAMED) * 3_000_000, "events"),
    "fields that nobody knows": HeavyBody(BatchRequest, lambda: b"\x78\x00" * 8_000_000, "body"),
    "fields that nobody knows in an event": HeavyBody(
        BatchRequest, lambda: proto_field(1, b"\x78\x00" * 8_000_000), ""
    ),
    "values of an event": HeavyBody(
        BatchRequest, lambda: proto_field(1, NAMED + proto_field(10, proto_struct(8_000_000))), ""
    ),
    "values of a track": HeavyBody(
        TrackRequest, lambda: NAMED + proto_field(10, proto_struct(8_000_000)), "properties"
    ),
    "lists of a track": HeavyBody(
        TrackRequest, lambda: NAMED + proto_field(10, proto_struct(4_000_000, b"\x32\x00")), "properties"
    ),
    "many small structs": HeavyBody(
        TrackRequest, lambda: NAMED + proto_field(10, proto_struct(7000)) * 1000, "properties"
    ),
    "events of a stream": HeavyBody(TrackStreamRequest, lambda: proto_field(2, b"") * 8_000_000, "events"),
    "values of an event of a stream": HeavyBody(
        TrackStreamRequest, lambda: proto_field(2, NAMED + proto_field(10, proto_struct(8_000_000))), ""
    ),
    "steps of a funnel": HeavyBody(
        FunnelRequest, lambda: proto_field(_number(FunnelRequest, "steps"), b"") * 8_000_000, "body"
    ),
    "filters": HeavyBody(QueryRequest, lambda: proto_field(_number(QueryRequest, "filter"), b"") * 8_000_000, "body"),
    "values of a filter": HeavyBody(
        QueryRequest,
        lambda: proto_field(_number(QueryRequest, "filter"), proto_field(3, b"") * 8_000_000),
        "body",
    ),
}
