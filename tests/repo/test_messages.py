"""The messages of the core are those of the protos, and the protos keep what the code relies on."""

from collections.abc import Mapping
from typing import Any, get_args, get_origin

import msgspec
import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from millimetric.v1 import (
    attribution_pb2,
    event_pb2,
    ingest_service_pb2,
    options_pb2,
    privacy_service_pb2,
    query_service_pb2,
)
from millimetric_server.api import messages
from millimetric_server.api.messages import Instant, Message, UndecodableEvent, WireEnum
from millimetric_server.doors.codecs.proto import find_proto_class
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.rpcs import HANDLERS

_MODULES = (attribution_pb2, event_pb2, ingest_service_pb2, privacy_service_pb2, query_service_pb2)
_MESSAGES = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind not in (Message, UndecodableEvent)
]
_ENUMS = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, WireEnum) and kind is not WireEnum
]
_SCALARS = {
    bytes: {FieldDescriptor.TYPE_BYTES},
    str: {FieldDescriptor.TYPE_STRING},
    bool: {FieldDescriptor.TYPE_BOOL},
    float: {FieldDescriptor.TYPE_DOUBLE},
    int: {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64},
}
_STRUCT = "google.protobuf.Struct"
# The store has properties as text, and the codec writes them as a Struct.
_TEXT_FOR_STRUCT = {("StoredEvent", "properties")}


@pytest.mark.parametrize("message", _MESSAGES)
def test_a_message_has_the_fields_of_its_proto_in_their_order(message: type[Message]) -> None:
    described: Descriptor = find_proto_class(message).DESCRIPTOR
    fields = msgspec.structs.fields(message)
    assert [field.encode_name for field in fields] == [field.name for field in described.fields]
    for field in fields:
        proto = described.fields_by_name[field.encode_name]
        if (message.__name__, field.name) in _TEXT_FOR_STRUCT:
            assert proto.message_type.full_name == _STRUCT
        else:
            assert _is_same_type(field.type, proto), f"{message.__name__}.{field.name}"


@pytest.mark.parametrize("enum", _ENUMS)
def test_an_enum_has_the_members_of_its_proto_in_their_order(enum: type[WireEnum]) -> None:
    described = _find_enum(enum.__name__)
    names = [value.name.lower().removeprefix(enum.prefix()) for value in described.values]
    assert [member.name.lower() for member in enum] == names
    assert [member.value for member in enum] == ["", *names[1:]]


def test_every_message_of_a_served_method_is_one_of_ours() -> None:
    services = {
        service.full_name: service for module in _MODULES for service in module.DESCRIPTOR.services_by_name.values()
    }
    for rpc in HANDLERS:
        method = services[f"millimetric.v1.{rpc.service}"].methods_by_name[rpc.name]
        assert (method.input_type.name, method.output_type.name) == (rpc.request.__name__, rpc.response.__name__)
        assert {rpc.request, rpc.response} <= set(_MESSAGES)


@pytest.mark.parametrize("flat", [ingest_service_pb2.TrackRequest, attribution_pb2.ExplainRequest])
def test_a_flat_request_repeats_the_fields_of_event_number_by_number_and_their_limits(flat: Any) -> None:
    def describe(message: Descriptor) -> list[tuple[Any, ...]]:
        return [
            (
                *(field.number, field.name, field.type, field.message_type and field.message_type.full_name),
                field.GetOptions().Extensions[options_pb2.limits],
            )
            for field in message.fields
        ]

    event = describe(event_pb2.Event.DESCRIPTOR)
    assert [number for number, *_ in event] == list(range(1, 13))
    assert describe(flat.DESCRIPTOR)[:12] == event


def test_an_encoded_event_is_a_track_request() -> None:
    event = event_pb2.Event(event="signup", user_id="u", context=event_pb2.EventContext(ip="192.0.2.1"))
    event.properties["plan"] = "pro"
    request = ingest_service_pb2.TrackRequest.FromString(event.SerializeToString())
    assert event_pb2.Event.FromString(request.SerializeToString()) == event


def test_a_row_has_a_column_for_every_field_that_is_read_back() -> None:
    read_back = {field.name for field in event_pb2.StoredEvent.DESCRIPTOR.fields}
    assert set(EventRow.__struct_fields__) == read_back | {"project_id", "retention_days"}


def _is_same_type(kind: Any, proto: FieldDescriptor) -> bool:
    inner = next((one for one in get_args(kind) if one not in (type(None), msgspec.UnsetType)), kind)
    if get_origin(kind) in (list, Mapping):
        inner = kind
    if get_origin(inner) is list:
        return proto.is_repeated and _is_same_single(get_args(inner)[0], proto)
    if get_origin(inner) is Mapping:
        entry = proto.message_type
        return entry.GetOptions().map_entry and all(
            _is_same_single(part, entry.fields_by_name[name])
            for part, name in zip(get_args(inner), ("key", "value"), strict=True)
        )
    return not proto.is_repeated and _is_same_single(inner, proto)


def _is_same_single(kind: Any, proto: FieldDescriptor) -> bool:
    if kind is Instant:
        return bool(proto.message_type.full_name == "google.protobuf.Timestamp")
    if kind is msgspec.Raw:
        return bool(proto.message_type.full_name == _STRUCT)
    if kind in _SCALARS:
        return proto.type in _SCALARS[kind]
    described = proto.enum_type if issubclass(kind, WireEnum) else proto.message_type
    return bool(described.full_name == f"millimetric.v1.{kind.__name__}")


def _find_enum(name: str) -> EnumDescriptor:
    return next(
        module.DESCRIPTOR.enum_types_by_name[name]
        for module in _MODULES
        if name in module.DESCRIPTOR.enum_types_by_name
    )
