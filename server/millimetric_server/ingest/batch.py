"""Batch: store up to a thousand events, all or nothing or each for itself."""

from collections.abc import Sequence

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.errors import Violation, invalid_payload
from millimetric_server.api.limits import BATCH_EVENTS_MAX, make_too_many
from millimetric_server.api.messages import Ack, BatchMode, BatchRequest, BatchResponse, DropReason, Outcome
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.ingest.check_event import RejectedEvent, check_event, read_ack
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.ingest.store_events import drop_opted_out, store_each


class CheckedBatch(msgspec.Struct, frozen=True):
    """A Batch to carry out; there are rejected events only where each event has its own outcome."""

    events: Sequence[CheckedEvent | RejectedEvent]
    is_per_event: bool
    ack: Ack


def check_batch(request: BatchRequest, call: Call) -> CheckedBatch:
    """Check a Batch. Raises AppError invalid_payload that names every bad index."""
    if len(request.events) > BATCH_EVENTS_MAX:
        raise make_too_many("events")
    if not request.events:
        raise invalid_payload((Violation("events", f"must contain 1 to {BATCH_EVENTS_MAX} events, not 0"),))
    events = [check_event(event, call.received_at, call.key.kind) for event in request.events]
    is_per_event = request.mode is BatchMode.PER_EVENT
    if not is_per_event and (problems := _list_problems(events)):
        raise invalid_payload(problems)
    return CheckedBatch(events, is_per_event, read_ack(request.ack, call))


def _list_problems(events: Sequence[CheckedEvent | RejectedEvent]) -> list[Violation]:
    return [
        Violation(f"events[{index}].{problem.field}", problem.message)
        for index, event in enumerate(events)
        if isinstance(event, RejectedEvent)
        for problem in event.violations
    ]


async def batch(call: Call, request: CheckedBatch, deps: IngestDeps) -> BatchResponse:
    """Answer how many events are durable, were so before, and were dropped; outcomes if asked for."""
    if drop_opted_out(call):
        return BatchResponse(ok=True, dropped=DropReason.OPT_OUT)
    outcomes = await store_each(request.events, request.ack, call, deps)
    found = [one.outcome for one in outcomes]
    dropped, duplicates = found.count(Outcome.DROPPED), found.count(Outcome.DUPLICATE)
    response = BatchResponse(ok=True, count=found.count(Outcome.STORED) + duplicates, duplicates=duplicates)
    if dropped:
        first = next(one for one in outcomes if one.outcome is Outcome.DROPPED)
        response.dropped, response.dropped_count = DropReason(str(first.reason)), dropped
    if request.is_per_event:
        response.outcomes = outcomes
    return response
