"""What protobuf can carry and a field has no meaning for is refused by the field's name, in every request there is."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from millimetric_server.api.errors import AppError
from millimetric_server.api.undecodable import UndecodableEvent
from millimetric_server.doors.codecs.proto import decode_proto, find_proto_class
from support.rpcs import RPCS

_TIMESTAMP = "google.protobuf.Timestamp"
_IN_QUERY_STRINGS = ("Query", "Stats", "Sources", "Export", "Tail")
_BAD_TIMES = (
    {"nanos": -1},
    {"nanos": 1_000_000_000},
    {"seconds": 253_402_300_800},
    {"seconds": -62_135_596_801},
    {"seconds": 2**60},
    {"seconds": -(2**63)},
)
_GOOD_TIMES = ({"nanos": 999_999_999}, {"seconds": 253_402_300_799, "nanos": 999_999_999}, {"seconds": -62_135_596_800})
_BAD_NUMBERS = (99, -1, 2**31 - 1)


def find_places(described: Descriptor, path: tuple[FieldDescriptor, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The way to every enum and every time of a message, nested ones too."""
    for field in described.fields:
        place = (*path, field)
        if field.enum_type is not None or (
            field.message_type is not None and field.message_type.full_name == _TIMESTAMP
        ):
            yield place
        elif field in path:
            continue  # a tree inside itself once is enough
        elif field.message_type is not None and field.message_type.full_name.startswith("millimetric."):
            yield from find_places(field.message_type, place)


PLACES = [
    pytest.param(rpc, place, id=f"{rpc.name}-{'.'.join(field.name for field in place)}")
    for rpc in RPCS
    for place in find_places(find_proto_class(rpc.request).DESCRIPTOR)
]


def make_request(rpc: Any, place: tuple[FieldDescriptor, ...], value: Any, index: int = 0) -> tuple[bytes, str]:
    """A request that holds this value there, of lists in the item at `index`; and how errors write the place."""
    request = find_proto_class(rpc.request)()
    message: Message = request
    names = []
    for field in place[:-1]:
        if field.is_repeated:
            message = [getattr(message, field.name).add() for _ in range(index + 1)][-1]
            names.append(f"{field.name}[{index}]")
        else:
            message = getattr(message, field.name)
            names.append(field.name)
    last = place[-1]
    if last.enum_type is None:
        getattr(message, last.name).MergeFrom(last.message_type._concrete_class(**value))
        getattr(message, last.name).SetInParent()
    elif last.is_repeated:
        getattr(message, last.name).extend([1] * index + [value])
        return request.SerializeToString(), ".".join((*names, f"{last.name}[{index}]"))
    else:
        setattr(message, last.name, value)
    return request.SerializeToString(), ".".join((*names, last.name))


def read_refusal(rpc: Any, body: bytes) -> tuple[str, str]:
    """The reason and the field; of an event among others those of its outcome."""
    try:
        message: Any = decode_proto(rpc.request, body)
    except AppError as error:
        return error.reason.value, error.violations[0].field
    (place, event) = (
        (f"events[{len(message.events) - 1}]", message.events[-1])
        if hasattr(message, "events")
        else ("event", message.event)
    )
    assert isinstance(event, UndecodableEvent), event
    return "invalid_payload", f"{place}.{event.violations[0].field}"


@pytest.mark.parametrize(("rpc", "place"), PLACES)
def test_a_value_without_meaning_is_refused_by_its_name(rpc: Any, place: tuple[FieldDescriptor, ...]) -> None:
    reason = "invalid_params" if rpc.name in _IN_QUERY_STRINGS else "invalid_payload"
    for value in _BAD_NUMBERS if place[-1].enum_type is not None else _BAD_TIMES:
        for index in (0, 2):
            body, written = make_request(rpc, place, value, index)
            assert read_refusal(rpc, body) == (reason, written)


@pytest.mark.parametrize(("rpc", "place"), PLACES)
def test_every_other_value_is_read(rpc: Any, place: tuple[FieldDescriptor, ...]) -> None:
    enum = place[-1].enum_type
    for value in [one.number for one in enum.values] if enum is not None else _GOOD_TIMES:
        body, _ = make_request(rpc, place, value)
        message: Any = decode_proto(rpc.request, body)
        assert not isinstance((getattr(message, "events", None) or [None])[0], UndecodableEvent)


def test_there_is_something_to_test() -> None:
    assert {param.id for param in PLACES} >= {
        "Batch-events.timestamp",
        "Batch-mode",
        "Export-format",
        "Funnel-steps.filter.op",
        "Stats-filter.op",
        "Stats-from",
        "Track-ack",
        "TrackStream-event.timestamp",
    }
