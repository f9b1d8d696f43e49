"""Messages as protobuf: built from the generated classes once, by the names that both sides share."""

import functools
import types
from collections.abc import Callable, Mapping
from enum import EnumMeta
from operator import attrgetter
from typing import Any, Union, get_args, get_origin

import msgspec
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import fields

from millimetric.v1 import (
    attribution_pb2,
    event_pb2,
    ingest_service_pb2,
    privacy_service_pb2,
    query_service_pb2,
)
from millimetric_server.api.errors import AppError, Violation, invalid_params, invalid_payload
from millimetric_server.api.limits import BATCH_EVENTS_MAX, make_too_many
from millimetric_server.api.messages import Event, Instant, Message
from millimetric_server.api.undecodable import UndecodableEvent
from millimetric_server.doors.codecs.http_rule import read_http_rule
from millimetric_server.doors.codecs.proto_values import (
    FieldError,
    make_enum_reader,
    read_enum_names,
    read_struct,
    read_timestamp,
    write_timestamp,
)
from millimetric_server.doors.codecs.wire import WireReader

_MODULES = (
    event_pb2,
    attribution_pb2,
    ingest_service_pb2,
    privacy_service_pb2,
    query_service_pb2,
)
Convert = Callable[[Any], Any]
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


def has_service(path: str) -> bool:
    """Tell whether the protos have the service of a method's path."""
    try:
        descriptor_pool.Default().FindServiceByName(path.split("/")[1])
    except KeyError:
        return False
    return True


def decode_proto(request: type[Message], body: bytes) -> Message:
    """Decode a protobuf body.

    Raises AppError invalid_payload; for a field without meaning, of what REST has in a query string, invalid_params.
    """
    try:
        if len(body) > _SMALL_BYTES:
            return _decode_large(request, body)
        message: Message = _make_reader(request)(find_proto_class(request).FromString(body))
    except FieldError as error:
        if _is_asked_by_query(request):
            raise invalid_params(error.violation.field, error.violation.message) from None
        raise invalid_payload((error.violation,)) from None
    except (DecodeError, UnicodeError, ValueError) as error:
        text = "must be the protobuf message of this method, its strings in UTF-8"
        raise invalid_payload((Violation("body", text),)) from error
    return message


@functools.cache
def _is_asked_by_query(request: type[Message]) -> bool:
    """Tell whether REST has this request in a query string: a bad parameter has the same reason at every door."""
    described = find_proto_class(request).DESCRIPTOR
    methods = [method for service in described.file.services_by_name.values() for method in service.methods]
    rules = (read_http_rule(method.GetOptions()) for method in methods if method.input_type is described)
    return any(rule is not None and rule.verb == "GET" for rule in rules)


def _decode_large(request: type[Message], body: bytes) -> Message:
    described, wire = find_proto_class(request).DESCRIPTOR, WireReader()
    field = described.fields_by_name.get("events") or described.fields_by_name.get("event")
    if field is None or field.message_type is None:
        return _decode_counted(request, body, wire)
    rest, events = _cut_events(body, field.number, wire)
    message = _decode_counted(request, rest, wire)
    if field.name == "events":
        message.events = [_decode_event(event, wire) for event in events]  # type: ignore[attr-defined]
    elif events:
        message.event = _decode_event(b"".join(events), wire)  # type: ignore[attr-defined]  # repeated ones are merged
    return message


def _decode_counted(request: type[Message], body: bytes, wire: WireReader) -> Message:
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
        return _decode_counted(Event, body, wire)  # type: ignore[return-value]
    except (AppError, FieldError) as error:
        return _make_undecodable(error)


def _make_undecodable(error: "AppError | FieldError") -> Event:
    violations = (error.violation,) if isinstance(error, FieldError) else error.violations
    return UndecodableEvent(violations=violations)


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
        return lambda proto, value: read_timestamp(name, value) if proto.HasField(name) else None
    if inner is Raw:
        return lambda proto, value: read_struct(name, value) if proto.HasField(name) else Raw(b"")
    if isinstance(inner, EnumMeta):
        read_enum = make_enum_reader(name, inner, described[name].enum_type)  # type: ignore[arg-type]
        return lambda _proto, value: read_enum(value)
    if get_origin(inner) is list:
        (item,) = get_args(inner)
        if isinstance(item, EnumMeta):
            read_item = make_enum_reader(name, item, described[name].enum_type)  # type: ignore[arg-type]
            return lambda _proto, value: _read_enums(name, read_item, _check_length(name, value))
        if isinstance(item, type) and issubclass(item, Message):
            read = _make_nested_reader(item)
            return lambda _proto, value: _read_list(name, read, _check_length(name, value))
        return lambda _proto, value: list(value)
    if isinstance(inner, type) and issubclass(inner, Message):
        read_one = _make_nested_reader(inner)
        return lambda proto, value: _read_nested(name, read_one, value) if proto.HasField(name) else None
    if described[name].has_presence:
        return lambda proto, value: value if proto.HasField(name) else None
    return None


def _read_list(name: str, read: Callable[[ProtoMessage], Any], values: Any) -> list[Any]:
    items: list[Any] = []
    try:
        items.extend(map(read, values))
    except FieldError as error:
        raise error.within(f"{name}[{len(items)}]") from None
    return items


def _read_enums(name: str, read: Callable[[int], Any], values: Any) -> list[Any]:
    items: list[Any] = []
    try:
        items.extend(map(read, values))
    except FieldError as error:
        raise FieldError(f"{name}[{len(items)}]", error.violation.message) from None
    return items


def _read_nested(name: str, read: Callable[[ProtoMessage], Any], value: ProtoMessage) -> Any:
    try:
        return read(value)
    except FieldError as error:
        raise error.within(name) from None


def _make_nested_reader(message: type[Message]) -> Callable[[ProtoMessage], Any]:
    """Like _make_reader; an event among others that can't be read is its violations, as in JSON."""
    if _is_tree(message):

        def read_tree(proto: ProtoMessage) -> Any:
            return _make_reader(message)(proto)

        return read_tree
    read = _make_reader(message)
    if message is not Event:
        return read

    def read_event(proto: ProtoMessage) -> Event:
        try:
            event: Event = read(proto)
        except (AppError, FieldError) as error:
            return _make_undecodable(error)
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
        return write_timestamp
    if described.message_type is not None and described.message_type.full_name == "google.protobuf.Struct":
        return msgspec.json.decode
    if isinstance(inner, EnumMeta):
        numbers = {member: number for number, member in read_enum_names(inner, described.enum_type).items()}  # type: ignore[arg-type]
        return numbers.__getitem__
    if get_origin(inner) is list and issubclass((item := get_args(inner)[0]), Message):
        write = _make_nested_writer(item)
        return write if write is _write_plain else lambda values: [write(value) for value in values]
    if isinstance(inner, type) and issubclass(inner, Message):
        return _make_nested_writer(inner)
    return None


def _make_nested_writer(message: type[Message]) -> Convert:
    if not _is_tree(message):
        return _make_writer(message)

    def write_tree(value: Any) -> Any:
        return _make_writer(message)(value)

    return write_tree


def _is_tree(message: type[Message]) -> bool:
    """Tell whether a message is made of itself, so that its conversion can't be made before it is needed."""
    described = find_proto_class(message).DESCRIPTOR
    return any(field.message_type is described for field in described.fields)


def _strip_optional(kind: Any) -> Any:
    """`str | None` and `str | UnsetType` are `str`."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(one for one in get_args(kind) if one not in (type(None), UnsetType))
    return kind


def _check_length(name: str, values: Any) -> Any:
    """No list of messages may have more than a batch has events; they are counted before they are read."""
    if len(values) > BATCH_EVENTS_MAX:
        raise make_too_many(name)
    return values
