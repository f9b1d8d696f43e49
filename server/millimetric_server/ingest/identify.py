"""Identify: link a device to a person, as a `$identify` event."""

from msgspec import UNSET

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.messages import DropReason, IdentifyResponse
from millimetric_server.ingest.store_events import drop_opted_out, store_one


async def identify(call: Call, deps: Deps) -> IdentifyResponse:
    """Answer ok once the event is durable, or why it is dropped."""
    if drop_opted_out(call, deps):
        return IdentifyResponse(ok=True, dropped=DropReason.OPT_OUT)
    stored = await store_one(call.request.event, call.request.ack, call, deps)
    return IdentifyResponse(ok=True, dropped=stored if isinstance(stored, DropReason) else UNSET)
