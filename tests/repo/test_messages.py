"""The protos keep what the code relies on. That the messages are those of the protos, `make checkgenerate` sees."""

from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from millimetric.v1 import (
    attribution_pb2,
    event_pb2,
    ingest_service_pb2,
    options_pb2,
    privacy_service_pb2,
    query_service_pb2,
)
from millimetric_server.api import messages
from millimetric_server.api.messages import Message
from millimetric_server.api.undecodable import UndecodableEvent
from millimetric_server.enrich.event_row import EventRow
from support.rpcs import RPCS

_MODULES = (attribution_pb2, event_pb2, ingest_service_pb2, privacy_service_pb2, query_service_pb2)
_MESSAGES = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind not in (Message, UndecodableEvent)
]


def test_every_message_of_a_served_method_is_one_of_ours() -> None:
    services = {
        service.full_name: service for module in _MODULES for service in module.DESCRIPTOR.services_by_name.values()
    }
    for rpc in RPCS:
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
