"""Limits of requests, read from the options of the protos' fields and shared by doors, checks and reads."""

from collections.abc import Mapping

from google.protobuf.message import Message

from millimetric.v1 import event_pb2, ingest_service_pb2
from millimetric.v1.options_pb2 import FieldLimits
from millimetric_server.api.errors import AppError, Violation, invalid_payload
from millimetric_server.api.options import read_limits


def list_limits(message: type[Message]) -> Mapping[str, FieldLimits]:
    """List what is accepted in a message's fields; a field without limits has empty ones."""
    return {field.name: read_limits(field.GetOptions()) for field in message.DESCRIPTOR.fields}


_EVENT = list_limits(event_pb2.Event)
BATCH_EVENTS_MAX = list_limits(ingest_service_pb2.BatchRequest)["events"].items_max
CHARS_MAX = {name: limits.chars_max for name, limits in _EVENT.items() if limits.chars_max}
PROPERTIES_BYTES_MAX = _EVENT["properties"].bytes_max
OLDEST_US = 946_684_800_000_000  # 2000-01-01
FUTURE_MAX_US = 24 * 3600 * 1_000_000


def make_too_many(field: str) -> AppError:
    """Make the error for a list that is too long. Doors raise it before they build the items.

    So the ledger does not count these events, just like those of a body that is too large.
    """
    what = f"1 to {BATCH_EVENTS_MAX} events" if field == "events" else f"at most {BATCH_EVENTS_MAX}"
    return invalid_payload((Violation(field, f"must contain {what}"),))
