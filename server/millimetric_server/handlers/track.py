"""Track: store one event."""

from millimetric_server.call import Call, Deps, Steps
from millimetric_server.handlers.ingest import drop_opted_out, store_events
from millimetric_server.messages import DropReason, TrackResponse


def track(call: Call, deps: Deps) -> Steps:
    """Answer the ids under which the event is stored; for a duplicate see FirstAnswer."""
    if drop_opted_out(call, deps):
        return TrackResponse(ok=True, dropped=DropReason.OPT_OUT)
    (row,), appended = yield from store_events([call.request.event], call.request.ack, call, deps)
    stored = appended.firsts[0] or row
    return TrackResponse(
        ok=True,
        event_id=row.event_id,
        anonymous_id=stored.anonymous_id,
        session_id=stored.session_id,
        duplicate=appended.firsts[0] is not None,
    )
