"""Batch: store up to a thousand events, all or nothing or each for itself."""

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.messages import BatchResponse, DropReason, Outcome
from millimetric_server.ingest.check_event import CheckedBatch
from millimetric_server.ingest.store_events import drop_opted_out, store_each


async def batch(call: Call, deps: Deps) -> BatchResponse:
    """Answer how many events are durable, were so before, and were dropped; outcomes if asked for."""
    if drop_opted_out(call, deps):
        return BatchResponse(ok=True, dropped=DropReason.OPT_OUT)
    request: CheckedBatch = call.request
    outcomes = await store_each(request, call, deps)
    found = [one.outcome for one in outcomes]
    dropped, duplicates = found.count(Outcome.DROPPED), found.count(Outcome.DUPLICATE)
    response = BatchResponse(ok=True, count=found.count(Outcome.STORED) + duplicates, duplicates=duplicates)
    if dropped:
        response.dropped, response.dropped_count = DropReason.OLDER_THAN_RETENTION, dropped
    if request.is_per_event:
        response.outcomes = outcomes
    return response
