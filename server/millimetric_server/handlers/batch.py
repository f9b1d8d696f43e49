"""Batch: store up to a thousand events, all or nothing or each for itself."""

from millimetric_server.call import Call, Deps, Steps
from millimetric_server.handlers.ingest import drop_opted_out, store_each
from millimetric_server.messages import BatchResponse, DropReason, Outcome
from millimetric_server.validate.events import CheckedBatch


def batch(call: Call, deps: Deps) -> Steps:
    """Answer how many events are durable and how many of them were so before; outcomes if asked for."""
    if drop_opted_out(call, deps):
        return BatchResponse(ok=True, dropped=DropReason.OPT_OUT)
    request: CheckedBatch = call.request
    outcomes = yield from store_each(request, call, deps)
    found = [one.outcome for one in outcomes]
    response = BatchResponse(
        ok=True,
        count=len(found) - found.count(Outcome.REJECTED),
        duplicates=found.count(Outcome.DUPLICATE),
    )
    if request.is_per_event:
        response.outcomes = outcomes
    return response
