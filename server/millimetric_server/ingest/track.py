"""Track: store one event."""

from millimetric_server.api.call import Call
from millimetric_server.api.errors import invalid_payload
from millimetric_server.api.messages import DropReason, TrackRequest, TrackResponse
from millimetric_server.ingest.check_event import CheckedWrite, RejectedEvent, check_event, read_ack
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.ingest.store_events import store_one


def check_track(request: TrackRequest, call: Call) -> CheckedWrite:
    """Check a Track. Raises AppError invalid_payload."""
    checked = check_event(request, call.received_at, call.key.kind)
    if isinstance(checked, RejectedEvent):
        raise invalid_payload(checked.violations)
    return CheckedWrite(checked, read_ack(request.ack, call))


async def track(call: Call, request: CheckedWrite, deps: IngestDeps) -> TrackResponse:
    """Answer the ids under which the event is stored; for a duplicate see FirstAnswer."""
    stored = await store_one(request, call, deps)
    if isinstance(stored, DropReason):
        return TrackResponse(ok=True, dropped=stored)
    row, first = stored
    ids = first or row
    return TrackResponse(
        ok=True,
        event_id=row.event_id,
        anonymous_id=ids.anonymous_id,
        session_id=ids.session_id,
        duplicate=first is not None,
    )
