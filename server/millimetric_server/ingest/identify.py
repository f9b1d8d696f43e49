"""Identify: link a device to a person, as a `$identify` event."""

from msgspec import UNSET

from millimetric_server.api.call import Call
from millimetric_server.api.errors import Violation, invalid_payload
from millimetric_server.api.messages import DropReason, Event, IdentifyRequest, IdentifyResponse
from millimetric_server.ingest.check_event import CheckedWrite, RejectedEvent, check_event, read_ack
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.ingest.store_events import store_one

IDENTIFY_EVENT = "$identify"


def check_identify(request: IdentifyRequest, call: Call) -> CheckedWrite:
    """Check an Identify and make it the event that it is stored as. Raises AppError invalid_payload."""
    problems = [Violation(name, "is required") for name in ("anonymous_id", "user_id") if not getattr(request, name)]
    event = Event(
        event=IDENTIFY_EVENT,
        event_id=request.event_id,
        timestamp=request.timestamp,
        anonymous_id=request.anonymous_id,
        user_id=request.user_id,
        properties=request.traits,
        properties_json=request.traits_json,
        context=request.context,
    )
    checked = check_event(event, call.received_at, call.key.kind)
    if isinstance(checked, RejectedEvent):
        problems += [Violation(one.field.replace("properties", "traits", 1), one.message) for one in checked.violations]
    if problems or isinstance(checked, RejectedEvent):
        raise invalid_payload(problems)
    return CheckedWrite(checked, read_ack(request.ack, call))


async def identify(call: Call, request: CheckedWrite, deps: IngestDeps) -> IdentifyResponse:
    """Answer ok once the event is durable, or why it is dropped."""
    stored = await store_one(request, call, deps)
    return IdentifyResponse(ok=True, dropped=stored if isinstance(stored, DropReason) else UNSET)
