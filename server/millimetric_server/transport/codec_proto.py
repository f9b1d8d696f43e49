"""Messages as protobuf: built from the generated classes once, by the names that both sides share."""

import functools
import json
import math
import types
from collections.abc import Callable, Mapping
from enum import EnumMeta
from operator import attrgetter
from typing import Any, Union, get_args, get_origin

import msgspec
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import EnumDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import fields

from millimetric.v1 import attribution_pb2, event_pb2, ingest_service_pb2, privacy_service_pb2, query_service_pb2
from millimetric_server.errors import AppError, Violation, invalid_payload
from millimetric_server.messages import Event, Instant, Message, UndecodableEvent, WireEnum
from millimetric_server.transport.wire import WireReader, make_struct_too_large
from millimetric_server.validate.events import BATCH_EVENTS_MAX, make_too_many
from millimetric_server.validate.properties import BYTES_MAX

_MODULES = (event_pb2, attribution_pb2, ingest_service_pb2, privacy_service_pb2, query_service_pb2)
Convert = Callable[[Any], Any]
# Even an empty value takes two bytes of compact JSON.
_VALUES_MAX = BYTES_MAX // 2
# Less than this can't grow to anything that matters, and is parsed without being counted first.
_SMALL_BYTES = 16 * 1024


@functools.cache
def find_proto_class(message: type[Message]) -> type[ProtoMessage]:
    """Find the generated class of a message."""
    for module in _MODULES:
        if (found := getattr(module, message.__name__, None)) is not None:
            proto_class: type[ProtoMessage] = found
            return proto_class
    raise LookupError(f"no generated class for {message.__name__}")


def find_method(path: str) -> MethodDescriptor:
    """Find the description of a method by its path, `/millimetric.v1.QueryService/Query`."""
    return descriptor_pool.Default().FindMethodByName(path.removeprefix("/").replace("/", "."))


def read_enum_names(enum: type[WireEnum], described: EnumDescriptor) -> dict[int, WireEnum]:
    """The members of an enum by their numbers in the protos."""
    return {value.number: enum(value.name) for value in described.values}


def decode_proto(request: type[Message], body: bytes) -> Message:
    """Decode a protobuf body. Raises AppError invalid_payload."""
    try:
        return _decode(request, body)
    except (DecodeError, UnicodeError, ValueError) as error:
        text = "must be the protobuf message of this method, its strings in UTF-8"
        raise invalid_payload((Violation("body", text),)) from error


def _decode(request: type[Message], body: bytes) -> Message:
    described = find_proto_class(request).DESCRIPTOR
    field = described.fields_by_name.get("events") or described.fields_by_name.get("event")
    if len(body) <= _SMALL_BYTES or field is None or field.message_type is None:
        return _decode_whole(request, body, WireReader())
    wire = WireReader()
    rest, events = _cut_events(body, field.number, wire)
    message = _decode_whole(request, rest, wire)
    if field.name == "events":
        message.events = [_decode_event(event, wire) for event in events]  # type: ignore[attr-defined]
    elif events:
        message.event = _decode_event(b"".join(events), wire)  # type: ignore[attr-defined]  # repeated ones are merged
    return message


def _decode_whole(request: type[Message], body: bytes, wire: WireReader) -> Message:
    proto_class = find_proto_class(request)
    if len(body) > _SMALL_BYTES:
        wire.check(body, proto_class.DESCRIPTOR)
    message: Message = _make_reader(request)(proto_class.FromString(body))
    return message


def _cut_events(body: bytes, number: int, wire: WireReader) -> tuple[bytes, list[bytes]]:
    """Cut the events out of a message, so that they are parsed one by one: what one takes is free before the next."""
    rest, events = [], []
    for field in wire.read(body):
        if field.number != number or not field.is_bytes:
            rest.append(body[field.start : field.end])
            continue
        events.append(body[field.content : field.end])
        if len(events) > BATCH_EVENTS_MAX:
            raise make_too_many("events")
    return b"".join(rest), events


def _decode_event(body: bytes, wire: WireReader) -> Event:
    """Decode one of several events. One that is too large has its own outcome; one that is no protobuf has not."""
    try:
        return _decode_whole(Event, body, wire)  # type: ignore[return-value]
    except AppError as error:
        return UndecodableEvent(violations=error.violations)


def encode_proto(message: Message) -> bytes:
    """Encode a response."""
    return to_proto(message).SerializeToString()


def to_proto(message: Message) -> ProtoMessage:
    """Turn a message into its generated class."""
    kind = type(message)
    return find_proto_class(kind)(**_make_writer(kind)(message))


@functools.cache
def _make_reader(message: type[Message]) -> Callable[[ProtoMessage], Any]:
    """Make the function that reads a generated message into ours, field by field, in order."""
    described = find_proto_class(message).DESCRIPTOR.fields_by_name
    names = [field.encode_name for field in fields(message) if field.encode_name in described]
    plain = attrgetter(*names) if len(names) > 1 else lambda proto: (getattr(proto, names[0]),)
    conversions = [
        (index, convert)
        for index, field in enumerate(field for field in fields(message) if field.encode_name in described)
        if (convert := _reader_of(field.encode_name, field.type, described)) is not None
    ]

    def read(proto: ProtoMessage) -> Any:
        values = list(plain(proto))
        for index, convert in conversions:
            values[index] = convert(proto, values[index])
        return message(*values)

    return read


def _reader_of(  # noqa: PLR0911 - a line for each kind of field
    name: str, kind: Any, described: Mapping[str, Any]
) -> Callable[[ProtoMessage, Any], Any] | None:
    """How a field's value becomes ours; None where it already is."""
    inner = _strip_optional(kind)
    if inner is Instant:
        return lambda proto, value: _read_timestamp(value) if proto.HasField(name) else None
    if inner is Raw:
        return lambda proto, value: _read_struct(name, value) if proto.HasField(name) else Raw(b"")
    if isinstance(inner, EnumMeta):
        members = read_enum_names(inner, described[name].enum_type)  # type: ignore[arg-type]
        return lambda _proto, value: members.get(value, inner.UNSPECIFIED)  # type: ignore[attr-defined]
    if get_origin(inner) is list:
        (item,) = get_args(inner)
        if isinstance(item, type) and issubclass(item, Message):
            read = _make_nested_reader(item)
            return lambda _proto, value: [read(one) for one in _check_length(name, value)]
        return lambda _proto, value: list(value)
    if isinstance(inner, type) and issubclass(inner, Message):
        read_one = _make_nested_reader(inner)
        return lambda proto, value: read_one(value) if proto.HasField(name) else None
    if inner is int:
        return lambda _proto, value: value or None  # 0 is absent in proto3
    return None


def _make_nested_reader(message: type[Message]) -> Callable[[ProtoMessage], Any]:
    """Like _make_reader; an event among others that can't be read is its violations, as in JSON."""
    read = _make_reader(message)
    if message is not Event:
        return read

    def read_event(proto: ProtoMessage) -> Event:
        try:
            event: Event = read(proto)
        except AppError as error:
            return UndecodableEvent(violations=error.violations)
        return event

    return read_event


@functools.cache
def _make_writer(message: type[Message]) -> Convert:
    """Make the function that turns a message into the arguments of its generated class, which may be nested dicts."""
    described = find_proto_class(message).DESCRIPTOR.fields_by_name
    plan = [
        (field.name, field.encode_name, _writer_of(field.type, described[field.encode_name]))
        for field in fields(message)
    ]
    if all(convert is None for _, _, convert in plan):
        return _write_plain

    def write(value: Message) -> dict[str, Any]:
        content = {}
        for name, proto_name, convert in plan:
            item = getattr(value, name)
            if item is not UNSET and item is not None:
                content[proto_name] = item if convert is None else convert(item)
        return content

    return write


# Ten times as fast as attribute by attribute, for messages whose values are written as they are.
_write_plain = functools.partial(msgspec.to_builtins, builtin_types=(bytes,))


def _writer_of(kind: Any, described: Any) -> Convert | None:
    """How a value becomes an argument of the generated class; None where it already is."""
    inner = _strip_optional(kind)
    if inner is Instant:
        return _write_timestamp
    if described.message_type is not None and described.message_type.full_name == "google.protobuf.Struct":
        return msgspec.json.decode
    if isinstance(inner, EnumMeta):
        numbers = {member: number for number, member in read_enum_names(inner, described.enum_type).items()}  # type: ignore[arg-type]
        return numbers.__getitem__
    if get_origin(inner) is list and issubclass((item := get_args(inner)[0]), Message):
        write = _make_writer(item)
        return write if write is _write_plain else lambda values: [write(value) for value in values]
    if isinstance(inner, type) and issubclass(inner, Message):
        return _make_writer(inner)
    return None


def _strip_optional(kind: Any) -> Any:
    """`str | None` and `str | UnsetType` are `str`."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(one for one in get_args(kind) if one not in (type(None), UnsetType))
    return kind


def _read_timestamp(value: Timestamp) -> Instant:
    return Instant(value.seconds * 1_000_000 + value.nanos // 1000)


def _write_timestamp(value: int) -> Timestamp:
    return Timestamp(seconds=value // 1_000_000, nanos=value % 1_000_000 * 1000)


def _check_length(name: str, values: Any) -> Any:
    """No list of messages may have more than a batch has events; they are counted before they are read."""
    if len(values) > BATCH_EVENTS_MAX:
        raise make_too_many(name)
    return values


def _read_struct(name: str, value: Struct) -> Raw:
    """Write a Struct as JSON text. What is not JSON (NaN) comes out as such and fails validation with its field."""
    content = _StructReader(name).read_fields(value)
    return Raw(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


class _StructReader:
    """Reads one Struct, and stops where it holds more values than its JSON may have room for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values_left = _VALUES_MAX

    def read_fields(self, value: Struct) -> dict[str, Any]:
        return {name: self._read_value(item) for name, item in self._check_room(value.fields).items()}

    def _check_room(self, values: Any) -> Any:
        self._values_left -= len(values)
        if self._values_left < 0:
            raise make_struct_too_large(self._name)
        return values

    def _read_value(self, value: Any) -> Any:
        kind = value.WhichOneof("kind")
        if kind == "struct_value":
            return self.read_fields(value.struct_value)
        if kind == "list_value":
            return [self._read_value(item) for item in self._check_room(value.list_value.values)]
        if kind == "number_value":
            return _read_number(value.number_value)
        return None if kind in (None, "null_value") else getattr(value, kind)


def _read_number(number: float) -> float | int:
    """A Struct has only doubles: a whole one is an integer, unless no 64-bit integer could have become it."""
    if math.isfinite(number) and number.is_integer() and abs(number) <= 2**64:
        return int(number)
    return number
