"""TrackStream: store a group of a stream's events, each for itself."""

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.messages import DropReason, EventOutcome, Outcome, TrackStreamResponse
from millimetric_server.ingest.check_event import CheckedBatch
from millimetric_server.ingest.store_events import drop_opted_out, store_each


async def track_stream(call: Call, deps: Deps) -> list[TrackStreamResponse]:
    """Answer what became of each event, in order, with the caller's numbers."""
    request: CheckedBatch = call.request
    if drop_opted_out(call, deps):
        dropped = EventOutcome(Outcome.DROPPED, reason=DropReason.OPT_OUT.value)
        return [TrackStreamResponse(sequence, dropped) for sequence in request.sequences]
    outcomes = await store_each(request, call, deps)
    return [TrackStreamResponse(*pair) for pair in zip(request.sequences, outcomes, strict=True)]
